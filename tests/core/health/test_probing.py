"""One server as probes show it, in simulated time."""

from __future__ import annotations

import random
from dataclasses import replace
from heapq import heappop, heappush
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.health.pauses import LATE_S, TICK_S, Pauses
from proxy.core.health.probing import Probing, pause_s
from proxy.core.health.values import Probe

PLAIN = Probe(interval_s=1.0, timeout_s=0.5, rise=2, fall=3)


def probed(rule: Probe = PLAIN, answers: str = "", start: float = 0.0) -> Probing:
    """A server that was asked once in each interval, and how it answered: `+` well, `-` badly, `?` during a pause."""
    server = Probing(rule, start)
    for turn, answer in enumerate(answers, 1):
        server.asked(start + turn * rule.interval_s)
        server.answered(start + turn * rule.interval_s + 0.01, answer == "+", "bad", paused=answer == "?")
    return server


@pytest.mark.parametrize(("answers", "state"), [
    ("", "unknown"), ("--", "unknown"), ("---", "out"), ("+", "up"), ("+--", "up"), ("+--+--", "up"), ("+---", "out"),
    ("---+", "out"), ("---+-+", "out"), ("---++", "up"), ("---++--", "up"), ("---++---", "out"), ("+-?-", "up"),
    ("+-?--", "out"), ("+??????", "up"),
])
def test_so_many_in_a_row_put_it_out_and_so_many_bring_it_in(answers: str, state: str) -> None:
    assert probed(answers=answers).state == state


@given(st.text("+-?", max_size=40), st.integers(1, 5), st.integers(1, 5))
def test_it_is_out_exactly_as_its_last_rows_of_answers_say(answers: str, rise: int, fall: int) -> None:
    out, good, bad = False, 0, 0
    for answer in answers.replace("?", ""):
        good, bad = (good + 1, 0) if answer == "+" else (0, bad + 1)
        out = (good < rise) if out else (bad >= fall)
        good = good if out else 0
    assert probed(replace(PLAIN, rise=rise, fall=fall), answers).is_out == out


@given(st.floats(0.001, 3600), st.floats(0, 1, exclude_max=True))
def test_a_probe_is_up_to_a_tenth_early_and_never_late(interval_s: float, chance: float) -> None:
    assert 0.9 * interval_s <= pause_s(interval_s, chance) <= interval_s


def test_a_turn_is_told_once() -> None:
    server = Probing(PLAIN, 0.0)
    assert [server.answered(at, False, "refused") for at in range(4)] == [False, False, True, False]
    assert [server.answered(at, True) for at in range(4, 7)] == [False, True, False]


def test_it_says_why_it_is_out() -> None:
    assert probed(answers="+---").why == "bad; 3 bad answers in a row"


def test_silence_makes_it_suspect_and_an_answer_ends_that() -> None:
    server = probed(answers="+" * 20)
    states = []
    for at in (20.5, 21.2, 22.5):
        server.looked(at)
        states.append(server.state)
    server.answered(22.6, True)
    assert [*states, server.state] == ["up", "up", "suspect", "up"]


def test_a_suspect_is_not_out() -> None:
    server = probed(answers="+" * 20)
    assert not server.looked(23.0)
    assert (server.state, server.is_out) == ("suspect", False)


def test_silence_puts_it_out_where_that_is_configured() -> None:
    server = probed(replace(PLAIN, phi_out=8.0), "+" * 20)
    assert [server.looked(at) for at in (21.2, 23.0, 24.0)] == [False, True, False]
    assert server.why.startswith("silent for 2.99 s, φ ")


def test_nobody_is_suspect_without_a_threshold() -> None:
    server = probed(replace(PLAIN, phi_warn=None), "+" * 20)
    server.looked(1e6)
    assert server.state == "up"


def test_phi_grows_with_silence_and_falls_with_an_answer() -> None:
    server = probed(answers="+" * 20)
    before = [server.phi(at) for at in (20.1, 21.0, 22.0, 23.0)]
    server.answered(23.1, True)
    assert before == sorted(before)
    assert server.phi(23.2) < before[2]


def test_an_interval_with_a_lost_answer_in_it_is_not_learnt_from() -> None:
    one, other = probed(answers="+" * 20), probed(answers="+" * 20 + "--+-+")
    assert one.phi(20.01 + 2) == pytest.approx(other.phi(25.01 + 2))


def test_a_pause_of_ours_moves_the_silence_on() -> None:
    server = probed(answers="+" * 20)
    before = server.phi(20.2)
    server.paused(620.2, 600.0)
    assert server.phi(620.2) == pytest.approx(before)
    assert not server.looked(620.2)


def test_what_is_heard_after_a_pause_is_not_moved_into_the_future() -> None:
    server = probed(answers="+" * 20)
    server.answered(80.0, True, paused=True)
    server.paused(80.0, 59.0)
    assert server.phi(82.5) == pytest.approx(probed(answers="+" * 20).phi(22.51))


def test_an_interval_with_a_pause_in_it_is_not_learnt_from() -> None:
    server, other = probed(answers="+" * 20), probed(answers="+" * 20)
    server.paused(24.4, 3.0)
    server.answered(24.5, True)
    other.answered(24.5, True, paused=True)
    for it in (server, other):
        assert it.phi(24.5 + 2) == pytest.approx(probed(answers="+" * 20).phi(20.01 + 2))


def test_probes_whose_ends_do_not_count_put_it_out_in_the_end() -> None:
    server = Probing(PLAIN, 0.0)
    for at in (1.0, 2.0, 3.0):
        server.asked(at)
        server.answered(at + 0.5, False, "late", paused=True)
    assert [server.looked(at) for at in (3.4, 3.51, 4.0)] == [False, True, False]


def test_probes_that_we_are_late_with_put_nobody_out() -> None:
    server = probed(answers="+")
    for at in (2.0, 100.0):
        server.asked(at)
    assert not server.looked(100.4)
    server.asked(200.0)
    assert not server.looked(200.4)


def test_probes_that_could_not_be_made_put_nobody_out() -> None:
    server = probed(answers="+")
    for at in range(2, 100):
        server.asked(at)
        server.unasked()
        assert not server.looked(at + 0.9)


def test_a_tick_that_comes_late_is_a_pause_as_long_as_it_is_late() -> None:
    pauses = Pauses(0.0)
    assert [pauses.tick(0.1), pauses.tick(0.2 + LATE_S / 2)] == [0.0, 0.0]
    assert pauses.tick(2.35) == pytest.approx(2.0)


def test_a_pause_touches_what_began_before_its_end_and_what_ends_before_its_tick() -> None:
    pauses = Pauses(0.0)
    assert not pauses.touched(0.0, TICK_S)
    assert pauses.touched(0.0, 2.0)
    pauses.tick(2.0)
    assert [pauses.touched(since, 2.1) for since in (1.0, 2.05)] == [True, False]


class Loop:
    """A loop in simulated time, which runs what is due in the order of its time, except while it is stalled."""

    def __init__(self, stall_every_s: float = 10.0, stall_s: float = 2.0) -> None:
        self.stall_every_s, self.stall_s = stall_every_s, stall_s

    def runs_at(self, due: float) -> float:
        """When something runs that is due then: at once, or when the stall is over that began before."""
        began = floor(due / self.stall_every_s) * self.stall_every_s
        return began + self.stall_s if began > 0 and due < began + self.stall_s else due


class Simulation:
    """Servers that are probed as `controlplane.health.prober` does it, in simulated time.

    `pauses[i]`: when server i stands still, as (from, to). What is asked in a pause is answered after it. `guarded`:
    whether our own pauses are noticed.
    """

    def __init__(self, rule: Probe, pauses: list[list[tuple[float, float]]], loop: Loop, seed: int, *,
                 guarded: bool = True) -> None:
        self.rule, self.pauses_of, self.loop, self.guarded = rule, pauses, loop, guarded
        self.random = random.Random(seed)
        self.servers = [Probing(rule, 0.0) for _ in pauses]
        self.out: list[tuple[float, int]] = []
        self.suspected = self.bad = 0

    def run(self, until_s: float) -> Simulation:
        guard = Pauses(0.0)
        due: list[tuple[float, int, str, int, float]] = []
        for index in range(len(self.servers)):
            heappush(due, (self.random.random() * self.rule.interval_s, 1, "ask", index, 0.0))
        heappush(due, (TICK_S, 0, "tick", -1, 0.0))
        now = 0.0
        while (entry := heappop(due))[0] < until_s:
            now = max(now, self.loop.runs_at(entry[0]))
            _, _, what, index, began = entry
            if what == "tick":
                self._tick(guard, now)
                heappush(due, (now + TICK_S, 0, "tick", -1, 0.0))
            elif what == "ask":
                self.servers[index].asked(now)
                took_s = min(self._answer_s(index, now), self.rule.timeout_s)
                heappush(due, (now + took_s, 1, "end", index, now))
            else:
                self._end(guard, index, began, now)
                asked_next = began + pause_s(self.rule.interval_s, self.random.random())
                heappush(due, (max(now, asked_next), 1, "ask", index, 0.0))
        return self

    def _tick(self, guard: Pauses, now: float) -> None:
        paused_s = guard.tick(now) if self.guarded else 0.0
        for index, server in enumerate(self.servers):
            if paused_s:
                server.paused(now, paused_s)
            self.out += [(now, index)] if server.looked(now) else []
            self.suspected += server.state == "suspect"

    def _end(self, guard: Pauses, index: int, began: float, now: float) -> None:
        # The time-out is a timer like any other: after a stall it is over, whatever has arrived meanwhile.
        ok = self._answer_s(index, began) < self.rule.timeout_s and now - began < self.rule.timeout_s
        self.bad += not ok
        paused = self.guarded and guard.touched(began, now)
        if self.servers[index].answered(now, ok, "late", paused=paused) and not ok:
            self.out.append((now, index))

    def _answer_s(self, index: int, asked: float) -> float:
        usual_s = 0.002 + 0.01 * self.random.random()
        for begin, end in self.pauses_of[index]:
            if begin <= asked < end:
                return end - asked + usual_s
        return usual_s


def collections_of(rng: random.Random, until_s: float, longest_s: float, every_s: float) -> list[tuple[float, float]]:
    """Pauses of a backend that collects its garbage, up to so long."""
    at, pauses = 0.0, []
    while (at := at + rng.uniform(0.5, 1.5) * every_s) < until_s:
        pauses.append((at, at := at + rng.uniform(0.1, 1.0) * longest_s))
    return pauses


HALF_AN_HOUR_S = 1800.0


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("phi_out", [None, 8.0])
def test_nobody_is_out_in_half_an_hour_with_a_stalled_loop_and_backends_that_collect_garbage(
        seed: int, phi_out: float | None) -> None:
    rng = random.Random(seed)
    pauses = [collections_of(rng, HALF_AN_HOUR_S, 0.4, every_s=1.0) for _ in range(10)]
    it = Simulation(replace(PLAIN, phi_out=phi_out), pauses, Loop(), seed).run(HALF_AN_HOUR_S)
    assert it.bad, "the stalls cost no probe: nothing was tried"
    assert it.out == []


def test_without_the_guard_the_same_stalls_put_servers_out() -> None:
    it = Simulation(replace(PLAIN, phi_out=8.0), [[]] * 10, Loop(), 1, guarded=False).run(HALF_AN_HOUR_S)
    assert len(it.out) > 100


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pauses_that_cost_single_probes_put_nobody_out(seed: int) -> None:
    rng = random.Random(seed)
    pauses = [collections_of(rng, HALF_AN_HOUR_S, 1.2, every_s=8.0) for _ in range(10)]
    it = Simulation(PLAIN, pauses, Loop(), seed).run(HALF_AN_HOUR_S)
    assert it.bad > 300
    assert it.out == []


def test_a_loop_that_is_stalled_suspects_nobody_who_answers() -> None:
    it = Simulation(PLAIN, [[]] * 20, Loop(), seed=4).run(HALF_AN_HOUR_S)
    assert (it.out, it.suspected) == ([], 0)


@pytest.mark.parametrize("seed", range(10))
def test_a_server_that_dies_is_out_in_time(seed: int) -> None:
    dies_at = 60.0 + random.Random(seed).random()
    it = Simulation(PLAIN, [[], [(dies_at, 1e9)]], Loop(stall_every_s=1e9), seed).run(120.0)
    assert [index for _, index in it.out] == [1]
    assert it.out[0][0] - dies_at <= PLAIN.fall * PLAIN.interval_s + PLAIN.timeout_s


def test_a_server_that_dies_is_out_in_spite_of_a_loop_that_stalls() -> None:
    it = Simulation(PLAIN, [[], [(65.0, 1e9)]], Loop(), seed=5).run(120.0)
    assert [index for _, index in it.out] == [1]
    assert it.out[0][0] - 65.0 <= PLAIN.fall * PLAIN.interval_s + PLAIN.timeout_s + 2.0
