from __future__ import annotations

import pytest

from proxy.controlplane.workers.lifecycle import LONGEST_DELAY_S, NEXT, Backoff, Event, State


@pytest.mark.parametrize("state", [state for state in State if state is not State.DEAD])
def test_every_living_worker_can_die_and_can_be_told_to_leave(state: State) -> None:
    assert NEXT[state, Event.EXITED] is State.DEAD
    assert NEXT[state, Event.DRAIN] is State.DRAINING


def test_nothing_follows_on_death() -> None:
    assert not [event for event in Event if (State.DEAD, event) in NEXT]


def test_a_worker_that_is_draining_never_serves_again() -> None:
    assert NEXT[State.DRAINING, Event.APPLIED] is State.DRAINING


def test_the_first_successor_comes_at_once_and_the_next_ones_ever_later() -> None:
    backoff = Backoff()
    delays = [backoff.delay_s(0.1) for _ in range(10)]
    assert delays == [0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_worker_that_lived_well_ends_the_count() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.delay_s(0.1)
    assert backoff.delay_s(10.0) == 0.0
    assert backoff.delay_s(0.1) == 0.05


def test_a_worker_that_never_lives_is_tried_for_ever() -> None:
    backoff = Backoff()
    assert [backoff.delay_s(0.0) for _ in range(5000)][-1] == LONGEST_DELAY_S
