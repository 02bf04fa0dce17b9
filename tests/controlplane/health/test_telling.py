"""What is said of servers that turn often."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from proxy.controlplane.health.pages import Turn
from proxy.controlplane.health.telling import EVERY_S, Telling

Said = tuple[float, bool, int]


def said(turns: Iterable[tuple[float, bool]], until: float = 100.0, server: str = "a") -> list[Said]:
    """What is said, when, and how many were left out, if it is settled each second."""
    heard: list[Said] = []
    clock = 0.0
    telling = Telling(lambda turn, unsaid: heard.append((clock, turn.out, unsaid)))
    due = [*((at, out) for at, out in turns), *((float(at), None) for at in range(int(until)))]
    for at, out in sorted(due, key=lambda entry: entry[0]):
        clock = at
        if out is None:
            telling.settle(at)
        else:
            telling.hear(Turn("new", server, out, "traffic", "why"), at)
    return heard


def test_the_first_turn_is_said_at_once() -> None:
    assert said([(3.5, True)]) == [(3.5, True, 0)]


def test_turns_that_are_far_apart_are_all_said() -> None:
    assert said([(1.5, True), (20.5, False)]) == [(1.5, True, 0), (20.5, False, 0)]


def test_of_a_server_that_flaps_the_rest_is_counted_in_the_next_one() -> None:
    flaps = [(turn / 2 + 0.25, turn % 2 == 0) for turn in range(10)]
    assert said([*flaps, (30.5, True)]) == [(0.25, True, 0), (11.0, False, 8), (30.5, True, 0)]


def test_a_turn_that_had_to_wait_is_said_in_the_end() -> None:
    assert said([(1.5, True), (2.5, False)]) == [(1.5, True, 0), (12.0, False, 0)]


def test_nothing_is_said_when_all_is_again_as_was_said() -> None:
    assert said([(1.5, True), (2.5, False), (3.5, True), (40.5, False)]) == [(1.5, True, 0), (40.5, False, 2)]


@given(st.lists(st.tuples(st.floats(0.01, 80.0), st.booleans()), max_size=60))
def test_at_most_one_in_ten_seconds_and_the_last_one_holds_and_none_is_lost(turns: list[tuple[float, bool]]) -> None:
    turns = sorted(turns, key=lambda turn: turn[0])
    heard = said([*turns, (99.5, True), (120.5, False)], until=140.0)
    assert all(later[0] - earlier[0] >= EVERY_S for earlier, later in pairwise(heard))
    assert heard[-1][1] is False
    assert len(heard) + sum(unsaid for _, _, unsaid in heard) == len(turns) + 2


def test_servers_do_not_wait_for_each_other() -> None:
    heard: list[str] = []
    telling = Telling(lambda turn, _: heard.append(turn.server))
    for server in ("a", "b", ""):
        telling.hear(Turn("new", server, True, None, "why"), 1.0)
    assert heard == ["a", "b", ""]


def test_what_is_configured_no_more_is_forgotten() -> None:
    heard: list[bool] = []
    telling = Telling(lambda turn, _: heard.append(turn.out))
    telling.hear(Turn("new", "a", True, "probe", "why"), 1.0)
    telling.hear(Turn("new", "a", False, "probe", "why"), 2.0)
    telling.retain({("new", "b")})
    telling.settle(100.0)
    telling.hear(Turn("new", "a", True, "probe", "why"), 101.0)
    assert heard == [True, True]
