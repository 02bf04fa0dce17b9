"""What follows an attempt that failed: another one at another server, where that is safe, allowed and affordable."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from proxy.core.health.values import Health
from proxy.core.overload.values import Load
from tests.support.shop import EVERYTHING, NOTHING, PLENTY, Shop, servers
from tests.support.story import Story, dead_address, full_backlog, get, request
from tests.support.unsteady import Mood, assert_adds_up, attempts

NO_JUDGE = Health(ejection=None, breaker=None)
KEY = "Idempotency-Key: 17"


def wait_paused(shop: Shop) -> None:
    """Wait until a request pauses before its next attempt."""
    shop.worker.wait_until(lambda worker: any(task.get_name() == "back off" for task in worker._tasks))


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_a_refused_connection_is_followed_by_one_to_another_server(story: Story, method: str) -> None:
    (good,) = servers(story, "well")
    shop = Shop(story, [dead_address(), good], health=NO_JUDGE)
    for _ in range(4):
        assert shop.worker.ask(request(method, "/", body=b"pay")).status == 200
    assert len(good.heads) == 4
    assert attempts(shop.worker)["old", "connect"] > 0
    assert_adds_up(shop.worker)


@pytest.mark.parametrize("mood", ["reset", "close", 502, 503, 504, "slowly 503", "long 503", "early 503"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_an_idempotent_request_goes_on_where_the_rule_says_so(story: Story, mood: Mood, method: str) -> None:
    bad, good = servers(story, mood, "well")
    shop = Shop(story, [bad, good], health=NO_JUDGE, retry=EVERYTHING)
    with shop.worker.connect() as client:
        for _ in range(4):
            answer = client.ask(request(method, "/", body=b"pay" if method == "PUT" else b""), method.encode())
            assert (answer.status, answer.value(b"x-by")) == (200, b"old-1")
    assert bad.heads
    assert_adds_up(shop.worker)


@pytest.mark.parametrize(("mood", "cause"), [("reset", "reset"), ("close", "reset"), (502, "502"), (503, "503"),
                                             (504, "504")])
def test_what_the_rule_does_not_name_is_followed_by_nothing(story: Story, mood: Mood, cause: str) -> None:
    rule = replace(EVERYTHING, on=tuple(each for each in EVERYTHING.on if each != cause))
    bad = servers(story, mood, mood)
    shop = Shop(story, bad, health=NO_JUDGE, retry=rule)
    assert shop.worker.ask(get()).status == (mood if isinstance(mood, int) else 502)
    assert sum(len(server.heads) for server in bad) == 1


@pytest.mark.parametrize("mood", ["reset", "close", 502, 503, 504])
def test_a_post_is_not_sent_twice(story: Story, mood: Mood) -> None:
    bad = servers(story, mood, mood)
    shop = Shop(story, bad, health=NO_JUDGE, retry=EVERYTHING)
    shop.worker.ask(request("POST", "/", KEY, body=b"pay"))
    assert sum(len(server.heads) for server in bad) == 1


@pytest.mark.parametrize("mood", ["reset", 503])
def test_a_post_with_a_key_is_sent_again_where_the_operator_allows_that(story: Story, mood: Mood) -> None:
    bad, good = servers(story, mood, "well")
    shop = Shop(story, [bad, good], health=NO_JUDGE, retry=replace(EVERYTHING, idempotency_key=True))
    assert shop.worker.ask(request("POST", "/", KEY, body=b"pay")).status == 200
    assert (bad.bodies, good.bodies) == ([b"pay"], [b"pay"])
    bad.mood = good.mood = mood
    shop.worker.ask(request("POST", "/", body=b"pay"))
    assert len(bad.heads) + len(good.heads) == 3


@pytest.mark.parametrize("mood", ["garbage", "half head"])
def test_a_bad_answer_is_followed_by_nothing(story: Story, mood: Mood) -> None:
    bad = servers(story, mood, mood)
    shop = Shop(story, bad, retry=EVERYTHING)
    assert shop.worker.ask(get()).status == 502
    assert sum(len(server.heads) for server in bad) == 1


def test_a_server_that_takes_longer_than_an_attempt_may_is_given_up_for_another(story: Story) -> None:
    bad, good = servers(story, "silent", "well")
    shop = Shop(story, [bad, good], retry=replace(EVERYTHING, per_try_s=0.5))
    client = story.client(shop.worker)
    client.send(get())
    bad.wait_heads(1)
    shop.worker.leap(1.0)
    assert client.response().status == 200
    assert attempts(shop.worker) == {("old", "timeout"): 1, ("old", "answered"): 1}


def test_an_attempt_with_a_body_takes_no_longer_either(story: Story) -> None:
    bad, good = servers(story, "silent", "well")
    shop = Shop(story, [bad, good], retry=replace(EVERYTHING, per_try_s=0.5))
    client = story.client(shop.worker)
    client.send(request("PUT", "/", body=b"goods"))
    bad.wait_until(lambda: len(bad.bodies) == 1)
    shop.worker.settle()
    shop.worker.leap(1.0)
    assert client.response().status == 200
    assert good.bodies == [b"goods"]


@pytest.mark.parametrize("body", [b"", b"pay"])
def test_what_is_not_sent_twice_has_all_the_time_there_is(story: Story, body: bytes) -> None:
    (server,) = servers(story, "hold")
    shop = Shop(story, [server], retry=replace(EVERYTHING, per_try_s=0.5), timeouts={"response_head": 10.0})
    client = story.client(shop.worker)
    client.send(request("POST", "/", body=body))
    server.wait_until(lambda: len(server.bodies) == 1)
    shop.worker.settle()
    shop.worker.leap(5.0)
    server.go_on()
    assert client.response().status == 200
    late, server.mood = story.client(shop.worker), "silent"
    late.send(request("POST", "/", body=body))
    server.wait_until(lambda: len(server.bodies) == 2)
    shop.worker.settle()
    shop.worker.leap(5.0)
    shop.worker.leap(6.0)
    assert late.response().status == 504


def test_a_server_that_does_not_accept_in_the_time_of_an_attempt_is_given_up_also_for_a_post(story: Story) -> None:
    with full_backlog() as full:
        (good,) = servers(story, "well")
        shop = Shop(story, [full, good], retry=replace(PLENTY, per_try_s=0.5), timeouts={"connect": 30.0})
        client = story.client(shop.worker)
        client.send(request("POST", "/", body=b"pay"))
        shop.worker.wait_until(lambda worker: any(each.exchange is not None for each in worker.clients))
        shop.worker.leap(1.0)
        assert client.response().status == 200
        assert attempts(shop.worker) == {("old", "connect"): 1, ("old", "answered"): 1}


def test_when_all_the_time_is_used_up_nothing_more_is_asked(story: Story) -> None:
    bad = servers(story, "silent", "silent")
    shop = Shop(story, bad, retry=EVERYTHING, timeouts={"response_head": 1.0})
    client = story.client(shop.worker)
    client.send(get())
    bad[0].wait_heads(1)
    shop.worker.leap(2.0)
    assert client.response().status == 504
    assert bad[1].heads == []


def test_a_server_just_tried_is_not_tried_again(story: Story) -> None:
    bad = servers(story, 503, 503, 503)
    shop = Shop(story, bad, health=NO_JUDGE, retry=replace(EVERYTHING, attempts=9))
    assert shop.worker.ask(get()).status == 503
    assert [len(server.heads) for server in bad] == [1, 1, 1]


def test_a_single_server_is_not_asked_twice(story: Story) -> None:
    (bad,) = servers(story, 503)
    shop = Shop(story, [bad], retry=EVERYTHING)
    assert shop.worker.ask(get()).body == b"not well"
    assert len(bad.heads) == 1


@pytest.mark.parametrize("most", [1, 2, 3])
def test_there_are_as_many_attempts_as_the_rule_says(story: Story, most: int) -> None:
    bad = servers(story, 503, 503, 503, 503)
    shop = Shop(story, bad, health=NO_JUDGE, retry=replace(EVERYTHING, attempts=most))
    assert shop.worker.ask(get()).status == 503
    assert sum(len(server.heads) for server in bad) == most
    assert attempts(shop.worker) == {("old", "error"): most}


def test_without_a_rule_nothing_is_tried_again(story: Story) -> None:
    shop = Shop(story, [dead_address(), dead_address()], retry=NOTHING)
    assert shop.worker.ask(get()).status == 502
    assert attempts(shop.worker) == {("old", "connect"): 1}


def test_a_budget_that_is_spent_leaves_the_answer_of_the_server(story: Story) -> None:
    bad, good = servers(story, 503, "well")
    shop = Shop(story, [bad, good], health=NO_JUDGE, retry=replace(EVERYTHING, budget=0.0, floor=0.2))
    answers = [shop.worker.ask(get()) for _ in range(10)]
    refused = [answer.body for answer in answers if answer.status == 503]
    assert set(refused) == {b"not well"}
    assert shop.worker.count("retry_budget_exhausted_total", "all") == len(refused)
    assert shop.worker.count("retries_total", "all", "old") == len(bad.heads) - len(refused) >= 2
    assert_adds_up(shop.worker)


def test_where_every_other_server_is_full_the_client_has_the_servers_answer_and_the_budget_is_not_spent(
        story: Story) -> None:
    one, two = servers(story, *[lambda head: "hold" if b"/held" in head else 503] * 2)
    once = replace(EVERYTHING, budget=0.0, floor=0.1)
    shop = Shop(story, [one, two], health=NO_JUDGE, retry=once, load=Load(per_server=1))
    held = story.client(shop.worker)
    held.send(get("/held"))
    shop.worker.wait_until(lambda _: bool(one.heads or two.heads))
    with shop.worker.connect() as client:
        refused = [client.ask(get(f"/{number}")) for number in range(5)]
    assert {(answer.status, answer.body) for answer in refused} == {(503, b"not well")}
    assert shop.worker.count("retries_total", "all", "old") == 0
    well = one if b"/held" in one.heads[0] else two
    well.go_on()
    assert held.response().status == 200
    assert 200 in [shop.worker.ask(get(f"/{number}")).status for number in range(2)]
    assert shop.worker.count("retries_total", "all", "old") == 1
    assert_adds_up(shop.worker)


def test_where_the_version_may_have_less_than_it_has_there_is_no_other_attempt(story: Story) -> None:
    go = threading.Event()

    def mood(head: bytes) -> Mood:
        return "hold" if b"/held" in head else go.wait(15) and 503

    two = servers(story, mood, mood)
    shop = Shop(story, two, health=NO_JUDGE, retry=EVERYTHING, load=Load(in_flight=2))
    held, failing = story.client(shop.worker), story.client(shop.worker)
    held.send(get("/held"))
    shop.worker.wait_until(lambda _: bool(two[0].heads or two[1].heads))
    failing.send(get("/failing"))
    shop.worker.wait_until(lambda worker: worker.site.fleets["old"].total_in_flight == 2)
    shop.worker.call(lambda worker: setattr(worker.site.fleets["old"], "limit", 1))    # as it follows the latency
    go.set()
    answer = failing.response()
    assert (answer.status, answer.body) == (503, b"not well")
    for server in two:
        server.go_on()
    assert held.response().status == 200
    assert_adds_up(shop.worker)


def test_a_budget_is_earned_by_requests(story: Story) -> None:
    bad, good = servers(story, "well", "well")
    shop = Shop(story, [bad, good], health=NO_JUDGE, retry=replace(EVERYTHING, budget=0.2, floor=0.0))
    with shop.worker.connect() as client:
        for number in range(20):
            client.ask(get(f"/{number}"))
        for _ in range(5):
            shop.worker.leap(0.3)
        bad.mood = 503
        for _ in range(20):
            client.ask(get())
    assert 4 <= shop.worker.count("retries_total", "all", "old") <= 8


def test_both_versions_share_a_budget(story: Story) -> None:
    old, new = servers(story, 503, 503), servers(story, 503, 503, name=b"new")
    shop = Shop(story, old, new, weight=50.0, health=NO_JUDGE, retry=replace(EVERYTHING, budget=0.0, floor=0.4))
    for _ in range(12):
        assert shop.worker.ask(get()).status == 503
    assert shop.worker.count("retries_total", "all", "old") + shop.worker.count("retries_total", "all", "new") == 4
    assert shop.worker.count("retry_budget_exhausted_total", "all") >= 8


def test_a_server_that_answered_badly_and_whole_is_asked_again_on_the_same_connection(story: Story) -> None:
    bad, good = servers(story, 503, "well")
    shop = Shop(story, [bad, good], health=NO_JUDGE, retry=EVERYTHING)
    with shop.worker.connect() as client:
        for _ in range(12):
            client.ask(get())
    assert len(bad.heads) > 1
    assert bad.connections == 1


def test_a_connection_with_the_rest_of_a_bad_answer_is_not_used_again(story: Story) -> None:
    bad, good = servers(story, "long 503", "well")
    shop = Shop(story, [bad, good], health=NO_JUDGE, retry=EVERYTHING)
    with shop.worker.connect() as client:
        for _ in range(8):
            assert client.ask(get()).value(b"x-by") == b"old-1"
    assert bad.connections == len(bad.heads)


def test_a_retry_goes_by_the_snapshot_of_its_time(story: Story) -> None:
    old, new = servers(story, "well"), servers(story, "silent", "silent", name=b"new")
    shop = Shop(story, old, new, retry=replace(EVERYTHING, per_try_s=5.0))
    client = story.client(shop.worker)
    client.send(get())
    new[0].wait_heads(1)
    shop.change(weight=0.0)
    shop.worker.leap(6.0)
    assert client.response().value(b"x-by") == b"old-0"
    assert new[1].heads == []


def test_a_snapshot_of_the_meantime_is_no_reason_to_ask_the_same_server_twice(story: Story) -> None:
    (server,) = servers(story, lambda head: "silent" if b"/first" in head else "well")
    shop = Shop(story, [server], retry=replace(EVERYTHING, per_try_s=1.0))
    client = story.client(shop.worker)
    client.send(get("/first"))
    server.wait_heads(1)
    shop.change(priority=2)
    shop.worker.leap(1.5)
    assert client.response().status == 504
    assert len(server.heads) == 1
    assert shop.worker.count("retries_total", "all", "old") == 0


def test_another_attempt_is_made_at_the_version_that_was_chosen(story: Story) -> None:
    old, (new,) = servers(story, "well"), servers(story, "well", name=b"new")
    shop = Shop(story, old, [dead_address(), new], weight=50.0, health=NO_JUDGE)
    for _ in range(40):
        assert shop.worker.ask(get()).status == 200
    assert 18 <= len(new.heads) <= 22       # draws are smooth, and begin anywhere
    assert attempts(shop.worker)["new", "connect"] > 5


def test_a_client_that_leaves_while_the_next_attempt_is_paused_for_is_counted_once(story: Story) -> None:
    bad = servers(story, 503, 503)
    shop = Shop(story, bad, health=NO_JUDGE, retry=replace(EVERYTHING, backoff_s=30.0, most_backoff_s=30.0))
    with shop.worker.connect() as client:
        client.send(get())
        wait_paused(shop)
    shop.worker.wait_until(shop.worker.is_quiet)
    assert shop.worker.codes() == {499: 1}
    assert attempts(shop.worker) == {("old", "error"): 1}


def test_a_pause_is_not_ended_by_the_time_of_the_attempt_before(story: Story) -> None:
    bad = servers(story, 503, "well")
    shop = Shop(story, bad, health=NO_JUDGE,
                retry=replace(EVERYTHING, backoff_s=0.3, most_backoff_s=0.3, per_try_s=0.5))
    client = story.client(shop.worker)
    client.send(get())
    wait_paused(shop)
    shop.worker.leap(1.0)
    assert client.response().status == 200


def test_a_request_that_is_paused_is_sent_elsewhere_when_its_version_is_cut_off(story: Story) -> None:
    old, new = servers(story, "well"), servers(story, 503, 503, name=b"new")
    shop = Shop(story, old, new, health=NO_JUDGE, retry=replace(EVERYTHING, backoff_s=30.0, most_backoff_s=30.0))
    client = story.client(shop.worker)
    client.send(get())
    wait_paused(shop)
    shop.cut("new", weight=0.0)
    assert client.response().value(b"x-by") == b"old-0"
    assert attempts(shop.worker) == {("new", "error"): 1, ("old", "answered"): 1}
    assert shop.worker.count("retries_total", "all", "new") == 1


def test_a_second_attempt_does_not_stand_in_line_once_more(story: Story) -> None:
    held, good = servers(story, lambda head: "hold" if b"/held" in head else 503, "well")
    shop = Shop(story, [held, good], health=NO_JUDGE, retry=EVERYTHING, load=Load(in_flight=2, queue=10, wait_s=60.0))
    first, second, third = (story.client(shop.worker) for _ in range(3))
    first.send(get("/held"))
    held.wait_heads(1)
    with shop.worker.connect() as client:
        assert {client.ask(get()).status for _ in range(4)} == {200}
    second.send(get("/held"))
    third.send(get("/third"))
    assert third.response().status == 200
    held.go_on()
    assert {first.response().status, second.response().status} == {200}
    assert_adds_up(shop.worker)


def test_what_is_asked_after_a_retry_is_answered_in_its_turn(story: Story) -> None:
    bad, good = servers(story, 503, "well")
    shop = Shop(story, [bad, good], health=NO_JUDGE, retry=EVERYTHING)
    client = story.client(shop.worker)
    client.send(b"".join(request("PUT", f"/{number}", body=b"x" * number) for number in range(1, 7)))
    assert [client.response().body for _ in range(6)] == [b"PUT /%d %d" % (number, number) for number in range(1, 7)]
