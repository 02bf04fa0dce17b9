"""Servers that fail real requests get no more of them, until one real request shows that they are well again."""

from __future__ import annotations

import os
import resource
from dataclasses import replace

import pytest

from proxy.core.health.values import Breaker, Ejection, Health
from proxy.core.retry import Retry
from proxy.dataplane.fleet.fleet import UNREACHABLE_S
from proxy.ipc.messages import Noticed
from tests.support.shop import EVERYTHING, NOTHING, PLENTY, Shop, servers
from tests.support.story import Story, dead_address, get, request
from tests.support.unsteady import Mood, Unsteady, assert_adds_up, attempts
from tests.support.worker import server_at

BREAKERLESS = Health(breaker=None)


def ask(shop: Shop, count: int, method: str = "GET") -> list[int]:
    """The statuses of so many requests, one after the other."""
    with shop.worker.connect() as client:
        return [client.ask(request(method, f"/{number}"), method.encode()).status for number in range(count)]


def put_out(shop: Shop, count: int = 10) -> None:
    """Ask until the failing server of two is out."""
    ask(shop, count)
    assert [news.out for news in shop.news] == [True]


def test_five_refused_connections_in_a_row_put_a_server_out(story: Story) -> None:
    dead = dead_address()
    shop = Shop(story, [dead, *servers(story, "well")])
    assert set(ask(shop, 30)) == {200}
    assert attempts(shop.worker) == {("old", "connect"): 5, ("old", "answered"): 30}
    assert shop.told() == [(server_at(dead).address, True, 1)]
    assert_adds_up(shop.worker)


@pytest.mark.parametrize("mood", ["reset", "close", 502, 503, 504])
def test_five_failures_in_a_row_put_a_server_out(story: Story, mood: Mood) -> None:
    bad, good = servers(story, mood, "well")
    shop = Shop(story, [bad, good], retry=EVERYTHING)
    assert set(ask(shop, 30)) == {200}
    assert len(bad.heads) == 5
    assert shop.told() == [(bad.url, True, 1)]
    assert_adds_up(shop.worker)


def test_five_time_outs_in_a_row_put_a_server_out(story: Story) -> None:
    (server,) = servers(story, "silent")
    shop = Shop(story, [server], retry=replace(NOTHING, per_try_s=0.25))
    with shop.worker.connect() as client:
        for number in range(5):
            assert shop.told() == []
            client.send(get())
            server.wait_heads(number + 1)
            shop.worker.leap(0.6)
            assert client.response().status == 504
    assert shop.told() == [(server.url, True, 1)]
    assert attempts(shop.worker) == {("old", "timeout"): 5}


@pytest.mark.parametrize("mood", [500, 501, 404])
def test_what_an_application_answers_badly_puts_no_server_out(story: Story, mood: Mood) -> None:
    bad, good = servers(story, mood, "well")
    shop = Shop(story, [bad, good], health=BREAKERLESS)
    ask(shop, 20)
    assert len(bad.heads) == 10
    assert shop.told() == []


def test_failures_that_are_not_in_a_row_put_nobody_out(story: Story) -> None:
    count = iter(range(1000))
    moods = servers(story, lambda _: "well" if next(count) % 5 == 4 else 503, "well")
    shop = Shop(story, moods, health=BREAKERLESS)
    ask(shop, 40)
    assert len(moods[0].heads) == 20
    assert shop.told() == []


def test_descriptors_that_run_out_here_are_held_against_no_server(story: Story) -> None:
    shop = Shop(story, servers(story, "well"), retry=NOTHING)
    client = story.client(shop.worker)
    shop.worker.wait_until(lambda worker: len(worker.clients) == 1)
    _, hard = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        statuses = [client.ask(get()).status for _ in range(7)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert statuses == [503] * 7
    assert shop.told() == []
    assert client.ask(get()).status == 200
    assert_adds_up(shop.worker)


def test_clients_that_leave_are_held_against_no_server(story: Story) -> None:
    (server,) = servers(story, "silent")
    shop = Shop(story, [server])
    for number in range(8):
        with shop.worker.connect() as client:
            client.send(get())
            server.wait_heads(number + 1)
    shop.worker.wait_until(shop.worker.is_quiet)
    assert shop.told() == []
    assert attempts(shop.worker) == {("old", "gone"): 8}


def test_connections_that_were_stale_are_held_against_no_server(story: Story) -> None:
    """A server that is restarted breaks all that were idle; that says nothing of how it is now."""
    (server,) = servers(story, "hold")
    shop = Shop(story, [server], retry=NOTHING)
    clients = [story.client(shop.worker) for _ in range(6)]
    for client in clients:
        client.send(get())
    server.wait_heads(6)
    server.go_on()
    assert {client.response().status for client in clients} == {200}
    server.mood = "reset"
    assert [client.ask(get()).status for client in clients] == [502] * 6
    assert shop.told() == []


def test_a_server_that_is_out_is_tried_by_one_request_and_comes_in_when_that_succeeds(story: Story) -> None:
    bad, good = servers(story, 503, "well")
    shop = Shop(story, [bad, good])
    put_out(shop)
    bad.mood = "hold"
    shop.worker.leap(1.5)
    trial = story.client(shop.worker)
    trial.send(get("/trial"))
    bad.wait_heads(6)
    assert set(ask(shop, 10)) == {200}
    assert len(bad.heads) == 6
    bad.go_on()
    assert trial.response().status == 200
    assert shop.told() == [(bad.url, True, 1), (bad.url, False, 2)]
    ask(shop, 10)
    assert len(bad.heads) == 11
    assert_adds_up(shop.worker)


def test_a_trial_that_fails_puts_a_server_out_for_twice_as_long(story: Story) -> None:
    bad, good = servers(story, 503, "well")
    shop = Shop(story, [bad, good])
    put_out(shop)
    shop.worker.leap(1.5)
    ask(shop, 5)
    assert len(bad.heads) == 6
    assert [news.times for news in shop.news] == [1, 2]
    shop.worker.leap(1.5)
    ask(shop, 5)
    assert len(bad.heads) == 6
    shop.worker.leap(1.0)
    ask(shop, 5)
    assert len(bad.heads) == 7


def test_a_trial_whose_client_leaves_is_given_to_the_next(story: Story) -> None:
    bad, good = servers(story, 503, "well")
    shop = Shop(story, [bad, good])
    put_out(shop)
    bad.mood = "silent"
    shop.worker.leap(1.5)
    with shop.worker.connect() as client:
        client.send(get())
        bad.wait_heads(6)
    shop.worker.wait_until(shop.worker.is_quiet)
    bad.mood = "well"
    ask(shop, 1)
    assert len(bad.heads) == 7
    assert shop.told()[-1] == (bad.url, False, 2)


def test_a_request_that_may_not_be_repeated_tries_a_server_only_after_a_while(story: Story) -> None:
    bad, good = servers(story, 503, "well")
    shop = Shop(story, [bad, good])
    put_out(shop)
    bad.mood = "well"
    shop.worker.leap(1.5)
    ask(shop, 4, "POST")
    assert len(bad.heads) == 5
    shop.worker.leap(1.0)
    ask(shop, 4, "POST")
    assert len(bad.heads) > 5


def test_an_answer_to_what_was_asked_before_brings_nobody_in(story: Story) -> None:
    bad, good = servers(story, "well", lambda head: "hold" if b"/slow" in head else "well")
    bad.mood = lambda head: "hold" if b"/slow" in head else "silent" if b"/trial" in head else 503
    shop = Shop(story, [bad, good])
    slow, also_slow, trial = (story.client(shop.worker) for _ in range(3))
    slow.send(get("/slow"))
    also_slow.send(get("/slow"))
    bad.wait_heads(1)
    good.wait_heads(1)
    put_out(shop, 20)
    shop.worker.leap(1.5)
    trial.send(get("/trial"))
    bad.wait_until(lambda: any(b"/trial" in head for head in bad.heads))
    bad.go_on()
    good.go_on()
    assert {slow.response().status, also_slow.response().status} == {200}
    assert len(shop.news) == 1
    trial.close()


def test_requests_for_a_candidate_whose_only_server_is_out_go_to_the_baseline(story: Story) -> None:
    old, (new,) = servers(story, "well"), servers(story, 503, name=b"new")
    shop = Shop(story, old, [new])
    assert ask(shop, 20) == [503] * 5 + [200] * 15
    assert len(new.heads) == 5
    assert shop.worker.count("diverted_total", "all", "new") == 15
    assert_adds_up(shop.worker)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_while_a_candidate_is_tried_all_other_requests_go_to_the_baseline(story: Story, method: str) -> None:
    old, (new,) = servers(story, "well"), servers(story, 503, name=b"new")
    shop = Shop(story, old, [new])
    ask(shop, 6)
    new.mood = "hold"
    shop.worker.leap(1.5)
    trial = story.client(shop.worker)
    trial.send(get("/trial"))
    new.wait_heads(6)
    assert ask(shop, 5, method) == [200] * 5
    new.go_on()
    assert trial.response().value(b"x-by") == b"new-0"
    assert shop.worker.ask(get()).value(b"x-by") == b"new-0"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_baseline_whose_servers_are_out_is_asked_all_the_same(story: Story, method: str) -> None:
    (server,) = servers(story, 503)
    shop = Shop(story, [server], health=BREAKERLESS)
    assert ask(shop, 10) == [503] * 10
    assert shop.told() == [(server.url, True, 1)]
    server.mood = "hold"
    shop.worker.leap(1.5)
    trial = story.client(shop.worker)
    trial.send(get("/trial"))
    server.wait_heads(11)
    server.mood = "well"
    assert ask(shop, 5, method) == [200] * 5
    server.go_on()
    assert trial.response().status == 200
    assert_adds_up(shop.worker)


def test_below_the_panic_share_health_is_disregarded(story: Story) -> None:
    old = servers(story, *["well"] * 4)
    shop = Shop(story, old, health=Health(panic=0.3))
    shop.hear_probes(*[("old", server) for server in old[:2]])
    ask(shop, 8)
    assert [len(server.heads) for server in old] == [0, 0, 4, 4]
    shop.hear_probes(*[("old", server) for server in old[:3]])
    ask(shop, 8)
    assert all(server.heads for server in old)


def test_in_a_panic_servers_that_cannot_be_reached_get_no_more_than_it_takes_to_see_that(story: Story) -> None:
    """Three of four are dead. Dead servers are never busy: most requests would go there, and use up all attempts."""
    dead = [dead_address() for _ in range(3)]
    shop = Shop(story, [*dead, *servers(story, "well")], health=Health(panic=0.5, breaker=None), retry=Retry())
    shop.hear_probes(*[("old", server) for server in dead])
    assert ask(shop, 60, "POST") == [200] * 60
    assert attempts(shop.worker)["old", "connect"] <= 6


def test_in_a_panic_the_next_attempt_is_made_at_a_server_that_is_well(story: Story) -> None:
    bad = servers(story, 503, 503, 503)
    shop = Shop(story, [*bad, *servers(story, "well")], retry=EVERYTHING,
                health=Health(panic=0.5, breaker=None, ejection=None))
    shop.hear_probes(*[("old", server) for server in bad])
    assert ask(shop, 20) == [200] * 20
    assert_adds_up(shop.worker)
    assert sum(len(server.heads) for server in bad) <= 20


def test_a_drained_server_gets_nothing_however_bad_the_others_are(story: Story) -> None:
    drained, bad = servers(story, "well", 503)
    shop = Shop(story, [drained, bad], drained=[("old", drained)])
    assert ask(shop, 10) == [503] * 10
    shop.change(drained=[("old", drained), ("old", bad)])
    assert ask(shop, 3) == [503] * 3
    assert len(bad.heads) == 10
    assert drained.heads == []
    shop.change(drained=[])
    assert 200 in ask(shop, 5)


def test_a_server_that_is_drained_while_something_is_held_against_it_costs_no_watching(story: Story) -> None:
    bad, good = servers(story, 503, "well")
    shop = Shop(story, [bad, good])
    ask(shop, 4)
    assert not shop.worker.worker.site.fleets["old"].calm
    shop.change(drained=[("old", bad)])
    assert shop.worker.worker.site.fleets["old"].calm


def test_a_server_that_is_well_again_makes_the_version_calm(story: Story) -> None:
    bad, good = servers(story, 503, "well")
    shop = Shop(story, [bad, good])
    put_out(shop)
    bad.mood = "well"
    shop.worker.leap(1.5)
    ask(shop, 4)
    assert shop.worker.worker.site.fleets["old"].calm


def test_a_server_that_comes_back_is_given_a_growing_part(story: Story) -> None:
    back, other = servers(story, "well", "well")
    shop = Shop(story, [back, other], health=Health(slow_start_s=10.0))
    shop.hear_probes(("old", back))
    ask(shop, 10)
    assert back.heads == []
    shop.hear_probes()
    shop.worker.leap(0.5)
    ask(shop, 40)
    assert 1 <= len(back.heads) <= 8
    shop.worker.leap(20.0)
    before = len(back.heads)
    ask(shop, 20)
    assert len(back.heads) - before == 10


def test_what_others_have_noticed_is_followed(story: Story) -> None:
    first, second = servers(story, "well", "well")
    shop = Shop(story, [first, second])
    shop.hear(Noticed("old", first.url, True, 3, times=1), for_s=5.0)
    ask(shop, 6)
    assert first.heads == []
    shop.hear(Noticed("old", first.url, False, 4))
    ask(shop, 6)
    assert len(first.heads) == 3
    assert shop.told() == []


def test_old_news_change_nothing(story: Story) -> None:
    first, second = servers(story, "well", "well")
    shop = Shop(story, [first, second])
    shop.hear(Noticed("old", first.url, False, 4))
    shop.hear(Noticed("old", first.url, True, 3, times=1), for_s=5.0)
    ask(shop, 6)
    assert len(first.heads) == 3


def test_news_of_what_is_not_here_change_nothing(story: Story) -> None:
    shop = Shop(story, servers(story, "well"))
    shop.hear(Noticed("old", "http://10.1.1.1:1", True, 1, times=1), for_s=5.0)
    shop.hear(Noticed("gone", "", True, 1, times=1), for_s=5.0)
    assert ask(shop, 3) == [200] * 3


def test_what_is_known_of_a_server_outlives_a_change(story: Story) -> None:
    bad, good = servers(story, 503, "well")
    shop = Shop(story, [bad, good])
    put_out(shop)
    shop.change(retry=Retry(attempts=2))
    ask(shop, 6)
    assert len(bad.heads) == 5


def test_a_server_that_is_never_to_be_put_out_is_not(story: Story) -> None:
    bad, good = servers(story, 503, "well")
    shop = Shop(story, [bad, good], health=Health(ejection=None, breaker=None))
    ask(shop, 20)
    assert len(bad.heads) == 10
    assert shop.told() == []


@pytest.mark.parametrize("mood", [500, "close", "dead"])
def test_a_breaker_hears_of_slow_traffic_as_of_fast(story: Story, mood: Mood) -> None:
    """More than half of twenty, however many sweeps lie between them."""
    health = Health(ejection=None, breaker=Breaker(window_s=100.0))
    new = [dead_address()] if mood == "dead" else servers(story, mood, name=b"new")
    shop = Shop(story, servers(story, "well"), new, health=health)
    for _ in range(19):
        assert shop.worker.ask(get()).status >= 500
        shop.worker.leap(0.3)
    assert shop.told() == []
    shop.worker.ask(get())                  # this one may go to the baseline already
    assert shop.told() == [("*", True, 1)]
    assert shop.worker.ask(get()).status == 200


def test_an_ejection_takes_as_many_failures_as_the_operator_says(story: Story) -> None:
    bad, good = servers(story, 503, "well")
    shop = Shop(story, [bad, good], health=Health(ejection=Ejection(failures=2)), retry=PLENTY)
    ask(shop, 12)
    assert len(bad.heads) == 2


def due_for_trial(story: Story, mood: Mood) -> tuple[Shop, Unsteady]:
    """One of two servers was out, and the next request tries it; it will answer that like this."""
    bad, good = servers(story, 503, "well")
    health = Health(breaker=None, ejection=Ejection(failures=2, first_s=1.0))
    shop = Shop(story, [bad, good], retry=NOTHING, health=health)
    put_out(shop)
    bad.mood = mood
    shop.worker.leap(1.5)
    return shop, bad


def test_a_server_that_is_drained_during_its_trial_is_tried_again_when_it_is_restored(story: Story) -> None:
    shop, bad = due_for_trial(story, "hold")
    seen = len(bad.heads)
    trying = story.client(shop.worker)
    trying.send(get("/trial"))
    bad.wait_heads(seen + 1)
    shop.change(drained=[("old", bad)])
    bad.go_on()
    assert trying.response().status == 200
    shop.change(drained=[])
    shop.worker.leap(70)
    ask(shop, 10)
    assert len(bad.heads) > seen + 1


def test_a_long_answer_that_has_begun_well_lets_a_server_in(story: Story) -> None:
    """A stream of events lasts for hours: its head has shown what a trial is to show."""
    shop, bad = due_for_trial(story, "begin")
    reading = story.client(shop.worker)
    reading.send(get("/stream"))
    assert reading.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert shop.told()[-1][1] is False
    bad.go_on()
    reading.sock.settimeout(15)
    assert reading.read_until(b"rest")


def test_a_server_that_could_be_reached_again_has_its_part_of_a_panic(story: Story) -> None:
    """Probes are wrong of three of four; one of these restarts and refuses connections meanwhile."""
    old = servers(story, *["well"] * 4)
    dead = dead_address()
    shop = Shop(story, [dead, *old], health=Health(panic=0.5, breaker=None))
    shop.hear_probes(*[("old", server) for server in (dead, *old[:3])])
    ask(shop, 20)
    tried = attempts(shop.worker)["old", "connect"]
    ask(shop, 20)
    assert attempts(shop.worker)["old", "connect"] == tried
    shop.worker.leap(UNREACHABLE_S + 1.0)
    ask(shop, 20)
    assert attempts(shop.worker)["old", "connect"] == tried + 1
    assert all(server.heads for server in old)
