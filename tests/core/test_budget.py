from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.budget import START_S, WINDOW_S, RetryBudget
from tests.support.exploring import examples


def spent(budget: RetryBudget, now: float, requests: int, most: int = 100_000) -> int:
    """How many retries it gives at once."""
    for times in range(most):
        if not budget.may_spend(now, requests):
            return times
    return most


def test_at_the_start_there_is_as_much_of_the_floor_as_can_ever_be_saved() -> None:
    assert spent(RetryBudget(0.2, 5.0), 1_000.0, 1_000_000) == 5 * START_S


def test_a_part_of_the_requests_may_be_repeated() -> None:
    budget = RetryBudget(0.2, 0.0)
    budget.earn(0.0, 0)
    assert spent(budget, 5.0, 1_000) == 200


def test_the_floor_is_there_without_requests() -> None:
    budget = RetryBudget(0.2, 2.0)
    assert spent(budget, 0.0, 0) == 2 * START_S
    assert spent(budget, 3.0, 0) == 6


def test_a_long_quiet_time_saves_ten_seconds_of_the_floor_and_no_more() -> None:
    budget = RetryBudget(0.2, 2.0)
    budget.earn(0.0, 0)
    assert spent(budget, 86_400.0, 0) == 20


def test_requests_of_long_ago_pay_for_nothing() -> None:
    budget = RetryBudget(0.2, 0.0)
    for second in range(5):
        budget.earn(float(second), 1_000 * second)
    assert spent(budget, 20.0, 4_000) == 0


def test_of_a_long_time_without_looks_the_last_ten_seconds_count() -> None:
    budget = RetryBudget(0.1, 0.0)
    budget.earn(0.0, 0)
    assert 90 <= spent(budget, 1_000.0, 100_000) <= 100, "100 requests per second, for nine seconds and a part of one"


def test_all_of_a_version_that_dies_may_be_repeated_as_far_as_the_share_goes() -> None:
    budget = RetryBudget(0.25, 0.0)
    requests = 0
    for look in range(400):
        requests += 25
        budget.earn(look / 100, requests)
    given_ = asked = 0
    for look in range(400, 2_000):
        requests += 25
        for _ in range(6):                      # nearly a quarter of them fail
            asked += 1
            given_ += budget.may_spend(look / 100, requests)
    assert given_ == asked


def test_a_new_rule_keeps_what_is_there() -> None:
    budget = RetryBudget(0.2, 5.0)
    budget.earn(0.0, 0)
    budget.earn(1.0, 100)
    budget.allow(0.5, 5.0)
    assert spent(budget, 1.0, 100) == 5 * START_S + 20
    budget.earn(2.0, 200)
    assert spent(budget, 2.0, 200) == 5 + 50


def test_without_share_and_floor_nothing_is_repeated() -> None:
    budget = RetryBudget(0.0, 0.0)
    budget.earn(0.0, 0)
    assert spent(budget, 100.0, 1_000_000) == 0


STEPS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.01, 0.25, 0.25, 1.0, 3.0, 30.0]), st.integers(0, 200), st.integers(0, 60)),
    max_size=60,
)


@examples(150)
@given(STEPS, st.sampled_from([0.0, 0.1, 0.2, 1 / 3, 1.0]), st.sampled_from([0.0, 0.5, 10.0]))
def test_it_never_gives_more_than_was_earned_in_all_nor_at_once(
        steps: list[tuple[float, int, int]], share: float, floor: float) -> None:
    budget = RetryBudget(share, floor)
    budget.earn(0.0, 0)
    now, requests, given_ = 0.0, 0, 0
    seen: list[tuple[float, int]] = []
    for passed_s, came, asked in steps:
        now += passed_s
        requests += came
        seen.append((now - passed_s, came))     # they may have come as early as that
        at_once = spent(budget, now, requests, asked)
        given_ += at_once
        recent = sum(n for at, n in seen if at + 30.0 > now - WINDOW_S)
        assert at_once <= share * recent + WINDOW_S * floor + 1e-6
        assert given_ <= share * requests + floor * (now + START_S) + 1e-6
        assert budget.left() >= 0.0


@examples(100)
@given(STEPS)
def test_with_frequent_looks_it_differs_from_the_true_window_by_one_second_at_most(
        steps: list[tuple[float, int, int]]) -> None:
    budget = RetryBudget(0.2, 0.0)
    budget.earn(0.0, 0)
    requests, seen = 0, []
    for look, (_, came, _) in enumerate(steps * 3, 1):
        now = look / 4
        requests += came
        seen.append((now, came))
        budget.earn(now, requests)
        least, most = (
            0.2 * sum(n for at, n in seen if at > now - window_s) for window_s in (WINDOW_S - 1, WINDOW_S + 0.25)
        )
        assert least - 1e-6 <= budget.left() <= most + 1e-6


def test_years_of_use_leave_no_drift() -> None:
    budget = RetryBudget(0.1, 0.3)
    budget.earn(0.0, 0)
    for look in range(1, 100_000):
        budget.may_spend(look * 0.7, look * 3)
    emptied_at = 100_000 * 0.7
    spent(budget, emptied_at, 300_000)
    assert 0.0 <= budget.left() < 1.0
    assert spent(budget, emptied_at + 20.0, 300_000) == 3
