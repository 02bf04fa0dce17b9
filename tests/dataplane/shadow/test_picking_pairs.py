"""More pairs than may be compared: some are picked evenly, the others are copied all the same."""

from __future__ import annotations

import pytest

from proxy.dataplane.shadow.budget import Budget
from proxy.telemetry.counters import ShadowTally
from tests.support.shadowing import MARK, Listener, shadow_snapshot, shadowed
from tests.support.story import Story, get


def a_budget(per_second: float) -> tuple[Budget, ShadowTally]:
    tally = ShadowTally()
    budget = Budget(tally, 0.0)
    budget.allow(1_000_000, 1_000, per_second)
    return budget, tally


def picked(budget: Budget, made: int) -> int:
    return sum(budget.picks() for _ in range(made))


def test_as_many_as_may_be_compared_are_all_picked() -> None:
    budget, tally = a_budget(100)
    for second in range(1, 10):
        assert picked(budget, 100) == 100
        budget.look(float(second), 0.0)
    assert tally.skipped == {}


def test_of_more_so_many_are_picked_as_may_be_compared() -> None:
    budget, tally = a_budget(100)
    picked(budget, 1_000)
    for second in range(1, 10):
        budget.look(float(second), 0.0)
        assert picked(budget, 1_000) == pytest.approx(100, abs=3)
    assert tally.skipped == {"beyond_rate": pytest.approx(8_100, abs=10)}


def test_they_are_picked_evenly() -> None:
    budget, _ = a_budget(100)
    picked(budget, 1_000)
    budget.look(1.0, 0.0)
    assert all(picked(budget, 50) in (4, 5, 6) for _ in range(20))


def test_after_a_quieter_time_all_are_picked_again() -> None:
    budget, _ = a_budget(100)
    picked(budget, 1_000)
    budget.look(1.0, 0.0)
    picked(budget, 10)
    budget.look(2.0, 0.0)
    assert picked(budget, 50) == 50


def test_what_is_not_compared_is_copied_and_has_no_control(story: Story) -> None:
    with Listener() as comparer:
        old, new = story.strict(), story.strict()
        rules = '{"per_second": 1}'
        worker = shadowed(story, old, new, comparer=comparer.address, control=True, compare=rules)
        comparer.wait_for_worker()
        client = story.client(worker)
        for number in range(50):
            client.ask(get(f"/{number}"))
        swept = worker.call(lambda worker: worker.now)
        worker.wait_until(lambda worker: worker.now > swept)        # a sweep has seen how many there are
        before = len(comparer.wait(1))
        for number in range(50):
            client.ask(get(f"/later/{number}"))
        worker.wait_until(lambda worker: worker.shadows.is_quiet)
        left_out = worker.count("shadow_skipped_total", "all", "beyond_rate")
        assert before >= 1
        assert left_out > 0
        assert len(new.requests) == 100
        controls = sum(bool(message.values(MARK)) for message in old.requests)
        assert controls == 100 - left_out
        worker.apply(shadow_snapshot(old, new, percent=0, revision=2))
