from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.controlplane.comparer.watching import LEAST_COMPARED, MATCH, MISMATCH, MatchWatch
from proxy.ipc.comparing import Window

BOUND = {"shop": 0.9}


def window(compared: int, matched: int, route: str = "shop") -> list[Window]:
    return [Window(route, compared, matched)]


@given(st.lists(st.integers(0, 200)), st.floats(0, 1))
def test_falls_and_returns_are_told_in_turns_beginning_with_a_fall(matches: list[int], bound: float) -> None:
    watch = MatchWatch()
    told = [crossing.verb for matched in matches for crossing in watch.judge(window(200, matched), {"shop": bound})]
    assert told == [MISMATCH if number % 2 == 0 else MATCH for number in range(len(told))]


def test_a_few_comparisons_say_nothing() -> None:
    watch = MatchWatch()
    assert watch.judge(window(LEAST_COMPARED - 1, 0), BOUND) == []
    assert [one.verb for one in watch.judge(window(LEAST_COMPARED, 0), BOUND)] == [MISMATCH]


def test_a_rate_that_wavers_at_the_bound_is_told_once() -> None:
    watch = MatchWatch()
    told = [one.verb for matched in (899, 900, 899, 905, 899, 920) for one in watch.judge(window(1000, matched), BOUND)]
    assert told == [MISMATCH, MATCH]


def test_a_route_without_a_bound_is_nobodys_business() -> None:
    watch = MatchWatch()
    assert watch.judge(window(1000, 0, "cart"), BOUND) == []
    watch.judge(window(1000, 0), BOUND)
    watch.judge([], {})
    assert [one.verb for one in watch.judge(window(1000, 0), BOUND)] == [MISMATCH]
