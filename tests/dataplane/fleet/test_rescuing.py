"""What a candidate fails the baseline answers, where the operator wants that; it stays the candidate's failure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.core.health.values import Health
from proxy.core.overload.values import Load
from proxy.core.route import Override, Sticky
from tests.support.shop import EVERYTHING, NOTHING, PLENTY, Shop, servers
from tests.support.story import Story, dead_address, get, request
from tests.support.unsteady import Mood, Unsteady, assert_adds_up, attempts

NO_JUDGE = Health(ejection=None, breaker=None)
OUTCOMES: dict[Mood, str] = {
    "reset": "reset", "close": "reset", "garbage": "bad-answer", "half head": "bad-answer", 500: "error", 502: "error",
    503: "error", 504: "error", "slowly 503": "error", "long 503": "error", "early 503": "error", "deaf": "reset",
}


def shop_of(story: Story, mood: Mood, **rules: object) -> tuple[Shop, Unsteady, Unsteady]:
    """A well baseline and a candidate in this mood, each with one server; all requests are the candidate's."""
    (old,), (new,) = servers(story, "well"), servers(story, mood, name=b"new")
    settings: dict[str, object] = {"rescue": True, "health": NO_JUDGE, **rules}
    return Shop(story, [old], [new], **settings), old, new


@pytest.mark.parametrize("mood", OUTCOMES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_the_candidate_fails_is_answered_by_the_baseline_and_counted_for_both(
        story: Story, mood: Mood, method: str) -> None:
    shop, _, _ = shop_of(story, mood)
    with shop.worker.connect() as client:
        answers = [client.ask(request(method, "/"), method.encode()) for _ in range(3)]
    assert [(answer.status, answer.value(b"x-by")) for answer in answers] == [(200, b"old-0")] * 3
    counted = attempts(shop.worker)
    assert counted.pop(("old", "answered")) == 3
    assert sum(counted.values()) == 3
    assert set(counted) <= {("new", OUTCOMES[mood]), ("new", "connect")}
    assert shop.worker.count("rescues_total", "all", "new", "answered") == 3
    assert (shop.worker.codes("old"), shop.worker.codes("new")) == ({200: 3}, {})
    assert_adds_up(shop.worker)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_candidate_that_refuses_connections_is_rescued_whatever_is_asked(story: Story, method: str) -> None:
    shop = Shop(story, servers(story, "well"), [dead_address()], rescue=True, health=NO_JUDGE)
    assert shop.worker.ask(request(method, "/", body=b"pay")).body == b"%b / 3" % method.encode()
    assert attempts(shop.worker) == {("new", "connect"): 1, ("old", "answered"): 1}


def test_a_candidate_that_does_not_answer_in_time_is_rescued_and_the_baseline_has_time_of_its_own(story: Story) -> None:
    shop, old, new = shop_of(story, "silent", timeouts={"response_head": 2.0})
    old.mood = "hold"
    client = story.client(shop.worker)
    client.send(get())
    new.wait_heads(1)
    shop.worker.leap(2.5)
    old.wait_heads(1)
    shop.worker.leap(1.0)
    old.go_on()
    assert client.response().value(b"x-by") == b"old-0"
    assert attempts(shop.worker) == {("new", "timeout"): 1, ("old", "answered"): 1}


@pytest.mark.parametrize("mood", ["reset", "garbage", 500, 503])
def test_a_post_that_may_have_begun_is_not_rescued(story: Story, mood: Mood) -> None:
    shop, old, _ = shop_of(story, mood)
    answer = shop.worker.ask(request("POST", "/", body=b"pay"))
    assert answer.status == (mood if isinstance(mood, int) else 502)
    assert old.heads == []


@pytest.mark.parametrize("mood", [404, 501, 505, 429])
def test_what_says_something_of_the_request_is_passed_on(story: Story, mood: Mood) -> None:
    shop, old, _ = shop_of(story, mood)
    assert shop.worker.ask(get()).status == mood
    assert old.heads == []


def test_an_answer_that_has_begun_is_not_rescued(story: Story) -> None:
    shop, old, _ = shop_of(story, "half body")
    with shop.worker.connect() as client:
        client.send(get())
        assert client.rest().endswith(b"part")
    assert old.heads == []
    assert attempts(shop.worker) == {("new", "bad-answer"): 1}


@pytest.mark.parametrize("mood", ["reset", 500])
def test_without_the_operators_leave_nothing_is_rescued(story: Story, mood: Mood) -> None:
    shop, old, _ = shop_of(story, mood, rescue=False)
    assert shop.worker.ask(get()).status >= 500
    assert old.heads == []


def test_nothing_comes_to_the_rescue_of_the_baseline(story: Story) -> None:
    (old,), (new,) = servers(story, 503), servers(story, "well", name=b"new")
    shop = Shop(story, [old], [new], weight=0.0, rescue=True, health=NO_JUDGE)
    assert shop.worker.ask(get()).status == 503
    assert new.heads == []


@pytest.mark.parametrize("mood", ["reset", "garbage", 500, 503, "long 503"])
def test_a_rescue_that_fails_too_is_counted_as_such(story: Story, mood: Mood) -> None:
    shop, old, _ = shop_of(story, mood)
    old.mood = "close"
    assert shop.worker.ask(get()).status == 502
    assert len(old.heads) == 1
    assert shop.worker.count("rescues_total", "all", "new", "failed") == 1
    assert shop.worker.codes("old") == {502: 1}
    assert_adds_up(shop.worker)


def test_a_rescue_may_be_tried_again_and_stays_with_the_baseline(story: Story) -> None:
    (good,), (new,) = servers(story, "well"), servers(story, 500, name=b"new")
    shop = Shop(story, [dead_address(), good], [new], rescue=True, health=NO_JUDGE)
    for _ in range(3):
        assert shop.worker.ask(get()).value(b"x-by") == b"old-0"
    assert len(new.heads) == 3
    assert attempts(shop.worker)["old", "connect"] > 0
    assert_adds_up(shop.worker)


def test_a_rescue_comes_after_the_last_attempt_at_the_candidate(story: Story) -> None:
    old, new = servers(story, "well"), servers(story, 503, 503, name=b"new")
    shop = Shop(story, old, new, rescue=True, health=NO_JUDGE, retry=EVERYTHING)
    assert shop.worker.ask(get()).value(b"x-by") == b"old-0"
    assert [len(server.heads) for server in new] == [1, 1]


def test_a_rescue_follows_where_other_servers_of_the_candidate_have_no_place(story: Story) -> None:
    def held_or_bad(head: bytes) -> Mood:
        return "hold" if b"/held" in head else 503

    old, new = servers(story, "well"), servers(story, held_or_bad, held_or_bad, name=b"new")
    shop = Shop(story, old, new, rescue=True, health=NO_JUDGE, retry=EVERYTHING, load=Load(per_server=1))
    held = story.client(shop.worker)
    held.send(get("/held"))
    new[0].wait_heads(1)
    assert shop.worker.ask(get()).value(b"x-by") == b"old-0"
    assert len(new[1].heads) == 1
    new[0].go_on()
    assert held.response().status == 200
    assert_adds_up(shop.worker)


def test_without_a_rule_for_retries_there_is_a_rescue_all_the_same(story: Story) -> None:
    shop, _, _ = shop_of(story, 503, retry=replace(NOTHING, floor=10.0))
    assert shop.worker.ask(get()).value(b"x-by") == b"old-0"


def test_a_budget_that_is_spent_leaves_the_candidates_answer(story: Story) -> None:
    shop, old, _ = shop_of(story, 500, retry=replace(PLENTY, budget=0.0, floor=0.1))
    answers = [shop.worker.ask(get()).body for _ in range(3)]
    assert answers[1:] == [b"not well"] * 2
    assert len(old.heads) == 1
    assert shop.worker.count("retry_budget_exhausted_total", "all") == 2


@pytest.mark.parametrize("when_down", ["baseline", "fail", "hold"])
def test_the_failure_that_takes_a_version_down_is_rescued_whatever_follows_from_that(
        story: Story, when_down: str) -> None:
    shop, _, _ = shop_of(story, 503, health=Health(), when_down=when_down)
    statuses = [shop.worker.ask(get()).status for _ in range(5)]
    assert statuses == [200] * 5
    assert [news.out for news in shop.news] == [True]
    assert shop.worker.ask(get()).status == (200 if when_down == "baseline" else 503)
    assert_adds_up(shop.worker)


@pytest.mark.parametrize("when_down", ["baseline", "fail", "hold"])
def test_so_is_a_connection_that_is_refused_then(story: Story, when_down: str) -> None:
    shop = Shop(story, servers(story, "well"), [dead_address()], rescue=True, when_down=when_down)
    assert [shop.worker.ask(request("POST", "/", body=b"x")).status for _ in range(5)] == [200] * 5
    assert shop.worker.count("rescues_total", "all", "new", "answered") == 5


def test_a_rescue_is_no_diversion(story: Story) -> None:
    shop, _, _ = shop_of(story, 503, health=Health(), spill=0)
    assert [shop.worker.ask(get()).status for _ in range(5)] == [200] * 5
    assert shop.worker.count("diverted_total", "all", "new") == 0


def test_a_request_that_names_its_version_is_rescued(story: Story) -> None:
    shop, old, new = shop_of(story, 503, weight=0.0, override=Override(header="x-version", networks=("127.0.0.0/8",)))
    assert shop.worker.ask(get("/", "X-Version: new")).value(b"x-by") == b"old-0"
    assert (len(new.heads), len(old.heads)) == (1, 1)


def test_no_session_begins_at_a_version_that_did_not_answer(story: Story) -> None:
    shop, _, new = shop_of(story, 503, sticky=Sticky("cookie", mode="session"))
    assert shop.worker.ask(get()).values(b"set-cookie") == []
    new.mood = "well"
    assert len(shop.worker.ask(get()).values(b"set-cookie")) == 1


def test_a_body_is_sent_whole_to_the_rescue(story: Story) -> None:
    shop, old, new = shop_of(story, 503, retry=EVERYTHING)
    body = bytes(range(256)) * 100
    assert shop.worker.ask(request("PUT", "/", body=body)).value(b"x-by") == b"old-0"
    assert (new.bodies, old.bodies) == ([body], [body])


def test_a_protocol_that_the_candidate_cannot_speak_is_spoken_by_the_baseline(story: Story) -> None:
    def switching(peer: object) -> None:
        head = peer.read_head()  # type: ignore[attr-defined]
        assert b"Upgrade: echo" in head
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")  # type: ignore[attr-defined]
        peer.send(peer.read())  # type: ignore[attr-defined]
        peer.read_to_end()  # type: ignore[attr-defined]

    origin, (new,) = story.origin(switching), servers(story, 503, name=b"new")
    shop = Shop(story, [origin.address], [new], rescue=True, health=NO_JUDGE)
    with shop.worker.connect() as client:
        client.send(get("/", "Connection: upgrade", "Upgrade: echo"))
        client.read_until(b"\r\n\r\n")
        client.send(b"hello")
        client.read_until(b"hello")
    assert attempts(shop.worker) == {("new", "error"): 1, ("old", "answered"): 1}
    assert_adds_up(shop.worker)
