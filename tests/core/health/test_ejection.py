from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from proxy.core.health.ejection import TRIAL_S, Ejector
from proxy.core.health.growth import PATIENCE, away_s
from proxy.core.health.values import Ejection
from tests.support.exploring import examples

RULE = Ejection(failures=3, first_s=1.0, most_s=60.0)


def ejected(now: float = 0.0, rule: Ejection = RULE) -> Ejector:
    ejector = Ejector(rule)
    while not ejector.failed(now):
        pass
    return ejector


def on_trial(rule: Ejection = RULE) -> Ejector:
    ejector = ejected(rule=rule)
    assert ejector.look(ejector.until)
    assert ejector.take_trial()
    return ejector


def fail_the_trial(ejector: Ejector) -> float:
    """Returns how long it is out for."""
    now = ejector.until
    ejector.look(now)
    assert ejector.take_trial()
    assert ejector.failed(now)
    return ejector.until - now


def pass_the_trial(ejector: Ejector) -> float:
    """Returns when."""
    now = ejector.until
    ejector.look(now)
    assert ejector.take_trial()
    assert ejector.succeeded(now)
    return now


def test_only_so_many_failures_in_a_row_put_a_server_out() -> None:
    ejector = Ejector(RULE)
    assert [ejector.failed(0.0) for _ in range(3)] == [False, False, True]
    assert (ejector.state, ejector.epoch, ejector.until, ejector.times) == ("out", 1, 1.0, 1)


def test_a_success_ends_the_row() -> None:
    ejector = Ejector(RULE)
    for _ in range(10):
        ejector.failed(0.0)
        ejector.failed(0.0)
        assert not ejector.succeeded(0.0)
    assert ejector.state == "in"


def test_what_ends_while_it_is_out_changes_nothing() -> None:
    ejector = ejected()
    assert not any(ejector.failed(0.5) for _ in range(50))
    assert not ejector.succeeded(0.5)
    assert (ejector.state, ejector.epoch, ejector.until, ejector.times) == ("out", 1, 1.0, 1)


def test_what_ends_while_nobody_tries_it_changes_nothing() -> None:
    ejector = ejected()
    ejector.look(1.0)
    assert not ejector.failed(1.0)
    assert not ejector.succeeded(1.0)
    assert ejector.state == "trial"


def test_what_was_begun_before_it_was_put_out_does_not_decide_its_trial() -> None:
    ejector = on_trial()
    assert not ejector.failed(1.0, begun=0)
    assert not ejector.succeeded(1.0, begun=0)
    assert ejector.state == "trial"
    assert ejector.succeeded(1.0, begun=1)


def test_what_was_begun_before_it_came_back_does_not_put_it_out_again() -> None:
    ejector = on_trial()
    ejector.succeeded(1.0)
    assert not any(ejector.failed(2.0, begun=0) for _ in range(50))
    assert ejector.failures == 0


def test_it_may_be_tried_when_its_time_is_over_and_not_before() -> None:
    ejector = ejected()
    assert not ejector.look(0.999)
    assert not ejector.take_trial()
    assert ejector.look(1.0)
    assert not ejector.look(1.1), "it is on trial already"


def test_whoever_knows_that_it_is_well_again_makes_its_time_shorter() -> None:
    ejector = Ejector(Ejection(failures=1, first_s=60.0))
    assert ejector.failed(10.0)
    ejector.hasten(12.0)
    assert ejector.look(12.0)
    assert ejector.take_trial()


def test_one_request_alone_tries_it() -> None:
    ejector = on_trial()
    assert not ejector.take_trial()
    ejector.give_up_trial()
    assert ejector.take_trial()


def test_a_trial_of_before_does_not_free_the_present_one() -> None:
    ejector = on_trial()
    ejector.failed(1.0)
    ejector.look(ejector.until)
    assert ejector.take_trial()
    ejector.give_up_trial(begun=1)
    assert not ejector.take_trial()


def test_a_good_trial_brings_it_in() -> None:
    ejector = on_trial()
    assert ejector.succeeded(1.2)
    assert (ejector.state, ejector.epoch, ejector.until, ejector.failures) == ("in", 2, 0.0, 0)


def test_each_failed_trial_doubles_the_time_up_to_the_most() -> None:
    ejector = ejected()
    assert [fail_the_trial(ejector) for _ in range(7)] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert ejector.times == 8


def test_however_often_it_was_put_out_the_time_is_a_number() -> None:
    assert away_s(1.0, 60.0, 1_000_000) == 60.0
    assert away_s(90.0, 60.0, 1) == 60.0


def test_a_server_that_flaps_does_not_start_from_the_shortest_time_again() -> None:
    ejector = ejected()
    lengths = []
    for _ in range(5):
        now = pass_the_trial(ejector)
        while not ejector.failed(now + 0.1):
            pass
        lengths.append(ejector.until - (now + 0.1))
    assert lengths == pytest.approx([2.0, 4.0, 8.0, 16.0, 32.0])


def test_the_growth_is_forgotten_one_step_at_a_time() -> None:
    ejector = ejected()
    fail_the_trial(ejector)
    fail_the_trial(ejector)
    now = pass_the_trial(ejector)               # it was out for 4 s, the third time
    for passed_s, times in ((PATIENCE * 4 - 0.1, 3), (PATIENCE * 4, 2), (PATIENCE * 6, 1), (PATIENCE * 7, 0)):
        ejector.look(now + passed_s)
        assert ejector.times == times


def test_hundreds_of_ejections_are_forgotten_as_soon_as_those_that_made_it_longer() -> None:
    ejector = ejected()
    for _ in range(300):
        fail_the_trial(ejector)
    now = pass_the_trial(ejector)
    ejector.look(now + PATIENCE * (60 + 32 + 16 + 8 + 4 + 2 + 1))
    assert ejector.times == 0


@pytest.mark.parametrize(("good_s", "away"), [(1.9, 60.0), (2.1, 1.0), (600.0, 1.0)])
def test_what_fails_again_within_twice_its_time_out_is_out_for_longer_and_longer(good_s: float, away: float) -> None:
    ejector = ejected()
    for _ in range(10):
        now = pass_the_trial(ejector) + good_s
        while not ejector.failed(now):
            pass
    assert ejector.until - now == pytest.approx(away)


def test_without_a_rule_no_failure_puts_it_out() -> None:
    ejector = Ejector(None)
    assert not any(ejector.failed(0.0) for _ in range(1_000))
    assert ejector.state == "in"


def test_without_a_rule_it_follows_the_others_and_a_failed_trial_leaves_room_for_another() -> None:
    ejector = Ejector(None)
    assert ejector.adopt(True, 1, 5.0, 1, now=0.0)
    assert ejector.look(5.0)
    assert ejector.take_trial()
    assert not ejector.failed(5.0)
    assert ejector.take_trial()
    assert ejector.succeeded(6.0)


def test_newer_news_hold_and_older_ones_do_not() -> None:
    ejector = ejected()
    assert ejector.adopt(False, 2, 0.0, 1, now=0.1)
    assert not ejector.adopt(True, 1, 9.0, 1, now=0.1)
    assert ejector.state == "in"


def test_of_equally_new_news_what_is_out_holds() -> None:
    ejector = on_trial()
    ejector.succeeded(1.0)
    assert ejector.adopt(True, 2, 3.0, 2, now=1.0)
    assert not ejector.adopt(False, 2, 0.0, 2, now=1.0)
    assert (ejector.state, ejector.until) == ("out", 3.0)


def test_old_news_of_a_server_that_is_out_put_it_on_trial_at_once() -> None:
    ejector = Ejector(RULE)
    assert ejector.adopt(True, 7, 5.0, 3, now=20.0)
    assert ejector.take_trial()


def test_news_that_change_only_the_time_are_no_change_of_state() -> None:
    ejector = ejected()
    assert not ejector.adopt(True, 1, 1.5, 1, now=0.1)
    assert ejector.until == 1.5


def test_equal_news_do_not_take_a_running_trial_away() -> None:
    ejector = on_trial()
    assert not ejector.adopt(True, 1, 1.0, 2, now=1.1)
    assert not ejector.take_trial()
    assert ejector.succeeded(1.2)


def test_a_trial_that_tells_nothing_for_long_leaves_the_next_one_to_another() -> None:
    ejector = on_trial()
    ejector.look(2.0)
    ejector.look(2.0 + TRIAL_S - 0.1)
    assert not ejector.take_trial()
    ejector.look(2.0 + TRIAL_S)
    assert ejector.take_trial()
    assert ejector.succeeded(8.0)


@pytest.mark.parametrize("ok", [True, False])
def test_a_trial_that_ends_late_still_decides(ok: bool) -> None:
    """A server may need six seconds for every answer, or hang for a minute: both are found out."""
    ejector = on_trial()
    begun = ejector.epoch
    ejector.look(2.0)
    ejector.look(2.0 + TRIAL_S)
    if ok:
        assert ejector.succeeded(9.0, begun)
    else:
        assert ejector.failed(60.0, begun)
    assert ejector.state == ("in" if ok else "out")


def test_what_was_begun_before_a_server_was_put_out_is_no_late_trial() -> None:
    ejector = on_trial()
    ejector.look(2.0)
    ejector.look(2.0 + TRIAL_S)
    assert not ejector.succeeded(9.0, ejector.epoch - 1)
    assert not ejector.succeeded(9.0)


class OneServer(RuleBasedStateMachine):
    """Against a naive model: the history of turns, from which everything else follows."""

    @initialize(failures=st.integers(1, 4), first_s=st.sampled_from([0.5, 1.0]), most_s=st.sampled_from([1.0, 8.0]))
    def begin(self, failures: int, first_s: float, most_s: float) -> None:
        self.rule_ = Ejection(failures, first_s, most_s)
        self.ejector = Ejector(self.rule_)
        self.now = 0.0
        self.row = 0
        self.state = "in"
        self.until = 0.0
        self.times = 0
        self.epoch = 0
        self.good_since = 0.0
        self.tried, self.seen_tried = False, -1.0

    def put_out(self) -> None:
        self.forget()
        self.times += 1
        self.state, self.tried, self.row = "out", False, 0
        self.epoch += 1
        self.until = self.now + min(self.rule_.most_s, self.rule_.first_s * 2 ** (self.times - 1))

    def forget(self) -> None:
        while self.state == "in" and self.times:
            lengths = [min(self.rule_.most_s, self.rule_.first_s * 2 ** n) for n in range(self.times)]
            needed = PATIENCE * lengths[-1]
            if self.now < self.good_since + needed:
                return
            self.good_since += needed
            self.times = lengths.index(lengths[-1])     # all that were no longer than this

    @rule(passed_s=st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0, 20.0, 500.0]))
    def time_passes(self, passed_s: float) -> None:
        self.now += passed_s
        self.forget()
        due = self.state == "out" and self.now >= self.until
        assert self.ejector.look(self.now) == due
        if self.tried and self.seen_tried < 0.0:
            self.seen_tried = self.now
        elif self.tried and self.now >= self.seen_tried + TRIAL_S:
            self.tried = False
        if due:
            self.state = "trial"

    @rule(times=st.integers(1, 4))
    def attempts_fail(self, times: int) -> None:
        for _ in range(times):
            out = False
            if self.state == "in":
                self.row += 1
                out = self.row >= self.rule_.failures
            elif self.state == "trial":
                out = self.tried
            if out:
                self.put_out()
            assert self.ejector.failed(self.now) == out

    @rule()
    def an_attempt_succeeds(self) -> None:
        comes_in = self.state == "trial" and self.tried
        if self.state == "in":
            self.row = 0
        if comes_in:
            self.state, self.until, self.good_since, self.tried = "in", 0.0, self.now, False
            self.epoch += 1
        assert self.ejector.succeeded(self.now) == comes_in

    @rule()
    def a_request_wants_to_try_it(self) -> None:
        may = self.state == "trial" and not self.tried
        if may:
            self.tried, self.seen_tried = True, -1.0
        assert self.ejector.take_trial() == may

    @rule()
    def the_client_of_the_trial_leaves(self) -> None:
        self.tried = False
        self.ejector.give_up_trial()

    @invariant()
    def they_agree(self) -> None:
        ejector = self.ejector
        assert (ejector.state, ejector.epoch, ejector.failures) == (self.state, self.epoch, self.row)
        assert ejector.until == pytest.approx(self.until)
        assert ejector.times == self.times


OneServer.TestCase.settings = examples(60, steps=40)
test_a_server_behaves_like_a_naive_model_of_it = OneServer.TestCase


Step = tuple[int, str, float]
STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["failed", "failed", "succeeded", "tried", "hear"]), st.floats(0, 3)),
    max_size=60,
)


@examples(100)
@given(STEPS, st.randoms(use_true_random=False))
def test_workers_that_have_heard_all_news_agree_whatever_the_order(steps: list[Step], chance: Random) -> None:
    workers = [Ejector(Ejection(failures=2)) for _ in range(4)]
    unheard: list[list[tuple[bool, int, float, int]]] = [[] for _ in workers]
    now = 0.0

    def hear(index: int) -> None:
        news = unheard[index].pop(chance.randrange(len(unheard[index])))
        workers[index].adopt(*news, now)

    for index, what, passed_s in steps:
        now += passed_s
        worker = workers[index]
        worker.look(now)
        if what == "tried":
            worker.take_trial()
        elif what == "hear" and unheard[index]:
            hear(index)
        elif what in ("failed", "succeeded") and getattr(worker, what)(now):
            for other, box in enumerate(unheard):
                if other != index:
                    box.append((worker.state != "in", worker.epoch, worker.until, worker.times))
    for index, box in enumerate(unheard):
        while box:
            hear(index)
    later = now + 10_000.0                      # all growth is forgotten then: until then it depends on who heard when
    for worker in workers:
        worker.look(later)
    assert len({(worker.state, worker.epoch, worker.until) for worker in workers}) == 1
    assert len({worker.times for worker in workers}) == 1
