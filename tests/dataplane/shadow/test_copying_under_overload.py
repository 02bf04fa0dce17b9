"""What a version cannot take at once is not given to the shadow instead: the client comes first."""

from __future__ import annotations

from proxy.core.overload.values import Load
from proxy.core.route import Match, Route, Shadow, Version
from tests.support.shop import servers
from tests.support.story import Story, get
from tests.support.worker import a_snapshot, server_at


def test_a_request_that_waits_for_a_place_is_not_copied(story: Story) -> None:
    (old,), (new,) = servers(story, "hold"), servers(story, "well", name=b"new")
    route = Route("all", Match(), (("old", 100.0), ("new", 0.0)), "old", shadow=Shadow("new", 100.0))
    worker = story.serving(a_snapshot(versions=(
        Version("old", (server_at(old),), load=Load(in_flight=1, queue=50, wait_s=60.0)),
        Version("new", (server_at(new),))), routes=(route,)))
    clients = [story.client(worker) for _ in range(6)]
    for client in clients:
        client.send(get())
    worker.wait_until(lambda inner: len(inner.site.fleets["old"].places.room) == 5)
    assert worker.count("shadow_skipped_total", "all", "shed") == 5
    old.go_on()
    for client in clients:
        assert client.response().status == 200
    assert len(new.heads) == 1
