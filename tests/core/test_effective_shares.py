from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.effective import destination, effective_shares
from proxy.core.route import Match, Route

VERSIONS = ("old", "new", "next")


def route(when_down: str = "baseline", split: tuple[tuple[str, float], ...] = (("old", 3), ("new", 1))) -> Route:
    return Route("shop", Match(), split, "old", when_down=when_down)  # type: ignore[arg-type]


def test_the_part_of_a_candidate_that_is_down_moves_to_the_baseline() -> None:
    assert effective_shares(route(), {"new"}, ()) == (1.0, 0.0)
    assert effective_shares(route(), (), {"new"}) == (1.0, 0.0)


@pytest.mark.parametrize("when_down", ["fail", "hold"])
def test_the_part_of_a_candidate_that_may_not_move_is_sent_nowhere(when_down: str) -> None:
    assert effective_shares(route(when_down), {"new"}, ()) == (0.75, 0.0)


def test_a_baseline_that_is_down_is_tried_all_the_same_and_one_that_is_drained_is_not() -> None:
    assert effective_shares(route(), {"old"}, ()) == (0.75, 0.25)
    assert effective_shares(route(), (), {"old"}) == (0.0, 0.25)


def test_a_candidate_that_is_down_is_tried_where_the_baseline_is_not_to_be_had_either() -> None:
    assert effective_shares(route(), {"new", "old"}, ()) == (0.75, 0.25)
    assert effective_shares(route(), {"new"}, {"old"}) == (0.0, 0.25)


def test_a_drained_candidate_goes_to_a_baseline_that_is_down_and_nobody_is_tried_who_is_drained() -> None:
    assert effective_shares(route(), {"old"}, {"new"}) == (1.0, 0.0)
    assert effective_shares(route(), (), {"old", "new"}) == (0.0, 0.0)


some = st.sets(st.sampled_from(VERSIONS))
weights = st.lists(st.floats(0, 100), min_size=3, max_size=3).filter(lambda each: sum(each) > 0.01)


@given(weights, some, some, st.sampled_from(["baseline", "fail", "hold"]))
def test_nothing_is_sent_to_who_is_drained_and_never_more_than_there_is(
    given_weights: list[float], down: set[str], drained: set[str], when_down: str
) -> None:
    one = route(when_down, tuple(zip(VERSIONS, given_weights, strict=True)))
    parts = dict(zip(VERSIONS, effective_shares(one, down, drained), strict=True))
    assert all(parts[version] == 0 for version in drained)
    assert sum(parts.values()) <= 1 + 1e-9
    if when_down == "baseline" and "old" not in drained:
        assert sum(parts.values()) == pytest.approx(1)


@given(some, some)
def test_who_is_well_gets_what_the_split_gives(down: set[str], drained: set[str]) -> None:
    for version in set(VERSIONS) - down - drained:
        assert destination(route(), version, down, drained) == version
