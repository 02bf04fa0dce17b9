"""Whoever waits is called for a place that it can take: a place for others is no reason to send it away."""

from __future__ import annotations

import pytest

from proxy.core.health.values import Breaker, Health
from proxy.core.overload.values import Load
from proxy.core.route import Match, Route, Version
from proxy.core.snapshot import Snapshot
from proxy.dataplane.fleet.fleet import Fleet
from proxy.ipc.messages import Noticed
from tests.support.shop import NOTHING, Shop, servers
from tests.support.story import Story, WatchedWorker, get, request
from tests.support.unsteady import StepByStep, Unsteady, assert_adds_up
from tests.support.wire import Wire
from tests.support.worker import a_snapshot, server_at

ONE_EACH = Load(per_server=1, queue=20, wait_s=30.0)
ONE = Load(in_flight=1, queue=20, wait_s=30.0)


def targets(server: StepByStep) -> list[bytes]:
    return [head.split(b" ")[1] for head in server.begun]


def line_up(story: Story, worker: WatchedWorker, fleet: str, *what: bytes) -> list[Wire]:
    """Send each on a connection of its own, and wait until it waits at this version: they wait in this order."""
    clients = []
    for each in what:
        before = waiting(worker, fleet)
        clients.append(story.client(worker))
        clients[-1].send(each)
        worker.wait_until(lambda it, before=before: len(it.site.fleets[fleet].places.room) > before)  # type: ignore[misc]
    return clients


def waiting(worker: WatchedWorker, fleet: str) -> int:
    """How many wait at this version, once all that was begun is done."""
    worker.settle()
    return worker.call(lambda it: len(it.site.fleets[fleet].places.room))


class OnTrial:
    """A version with a server that is full and another that is out for three seconds; three POSTs wait."""

    def __init__(self, story: Story) -> None:
        (self.full,), self.ill = servers(story, "hold"), story.join(StepByStep(b"old-1"))
        self.shop = Shop(story, [self.full, self.ill], retry=NOTHING, load=ONE_EACH, health=Health(breaker=None))
        self.worker = self.shop.worker
        self.shop.hear(Noticed("old", self.ill.url, True, 1, times=1), for_s=3.0)
        self.first = story.client(self.worker)
        self.first.send(get("/first"))
        self.full.wait_heads(1)
        self.posts = line_up(story, self.worker, "old",
                             *[request("POST", f"/{number}", body=b"pay") for number in range(3)])
        for number in range(10):
            self.ill.answer(number)

    def end(self) -> None:
        """All are answered."""
        self.full.go_on()
        assert {client.response().status for client in (self.first, *self.posts)} == {200}
        assert_adds_up(self.worker)


def test_what_may_not_be_repeated_waits_on_while_a_server_is_on_trial(story: Story) -> None:
    on_trial = OnTrial(story)
    on_trial.worker.leap(3.1)
    assert waiting(on_trial.worker, "old") == 3
    assert on_trial.ill.begun == []
    on_trial.worker.leap(1.0)               # it has waited long enough for one that may be repeated
    on_trial.ill.wait_begun(1)
    on_trial.end()
    assert on_trial.worker.count("shed_total", "old", "no-place") == 0


def test_what_may_be_repeated_tries_a_server_before_others_that_have_waited_for_longer(story: Story) -> None:
    on_trial = OnTrial(story)
    (repeatable,) = line_up(story, on_trial.worker, "old", get("/repeatable"))
    on_trial.worker.leap(3.1)
    assert repeatable.response().status == 200
    on_trial.ill.wait_begun(4)
    assert targets(on_trial.ill) == [b"/repeatable", b"/0", b"/1", b"/2"]
    on_trial.end()


def test_a_server_that_warms_up_takes_what_the_others_have_no_place_for(story: Story) -> None:
    (full, back) = servers(story, "hold", "well")
    shop = Shop(story, [full, back], retry=NOTHING, load=ONE_EACH, health=Health(breaker=None, slow_start_s=1000.0))
    shop.hear_probes(("old", back))
    first = story.client(shop.worker)
    first.send(get("/first"))
    full.wait_heads(1)
    shop.hear_probes()
    with shop.worker.connect() as client:
        assert {client.ask(request("POST", f"/{number}")).status for number in range(6)} == {200}
    assert len(back.heads) == 6
    assert shop.worker.count("queued_total", "old") == 0
    full.go_on()
    assert first.response().status == 200
    assert_adds_up(shop.worker)


def two_routes(shared: Unsteady, home: Unsteady, load: Load, *, held: str, revision: int = 1) -> Snapshot:
    """Version `shared` is the baseline of the route `/a`, and the candidate of `/b`, which waits for it while it is
    down. `held`: the routes of which that is true."""
    health = Health(ejection=None, breaker=Breaker())
    versions = Version("shared", (server_at(shared),), health, load), Version("home", (server_at(home),))
    routes = []
    for name in "ab":
        if name in held:
            routes.append(Route(name, Match(path=f"/{name}"), (("shared", 100.0), ("home", 0.0)), "home",
                                retry=NOTHING, when_down="hold"))
        else:
            routes.append(Route(name, Match(path=f"/{name}"), (("shared", 100.0),), "shared", retry=NOTHING))
    return a_snapshot(versions=versions, routes=tuple(routes), revision=revision)


class Shared:
    """Such a version, which is down, and has as much as it may; some are held for it."""

    def __init__(self, story: Story, load: Load, *held: bytes) -> None:
        self.server, (self.home,) = story.join(StepByStep(b"shared")), servers(story, "well")
        self.load = load
        self.worker = story.serving(two_routes(self.server, self.home, load, held="b"))
        self._hear(True, 1)
        self.first = story.client(self.worker)
        self.first.send(get("/a/first"))
        self.server.wait_begun(1)
        self.held = line_up(story, self.worker, "shared", *held)

    @property
    def fleet(self) -> Fleet:
        return self.worker.worker.site.fleets["shared"]

    def is_back(self) -> None:
        """The version is up again."""
        self._hear(False, 2)

    def end(self) -> None:
        """Nothing is left in flight, and nobody waits."""
        self.worker.wait_until(self.worker.is_quiet)
        assert (self.fleet.total_in_flight, len(self.fleet.places.room)) == (0, 0)

    def _hear(self, out: bool, epoch: int) -> None:
        self.worker.call(lambda worker: worker.hear(
            Noticed("shared", "", out, epoch, worker.clock() + 60.0, 1, "it was seen elsewhere")))


@pytest.mark.parametrize("load", [ONE, ONE_EACH])
def test_what_is_held_for_a_version_waits_on_while_that_takes_what_has_nowhere_else_to_go(story: Story,
                                                                                         load: Load) -> None:
    shared = Shared(story, load, get("/b/1"), get("/b/2"))
    urgent = line_up(story, shared.worker, "shared", get("/a/1"), get("/a/2"))
    shared.worker.leap(0.5)
    assert waiting(shared.worker, "shared") == 4
    for number in range(3):
        shared.server.answer(number)
    assert {client.response().status for client in (shared.first, *urgent)} == {200}
    assert targets(shared.server) == [b"/a/first", b"/a/1", b"/a/2"]
    assert waiting(shared.worker, "shared") == 2
    shared.is_back()
    for number in range(3, 5):
        shared.server.answer(number)
    assert {client.response().status for client in shared.held} == {200}
    assert targets(shared.server)[3:] == [b"/b/1", b"/b/2"]
    shared.end()


def test_who_is_called_by_a_snapshot_that_has_no_place_for_it_has_its_old_place_among_those_who_wait(
        story: Story) -> None:
    shared = Shared(story, ONE)
    called, second = line_up(story, shared.worker, "shared", get("/a/1"), get("/a/2"))
    shared.worker.apply(two_routes(shared.server, shared.home, ONE, held="ab", revision=2))
    (last,) = line_up(story, shared.worker, "shared", get("/b/3"))
    shared.server.answer(0)
    assert shared.first.response().status == 200
    shared.worker.wait_until(lambda _: shared.fleet.total_in_flight == 0)
    assert waiting(shared.worker, "shared") == 3
    shared.is_back()
    for number in range(1, 4):
        shared.server.answer(number)
    assert {client.response().status for client in (called, second, last)} == {200}
    assert targets(shared.server) == [b"/a/first", b"/a/1", b"/a/2", b"/b/3"]
    assert shared.worker.count("queued_total", "shared") == 3
    shared.end()


def test_who_was_called_in_vain_waits_no_longer_than_the_others(story: Story) -> None:
    shared = Shared(story, ONE)
    (called,) = line_up(story, shared.worker, "shared", get("/a/1"))
    shared.worker.apply(two_routes(shared.server, shared.home, ONE, held="ab", revision=2))
    shared.worker.leap(20.0)
    shared.server.answer(0)
    assert shared.first.response().status == 200
    shared.worker.wait_until(lambda _: shared.fleet.total_in_flight == 0)
    assert waiting(shared.worker, "shared") == 1
    shared.worker.leap(11.0)
    assert called.response().status == 503
    assert shared.worker.count("shed_total", "shared", "queue-timeout") == 1
    shared.end()
