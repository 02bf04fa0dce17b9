from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.core.health.breaker import BUCKETS, MOST_OPEN_S, VersionBreaker, Window
from proxy.core.health.ejection import TRIAL_S
from proxy.core.health.values import Breaker
from tests.support.exploring import examples

RULE = Breaker(share=0.5, requests=20, window_s=10.0, open_s=2.0, trials=3)


def opened(now: float = 0.0, rule: Breaker = RULE) -> VersionBreaker:
    breaker = VersionBreaker(rule)
    assert breaker.count(now, 1_000, 1_000)
    return breaker


def on_trial() -> VersionBreaker:
    breaker = opened()
    assert breaker.look(2.0)
    return breaker


def try_all(breaker: VersionBreaker, now: float, *, ok: bool) -> None:
    while breaker.take_trial():
        breaker.trial_ended(now, ok)


def test_more_failures_than_the_share_open_it() -> None:
    breaker = VersionBreaker(RULE)
    assert not breaker.count(0.0, 20, 10), "half of them is not more than half"
    assert breaker.count(0.1, 1, 1)
    assert (breaker.state, breaker.epoch, breaker.until, breaker.times) == ("open", 1, 2.1, 1)


def test_few_requests_say_nothing() -> None:
    breaker = VersionBreaker(RULE)
    assert not breaker.count(0.0, 19, 19)
    assert breaker.count(0.0, 1, 0)


def test_old_failures_are_forgotten() -> None:
    breaker = VersionBreaker(RULE)
    breaker.count(0.0, 19, 19)
    assert not breaker.count(10.0, 19, 10)


def test_good_answers_of_within_the_window_count_against_failures() -> None:
    breaker = VersionBreaker(RULE)
    breaker.count(0.0, 100, 0)
    assert not breaker.count(8.0, 100, 100)
    assert breaker.count(8.5, 1, 1)


def test_what_ends_while_it_is_not_closed_changes_nothing() -> None:
    breaker = opened()
    assert not breaker.count(1.0, 1_000, 1_000)
    breaker.look(2.0)
    assert not breaker.count(2.0, 1_000, 1_000)
    assert (breaker.state, breaker.epoch, breaker.until) == ("trial", 1, 2.0)


def test_it_closes_when_all_trials_succeeded_and_not_before() -> None:
    breaker = on_trial()
    assert [breaker.take_trial() for _ in range(4)] == [True, True, True, False]
    assert [breaker.trial_ended(2.1, True) for _ in range(3)] == [False, False, True]
    assert (breaker.state, breaker.epoch, breaker.until) == ("closed", 2, 0.0)


def test_trials_that_succeeded_are_not_made_again() -> None:
    breaker = on_trial()
    for _ in range(2):
        breaker.take_trial()
        breaker.trial_ended(2.1, True)
    assert [breaker.take_trial() for _ in range(2)] == [True, False]


def test_a_trial_that_told_nothing_is_made_again() -> None:
    breaker = on_trial()
    for _ in range(10):
        assert breaker.take_trial()
        assert not breaker.trial_ended(2.1, None)
    assert breaker.state == "trial"


def test_one_failed_trial_opens_it_again() -> None:
    breaker = on_trial()
    assert all([breaker.take_trial(), breaker.take_trial()])
    breaker.trial_ended(2.1, True)
    assert breaker.trial_ended(2.5, False)
    assert (breaker.state, breaker.epoch, breaker.until, breaker.times) == ("open", 2, 6.5, 2)


def test_trials_of_before_say_nothing_any_more() -> None:
    breaker = on_trial()
    assert all([breaker.take_trial(), breaker.take_trial()])
    breaker.trial_ended(2.0, False, begun=1)
    breaker.look(breaker.until)
    assert breaker.take_trial()
    assert not breaker.trial_ended(7.0, False, begun=1)
    assert breaker.state == "trial"


def test_a_trial_that_nobody_made_has_no_end() -> None:
    breaker = on_trial()
    assert not any(breaker.trial_ended(2.0, ok) for ok in (True, True, True, False, None))
    assert breaker.state == "trial"


def test_each_reopening_doubles_the_time_up_to_the_most() -> None:
    breaker = opened()
    lengths = []
    for _ in range(6):
        now = breaker.until
        breaker.look(now)
        try_all(breaker, now, ok=False)
        lengths.append(breaker.until - now)
    assert lengths == [4.0, 8.0, 16.0, MOST_OPEN_S, MOST_OPEN_S, MOST_OPEN_S]


def test_a_time_longer_than_the_most_stays_as_the_operator_wants_it() -> None:
    breaker = opened(rule=Breaker(open_s=90.0))
    assert breaker.until == 90.0
    breaker.look(90.0)
    try_all(breaker, 90.0, ok=False)
    assert breaker.until == 180.0


def test_closed_it_begins_with_an_empty_window() -> None:
    breaker = on_trial()
    try_all(breaker, 2.1, ok=True)
    assert not breaker.count(2.2, 19, 19)


def test_without_a_rule_it_is_not_opened_here_but_follows_the_others() -> None:
    breaker = VersionBreaker(None)
    assert not breaker.count(0.0, 1_000, 1_000)
    assert breaker.adopt(True, 4, 9.0, 1, now=0.0)
    assert breaker.look(9.0)
    assert breaker.take_trial()
    assert not breaker.trial_ended(9.0, False)
    assert breaker.take_trial()
    assert breaker.trial_ended(9.1, True)


def test_another_worker_opens_and_closes_it() -> None:
    breaker = VersionBreaker(RULE)
    assert breaker.adopt(True, 1, 5.0, 1, now=1.0)
    assert not breaker.take_trial()
    assert not breaker.adopt(False, 0, 0.0, 0, now=1.0)
    assert breaker.adopt(False, 2, 0.0, 1, now=6.0)
    assert breaker.state == "closed"


def test_news_of_the_same_opening_keep_what_the_trials_have_shown() -> None:
    breaker = on_trial()
    for _ in range(3):
        breaker.take_trial()
    breaker.trial_ended(2.0, True)
    assert not breaker.adopt(True, 1, 2.05, 1, now=2.1)
    breaker.trial_ended(2.2, True)
    assert breaker.trial_ended(2.2, True)


def test_trials_that_tell_nothing_for_long_leave_their_places_to_others() -> None:
    breaker = on_trial()
    while breaker.take_trial():
        continue
    breaker.look(3.0)
    breaker.look(3.0 + TRIAL_S)
    try_all(breaker, 9.0, ok=True)
    assert breaker.state == "closed"


@pytest.mark.parametrize("ok", [True, False])
def test_trials_that_end_late_still_decide(ok: bool) -> None:
    breaker = on_trial()
    taken = 0
    while breaker.take_trial():
        taken += 1
    breaker.look(3.0)
    breaker.look(3.0 + TRIAL_S)
    for _ in range(taken):
        breaker.trial_ended(9.0, ok, breaker.epoch)
    assert breaker.state == ("closed" if ok else "open")


class OneVersion(RuleBasedStateMachine):
    """Against a naive model that keeps each count with its time."""

    @initialize(
        share=st.sampled_from([0.0, 0.3, 0.5, 1.0]), requests=st.integers(1, 20), trials=st.integers(1, 3),
    )
    def begin(self, share: float, requests: int, trials: int) -> None:
        self.rule_ = Breaker(share, requests, 10.0, 2.0, trials)
        self.breaker = VersionBreaker(self.rule_)
        self.now = 0.0
        self.state = "closed"
        self.counts: list[tuple[float, int, int]] = []
        self.out = self.good = self.epoch = 0
        self.quiet_since = -1.0
        self.left = 0

    def turn(self, state: str) -> None:
        self.state = state
        self.epoch += 1
        self.counts, self.out, self.left, self.good, self.quiet_since = [], 0, 0, 0, -1.0

    @rule(passed_s=st.sampled_from([0.1, 0.5, 1.0, 2.0, 5.0, 40.0]))
    def time_passes(self, passed_s: float) -> None:
        self.now += passed_s
        due = self.state == "open" and self.now >= self.breaker.until
        assert self.breaker.look(self.now) == due
        if self.out and self.quiet_since < 0.0:
            self.quiet_since = self.now
        elif self.out and self.now >= self.quiet_since + TRIAL_S:
            self.left += self.out
            self.out, self.quiet_since = 0, -1.0
        if due:
            self.state = "trial"

    @rule(attempts=st.integers(0, 15), part=st.floats(0, 1))
    def attempts_end(self, attempts: int, part: float) -> None:
        failures = int(attempts * part)
        opens = False
        if self.state == "closed":
            self.counts.append((self.now, attempts, failures))
            tenth = int(self.now)
            window = [each for each in self.counts if int(each[0]) > tenth - BUCKETS]
            total, bad = sum(each[1] for each in window), sum(each[2] for each in window)
            opens = total >= self.rule_.requests and bad > self.rule_.share * total
            if opens:
                self.turn("open")
        assert self.breaker.count(self.now, attempts, failures) == opens

    @rule()
    def a_request_wants_to_try_it(self) -> None:
        may = self.state == "trial" and self.out + self.good < self.rule_.trials
        self.out += may
        assert self.breaker.take_trial() == may

    @precondition(lambda self: self.out or self.left)
    @rule(ok=st.sampled_from([True, True, True, False, None]))
    def a_trial_ends(self, ok: bool | None) -> None:
        if self.out:
            self.out -= 1
        else:
            self.left -= 1
        self.quiet_since = -1.0
        turns = False
        if ok is False:
            self.turn("open")
            turns = True
        elif ok:
            self.good += 1
            if self.good == self.rule_.trials:
                self.turn("closed")
                turns = True
        assert self.breaker.trial_ended(self.now, ok) == turns

    @invariant()
    def they_agree(self) -> None:
        assert (self.breaker.state, self.breaker.epoch) == (self.state, self.epoch)
        assert (self.breaker.until > 0.0) == (self.state != "closed")


OneVersion.TestCase.settings = examples(60, steps=40)
test_a_version_behaves_like_a_naive_model_of_it = OneVersion.TestCase


@examples(100)
@given(st.lists(st.tuples(st.floats(0, 8), st.integers(0, 100), st.integers(0, 100)), max_size=60))
def test_the_window_holds_all_of_nine_tenths_and_nothing_older_than_itself(
        counts: list[tuple[float, int, int]]) -> None:
    window, now, seen = Window(), 0.0, []
    for passed_s, attempts, failures in counts:
        now += passed_s
        seen.append((now, attempts, failures))
        total, bad = window.add(now, 10.0, attempts, failures)
        assert sum(n for at, n, _ in seen if at > now - 9) <= total <= sum(n for at, n, _ in seen if at > now - 10.001)
        assert sum(n for at, _, n in seen if at > now - 9) <= bad <= sum(n for at, _, n in seen if at > now - 10.001)


NEWS = [(True, 1, 3.0, 1), (True, 1, 3.2, 1), (False, 2, 0.0, 1), (True, 2, 7.0, 2), (False, 3, 0.0, 2)]


@given(st.permutations(NEWS))
def test_news_end_in_the_same_state_whatever_the_order(news: list[tuple[bool, int, float, int]]) -> None:
    breaker = VersionBreaker(RULE)
    for out, epoch, until, times in news:
        breaker.adopt(out, epoch, until, times, now=2.0)
    assert (breaker.state, breaker.epoch, breaker.until, breaker.times) == ("closed", 3, 0.0, 2)


def test_the_growth_is_forgotten_only_after_it_was_closed_for_twice_as_long() -> None:
    breaker = on_trial()
    try_all(breaker, 2.0, ok=True)
    breaker.look(5.9)
    assert breaker.times == 1
    breaker.look(6.0)
    assert breaker.times == 0
    assert breaker.count(6.0, 20, 20)
    assert breaker.until == pytest.approx(8.0)
