from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import bars, failing, mischief
from benchmarks.fickle import Got, got_twice, parse_noted
from benchmarks.loads import fickle_service, steady
from benchmarks.mischief import GRACE_S, KINDS, OLD, Fault
from benchmarks.rounds import Spread
from benchmarks.scenarios import blackhole, candidate_death, chaos, kill_server, overload, resilient_cpu
from benchmarks.scenarios.chaos import Chaos

SECOND = 1_000_000_000
SEEDS = st.integers(0, 10**6)


def account(ends: Sequence[int], *losses: steady.Loss, took: int = SECOND // 1000) -> steady.Account:
    dues = array("q", [end - took for end in ends])
    return steady.Account(len(ends) + len(losses), 1, losses, {}, dues, dues, array("q", ends),
                          array("b", [0] * len(ends)))


def loss(at: int, why: str = "answered 502", method: str = "GET") -> steady.Loss:
    return steady.Loss(at, at, 7, 0, 1, why, 1, method)


@given(SEEDS)
def test_the_same_seed_makes_the_same_mischief(seed: int) -> None:
    assert mischief.schedule(seed, 60) == mischief.schedule(seed, 60)


@given(SEEDS)
def test_the_baselines_servers_fail_one_at_a_time_and_with_rest_between(seed: int) -> None:
    faults = [fault for fault in mischief.schedule(seed, 60) if fault.version == "old"]
    assert all(first.until_s + GRACE_S < second.at_s for first, second in pairwise(faults))
    assert {fault.server for fault in faults} <= set(range(OLD))


@given(SEEDS)
def test_no_server_has_two_faults_at_once(seed: int) -> None:
    faults = mischief.schedule(seed, 60)
    for place in {(fault.version, fault.server) for fault in faults}:
        mine = [fault for fault in faults if (fault.version, fault.server) == place]
        assert all(first.until_s < second.at_s for first, second in pairwise(mine))


@given(SEEDS, st.sampled_from([15.0, 60.0]))
def test_all_is_well_before_the_end(seed: int, seconds: float) -> None:
    assert all(fault.until_s < seconds - GRACE_S for fault in mischief.schedule(seed, seconds))


@given(SEEDS)
def test_whatever_is_begun_is_ended_last(seed: int) -> None:
    acts = mischief.acts(mischief.schedule(seed, 60))
    assert [act.at_s for act in acts] == sorted(act.at_s for act in acts)
    last = {act.fault: act.does for act in acts}
    assert set(last.values()) <= {"end"}


def test_every_kind_of_fault_is_one_that_servers_know() -> None:
    assert {words.split()[0] for words in KINDS.values()} <= {"kill", "stop", *fickle_service.BEHAVIOURS}


def fault(kind: str, version: str = "old") -> Fault:
    return Fault(1.0, 2.0, version, 0, kind)


@pytest.mark.parametrize(("method", "why", "kinds", "is_due"), [
    ("GET", "answered 502", [], False), ("POST", "answered 502", [], False),
    ("GET", "answered 502", ["reset"], False), ("POST", "answered 502", ["reset"], True),
    ("GET", "answered 502 (It cannot be used)", ["garbage"], True), ("GET", "answered 504", ["silent"], False),
    ("POST", "answered 504", ["silent"], True), ("GET", "answered 500", ["status 500"], True),
    ("GET", "answered 500", ["kill"], False), ("GET", "closed within an answer", ["kill"], True),
    ("GET", "closed within an answer", ["status 503"], False), ("GET", steady.FOREIGN, ["stop"], False),
    ("GET", "closed before an answer", ["kill"], False), ("POST", "closed before an answer", ["kill"], False)])
def test_a_loss_is_due_or_not(method: str, why: str, kinds: list[str], is_due: bool) -> None:
    assert mischief.is_due(method, why, [fault(kind) for kind in kinds]) == is_due


@pytest.mark.parametrize(("method", "why", "kind", "is_due"), [
    ("GET", "answered 500", "status 500", False), ("POST", "answered 500", "status 500", True),
    ("GET", "answered 502", "garbage", False), ("POST", "answered 502", "garbage", True)])
def test_from_what_a_candidate_answers_idempotent_requests_are_rescued(method: str, why: str, kind: str,
                                                                       is_due: bool) -> None:
    assert mischief.is_due(method, why, [fault(kind, "new")]) == is_due


def test_a_fault_has_to_do_with_what_was_lost_while_it_lasted_or_soon_after() -> None:
    one = fault("kill")
    assert mischief.on([one], 0.5, 1.1) == [one]
    assert mischief.on([one], 2.0 + GRACE_S / 2, 5.0) == [one]
    assert mischief.on([one], 0.5, 0.9) == mischief.on([one], 2.1 + GRACE_S, 9.0) == []


def test_what_is_lost_in_chaos_without_need_is_named_with_the_faults_and_the_seed() -> None:
    told = account([SECOND * 3], loss(SECOND), loss(SECOND, method="POST"))
    counts = {'rescues_total{route="failing",version="candidate"}': 3.0}
    run = chaos.judge("chaos", Chaos(42, 0, [fault("reset")], told, 1, ["9"], 0, counts))
    assert (run.figures["lost_unduly"], run.figures["lost_duly"], run.figures["posts_twice"]) == (1, 1, 1)
    assert (run.figures["rescues"], run.figures["ejections"]) == (3, 0)
    assert run.flags == ("1 times from 1.0 s on GET answered 502: old[0] reset", "POST seen twice: 9", "seed 42")


def test_a_line_that_a_servers_death_has_cut_off_is_left_out() -> None:
    assert parse_noted("GET 1 5 7\nPOST 2 6 8\nPO") == [Got("GET", "1", 5, 7), Got("POST", "2", 6, 8)]


def test_a_post_that_two_servers_got_was_sent_twice() -> None:
    got = [Got(method, number, 0, 0) for method, number in (("POST", "1"), ("GET", "2"), ("GET", "2"), ("POST", "1"))]
    assert got_twice(got) == ["1"]


def test_a_request_is_taken_when_it_is_whole() -> None:
    text = b"POST / HTTP/1.1\r\nX-Asked: 7\r\nX-Sent: 9\r\nContent-Length: 2\r\n\r\nhi"
    assert all(fickle_service.take(text[:size]) is None for size in range(len(text)))
    assert fickle_service.take(text + b"GET") == fickle_service.Request(b"POST", b"7", b"9", len(text))


def test_named_requests_say_their_number_and_posts_carry_a_body() -> None:
    head = steady._heads("/failing", named=True)[0]
    assert (head % (5, 9)).endswith(b"\r\nX-Sent: 5\r\nX-Asked: 9\r\n\r\n")
    post = steady._as_post(head) % (5, 9)
    taken = fickle_service.take(post)
    assert taken is not None
    assert (taken.method, taken.id, taken.sent, taken.size) == (b"POST", b"9", b"5", len(post))


def test_errors_of_a_kill_and_of_the_return_are_told_apart() -> None:
    killed = kill_server.Killed(since=0, started=5 * SECOND, back=6 * SECOND, until=9 * SECOND)
    run = kill_server.judge("kill-server", 0, killed, account([SECOND], loss(SECOND), loss(7 * SECOND)))
    assert (run.figures["errors"], run.figures["errors_at_return"], run.figures["back_s"]) == (2, 1, 1)


def test_what_the_baseline_gets_is_divided_by_what_clients_sent_while_the_candidate_is_dead() -> None:
    death = candidate_death.Death("killed", 0, since=SECOND, down=2 * SECOND, healed=3 * SECOND, rescued=1)
    ends = [SECOND * 3 // 2, SECOND * 5 // 2]
    run = candidate_death.judge("candidate-death", death, account(ends, loss(SECOND * 3 // 2)),
                                [0, *ends, SECOND * 14 // 10, 4 * SECOND])
    assert (run.figures["errors_before"], run.figures["errors_after"]) == (1, 0)
    assert run.figures["baseline_ratio"] == 1


@pytest.mark.parametrize(("case", "last_ms"), [("silent", 400), ("stopped", 300)])
def test_a_stopped_server_cannot_say_when_requests_came_but_the_requests_can(case: str, last_ms: float) -> None:
    got = (Got("GET", "1", 300_000_000, 400_000_000), Got("GET", "2", 11 * SECOND, 11 * SECOND))
    run = blackhole.judge("blackhole", blackhole.Silence(case, 0, 0, 10 * SECOND, got), account([SECOND]))
    assert (run.figures["last_ms"], run.figures["sent_in_vain"]) == (last_ms, 1)


def test_goodput_is_what_was_answered_well_by_the_peaks() -> None:
    quick, slow = account([SECOND // 2] * 100), account([SECOND // 2] * 50, loss(1, "answered 503"), took=SECOND // 10)
    spans = [overload.Span("unloaded", 0, SECOND, quick), overload.Span("peak", 0, SECOND, quick),
             overload.Span("over", 0, SECOND, slow)]
    run = overload.judge("overload", "bound", spans)
    assert (run.figures["goodput_ratio"], run.figures["refused"]) == (0.5, 1)
    assert run.figures["p99_ratio"] == pytest.approx(100 / (5 * 1 + 200))
    assert run.flags == ()


def test_the_cpu_of_a_span_is_divided_by_what_was_answered_in_it() -> None:
    told = account([SECOND // 3, SECOND // 2, 2 * SECOND])
    run = resilient_cpu.judge("resilient-cpu", resilient_cpu.Span("with", 3, 0, SECOND, 0.5), told)
    assert (run.figures["cpu_us"], run.round) == (250_000, 3)


@pytest.mark.parametrize(("value", "verdict"), [(0.96, "aim"), (0.9, "yes"), (0.8, "no")])
def test_a_bar_of_which_more_is_better_is_reached_from_above(value: float, verdict: str) -> None:
    bar = next(bar for bar in bars.BARS if bar.more_is_better)
    assert bars.Judgement(bar, Spread(value, value, value)).verdict == verdict


def test_groups_and_their_route_are_lines_of_a_file() -> None:
    class Server:
        address = "http://127.0.0.1:9001"

    groups = [failing.Group("stable", 1), failing.Group("candidate", 1, "new", "eject: off")]
    text = failing.versions(groups, {"stable": [Server()], "candidate": [Server()]})  # type: ignore[list-item]
    assert yaml.safe_load(text)["candidate"] == {"servers": ["http://127.0.0.1:9001"], "eject": False}
    found = yaml.safe_load(failing.route("stable: 75, candidate: 25", f"rescue: true\n{failing.RETRY}"))
    assert found[0]["split"] == {"stable": 75, "candidate": 25}
    assert found[0]["rescue"] is True
