"""A version that is down gets no more requests: they go to the baseline, fail, or wait, until a few have tried it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.core.health.values import Breaker, Health
from proxy.core.overload.values import Load
from proxy.core.route import Override, Sticky
from proxy.ipc.messages import Noticed
from tests.support.shop import EVERYTHING, Shop, servers
from tests.support.story import Story, get, request
from tests.support.unsteady import Unsteady, assert_adds_up, attempts

BREAKER = Health(ejection=None, breaker=Breaker(requests=4, trials=2))
OPEN = Noticed("new", "", True, 1, times=1)


def shop_of(story: Story, **rules: object) -> tuple[Shop, Unsteady, Unsteady]:
    (old,), (new,) = servers(story, "well"), servers(story, "well", name=b"new")
    return Shop(story, [old], [new], **{"health": BREAKER, **rules}), old, new


def down(shop: Shop, new: Unsteady) -> None:
    """Have the breaker of the candidate open."""
    new.mood = 500
    assert [shop.worker.ask(get()).status for _ in range(4)] == [500] * 4
    assert shop.told() == [("*", True, 1)]


def test_a_version_that_fails_more_than_half_of_its_requests_gets_no_more(story: Story) -> None:
    shop, _, new = shop_of(story)
    down(shop, new)
    assert [shop.worker.ask(get()).value(b"x-by") for _ in range(5)] == [b"old-0"] * 5
    assert len(new.heads) == 4
    assert shop.worker.count("diverted_total", "all", "new") == 5
    assert shop.worker.codes("old") == {200: 5}
    assert_adds_up(shop.worker)


def test_half_of_the_requests_failing_is_not_too_many(story: Story) -> None:
    shop, _, new = shop_of(story)
    for number in range(20):
        new.mood = 500 if number % 2 else "well"
        shop.worker.ask(get())
    assert shop.told() == []


def test_trials_that_all_succeed_bring_a_version_back(story: Story) -> None:
    shop, _, new = shop_of(story)
    down(shop, new)
    new.mood = "hold"
    shop.worker.leap(2.5)
    trials = [story.client(shop.worker) for _ in range(2)]
    for number, trial in enumerate(trials):
        trial.send(get("/trial"))
        new.wait_heads(5 + number)
    assert [shop.worker.ask(get()).value(b"x-by") for _ in range(3)] == [b"old-0"] * 3
    new.go_on()
    assert [trial.response().value(b"x-by") for trial in trials] == [b"new-0"] * 2
    assert shop.told() == [("*", True, 1), ("*", False, 2)]
    assert shop.worker.ask(get()).value(b"x-by") == b"new-0"
    assert shop.worker.worker.site.fleets["new"].calm
    assert_adds_up(shop.worker)


def test_a_trial_that_fails_keeps_a_version_out_for_longer(story: Story) -> None:
    shop, _, new = shop_of(story)
    down(shop, new)
    shop.worker.leap(2.5)
    assert shop.worker.ask(get()).status == 500
    assert [news.times for news in shop.news] == [1, 2]
    shop.worker.leap(2.5)
    assert shop.worker.ask(get()).status == 200
    shop.worker.leap(2.5)
    assert shop.worker.ask(get()).status == 500


def test_a_trial_whose_client_leaves_is_given_to_the_next(story: Story) -> None:
    shop, _, new = shop_of(story)
    down(shop, new)
    shop.worker.leap(2.5)
    for number in range(5):
        new.mood = "silent"
        with shop.worker.connect() as client:
            client.send(get())
            new.wait_heads(5 + number)
        shop.worker.wait_until(shop.worker.is_quiet)
    new.mood = "well"
    assert [shop.worker.ask(get()).value(b"x-by") for _ in range(2)] == [b"new-0"] * 2
    assert shop.told()[-1] == ("*", False, 2)


def test_the_baseline_takes_over_no_more_than_it_is_to(story: Story) -> None:
    shop, old, _ = shop_of(story, spill=2)
    shop.hear(OPEN, for_s=60.0)
    old.mood = "hold"
    clients = [story.client(shop.worker) for _ in range(2)]
    for number, client in enumerate(clients):
        client.send(get())
        old.wait_heads(number + 1)
    for method in ("GET", "POST"):
        refused = shop.worker.ask(request(method, "/", body=b"pay"))
        assert (refused.status, refused.value(b"retry-after")) == (503, b"1")
    assert shop.worker.count("shed_total", "new", "spill") == 2
    old.go_on()
    assert {client.response().status for client in clients} == {200}
    assert shop.worker.ask(get()).status == 200
    assert_adds_up(shop.worker)


@pytest.mark.parametrize("backoff_s", [0.0, 0.05])
def test_what_was_taken_over_is_so_in_its_second_attempt_too(story: Story, backoff_s: float) -> None:
    (bad, good), (new,) = servers(story, 503, "hold"), servers(story, "well", name=b"new")
    shop = Shop(story, [bad, good], [new], health=BREAKER, spill=1,
                retry=replace(EVERYTHING, backoff_s=backoff_s, most_backoff_s=backoff_s))
    shop.hear(OPEN, for_s=60.0)
    client = story.client(shop.worker)
    client.send(get())
    good.wait_heads(1)
    assert shop.worker.ask(get()).status == 503
    assert shop.worker.count("shed_total", "new", "spill") == 1
    good.go_on()
    assert client.response().status == 200
    assert_adds_up(shop.worker)


def test_where_they_are_to_fail_requests_are_refused_with_a_time_to_come_again(story: Story) -> None:
    shop, old, new = shop_of(story, when_down="fail")
    shop.hear(OPEN, for_s=60.0)
    refused = shop.worker.ask(get())
    assert (refused.status, refused.value(b"retry-after")) == (503, b"1")
    assert b"version-down" in refused.body
    assert old.heads == new.heads == []
    assert_adds_up(shop.worker)


@pytest.mark.parametrize("body", [
    b"Content-Length: 26\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n1a\r\nGET /smuggled HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
])
@pytest.mark.parametrize("pause", [True, False])
def test_the_body_of_a_request_that_is_refused_is_no_request(story: Story, body: bytes, pause: bool) -> None:
    shop, old, new = shop_of(story, when_down="fail")
    shop.hear(OPEN, for_s=60.0)
    client = story.client(shop.worker)
    head, _, rest = body.partition(b"\r\n\r\n")
    pieces = [b"POST / HTTP/1.1\r\nHost: shop.example\r\n" + head + b"\r\n\r\n", rest]
    if pause:
        client.send(pieces[0])
        answer = client.response()
        client.send_some(rest)
    else:
        client.send(b"".join(pieces))
        answer = client.response()
    assert answer.status == 503
    assert client.is_closed()
    assert old.heads == new.heads == []


def test_requests_that_are_held_are_answered_when_the_version_comes_back(story: Story) -> None:
    shop, old, _ = shop_of(story, when_down="hold", load=Load(queue=10, wait_s=30.0))
    shop.hear(OPEN, for_s=60.0)
    clients = [story.client(shop.worker) for _ in range(3)]
    for client, method in zip(clients, ("GET", "POST", "GET"), strict=True):
        client.send(request(method, "/", body=b"x"))
    shop.worker.wait_until(lambda worker: len(worker.site.fleets["new"].places.room) == 3)
    shop.hear(Noticed("new", "", False, 2))
    assert {client.response().value(b"x-by") for client in clients} == {b"new-0"}
    assert old.heads == []
    assert_adds_up(shop.worker)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_requests_that_are_held_try_the_version_when_it_is_time(story: Story, method: str) -> None:
    shop, _, new = shop_of(story, when_down="hold", load=Load(queue=10, wait_s=30.0), health=Health())
    new.mood = 503
    for _ in range(5):
        shop.worker.ask(get())
    new.mood = "well"
    clients = [story.client(shop.worker) for _ in range(3)]
    for client in clients:
        client.send(request(method, "/", body=b"x"))
    shop.worker.wait_until(lambda worker: len(worker.site.fleets["new"].places.room) == 3)
    shop.worker.leap(1.5)
    assert {client.response().status for client in clients} == {200}
    assert_adds_up(shop.worker)


def test_requests_that_are_held_too_long_are_refused(story: Story) -> None:
    shop, _, _ = shop_of(story, when_down="hold", load=Load(queue=10, wait_s=5.0), timeouts={"response_head": 1.0})
    shop.hear(OPEN, for_s=60.0)
    client = story.client(shop.worker)
    client.send(get())
    shop.worker.wait_until(lambda worker: len(worker.site.fleets["new"].places.room) == 1)
    shop.worker.leap(2.0)
    shop.worker.settle()
    assert len(shop.worker.worker.site.fleets["new"].places.room) == 1
    shop.worker.leap(4.0)
    refused = client.response()
    assert (refused.status, refused.value(b"retry-after")) == (503, b"1")
    assert shop.worker.count("shed_total", "new", "queue-timeout") == 1


def test_a_baseline_is_never_kept_from_its_requests_by_its_breaker(story: Story) -> None:
    (old,) = servers(story, 500)
    shop = Shop(story, [old], health=BREAKER)
    assert [shop.worker.ask(get()).status for _ in range(12)] == [500] * 12
    assert shop.told() == [("*", True, 1)]
    old.mood = "well"
    shop.worker.leap(2.5)
    assert [shop.worker.ask(get()).status for _ in range(4)] == [200] * 4
    assert shop.told()[-1] == ("*", False, 2)
    assert_adds_up(shop.worker)


def test_where_both_versions_are_down_each_is_asked_all_the_same(story: Story) -> None:
    shop, _, _ = shop_of(story)
    shop.hear(OPEN, for_s=60.0)
    shop.hear(Noticed("old", "", True, 1, times=1), for_s=60.0)
    assert shop.worker.ask(get()).value(b"x-by") == b"new-0"
    shop.change(weight=0.0)
    assert shop.worker.ask(get()).value(b"x-by") == b"old-0"


def test_a_request_that_names_a_version_that_is_down_goes_to_the_baseline(story: Story) -> None:
    shop, _, _ = shop_of(story, weight=0.0, override=Override(header="x-version", networks=("127.0.0.0/8",)))
    assert shop.worker.ask(get("/", "X-Version: new")).value(b"x-by") == b"new-0"
    shop.hear(OPEN, for_s=60.0)
    assert shop.worker.ask(get("/", "X-Version: new")).value(b"x-by") == b"old-0"


def test_a_session_at_a_version_that_is_down_outlives_that(story: Story) -> None:
    shop, _, _ = shop_of(story, sticky=Sticky("cookie", mode="session"))
    cookie = (shop.worker.ask(get()).value(b"set-cookie") or b"").partition(b";")[0].decode()
    shop.hear(OPEN, for_s=60.0)
    away = shop.worker.ask(get("/", f"Cookie: {cookie}"))
    assert (away.value(b"x-by"), away.values(b"set-cookie")) == (b"old-0", [])
    assert shop.worker.ask(get()).values(b"set-cookie") == []
    shop.hear(Noticed("new", "", False, 2))
    assert shop.worker.ask(get("/", f"Cookie: {cookie}")).value(b"x-by") == b"new-0"


def test_a_version_whose_servers_are_all_drained_gets_nothing(story: Story) -> None:
    shop, old, new = shop_of(story)
    shop.change(drained=[("new", new)])
    assert shop.worker.ask(get()).value(b"x-by") == b"old-0"
    shop.change(drained=[("new", new)], when_down="hold")
    assert shop.worker.ask(get()).status == 503
    shop.change(drained=[("new", new), ("old", old)], when_down="baseline")
    assert shop.worker.ask(get()).status == 503
    assert new.heads == []


def test_a_request_that_waits_for_a_version_goes_to_the_baseline_when_that_turns_out_to_be_down(story: Story) -> None:
    shop, _, new = shop_of(story, load=Load(in_flight=1, queue=10, wait_s=60.0))
    new.mood = "hold"
    first, second, third = (story.client(shop.worker) for _ in range(3))
    first.send(get("/first"))
    new.wait_heads(1)
    second.send(get("/second"))
    third.send(request("POST", "/third", body=b"pay"))
    shop.worker.wait_until(lambda worker: len(worker.site.fleets["new"].places.room) == 2)
    shop.hear(OPEN, for_s=60.0)
    assert [second.response().value(b"x-by"), third.response().value(b"x-by")] == [b"old-0"] * 2
    new.go_on()
    assert first.response().status == 200
    assert attempts(shop.worker) == {("new", "answered"): 1, ("old", "answered"): 2}
    assert_adds_up(shop.worker)


def test_a_protocol_is_switched_by_the_baseline_where_the_version_is_down(story: Story) -> None:
    shop, old, _ = shop_of(story)
    shop.hear(OPEN, for_s=60.0)
    shop.worker.ask(get("/", "Connection: upgrade", "Upgrade: echo"))
    assert b"upgrade: echo" in old.heads[0].lower()
