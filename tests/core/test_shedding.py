from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.shedding import ENOUGH, FORGET_S, LAG_S, RISE_PER_S, Shedder

QUICK_S = 0.002


def after(shedder: Shedder, now: float, *, lag_s: float = 0.0, mean_s: float = QUICK_S, answered: int = 100) -> float:
    return shedder.look(now, lag_s, answered, mean_s * answered)


def test_without_pressure_everything_is_copied() -> None:
    shedder = Shedder(0.0)
    assert [after(shedder, now) for now in range(1, 20)] == [1.0] * 19


def test_a_late_event_loop_halves_it_each_time_down_to_nothing() -> None:
    shedder = Shedder(0.0)
    fractions = [after(shedder, now, lag_s=2 * LAG_S) for now in range(1, 9)]
    assert fractions[:3] == [0.5, 0.25, 0.125]
    assert fractions[-1] == 0.0


def test_clients_that_wait_clearly_longer_than_at_best_halve_it() -> None:
    shedder = Shedder(0.0)
    after(shedder, 0.25)
    assert after(shedder, 0.5, mean_s=20 * QUICK_S) == 0.5


def test_a_little_slower_is_no_trouble() -> None:
    shedder = Shedder(0.0)
    after(shedder, 0.25)
    assert after(shedder, 0.5, mean_s=1.9 * QUICK_S) == 1.0
    assert after(shedder, 0.75, mean_s=QUICK_S + 0.0029) == 1.0, "twice next to nothing is next to nothing"


def test_a_few_slow_answers_say_nothing() -> None:
    shedder = Shedder(0.0)
    after(shedder, 0.25)
    assert after(shedder, 0.5, mean_s=1.0, answered=ENOUGH - 1) == 1.0


def test_it_comes_back_slowly() -> None:
    shedder = Shedder(0.0)
    after(shedder, 0.25, lag_s=1.0)
    assert after(shedder, 1.25) == 0.5 + RISE_PER_S
    assert after(shedder, 100.0) == 1.0


def test_a_service_that_has_become_slower_for_good_is_copied_again_in_the_end() -> None:
    shedder = Shedder(0.0)
    after(shedder, 0.25)
    assert after(shedder, 0.5, mean_s=0.05) < 1.0
    now = 0.5
    while now < 5 * FORGET_S:
        now += 0.25
        last = after(shedder, now, mean_s=0.05)
    assert last == 1.0


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10), st.integers(0, 1000), st.floats(0, 100))))
def test_whatever_happens_it_is_a_fraction(looks: list[tuple[float, float, int, float]]) -> None:
    shedder, now = Shedder(0.0), 0.0
    for passed_s, lag_s, answered, seconds in looks:
        now += passed_s
        assert 0.0 <= shedder.look(now, lag_s, answered, seconds) <= 1.0
    for _ in range(3):
        now += 1 / RISE_PER_S
        fraction = shedder.look(now, 0.0, 0, 0.0)
    assert fraction == 1.0
