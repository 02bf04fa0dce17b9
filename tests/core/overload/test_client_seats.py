"""Connections of one client: never more than it may have, and each place is free again."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.overload.clients import Seats

_moves = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=100)


@given(_moves, st.integers(1, 4))
def test_a_client_has_as_many_as_came_and_went_and_never_more_than_it_may(
    moves: list[tuple[str, bool]], most: int,
) -> None:
    seats, here = Seats(), Counter[str]()
    for client, comes in moves:
        if comes:
            assert seats.take(client, most) is (here[client] < most)
            here[client] += here[client] < most
        elif here[client]:
            seats.leave(client)
            here[client] -= 1
        assert seats.taken(client) == here[client]
    assert len(seats) == len(+here)


def test_without_a_limit_every_one_is_counted_all_the_same() -> None:
    seats = Seats()
    assert all(seats.take("a", None) for _ in range(100))
    assert not seats.take("a", 100)
    seats.leave("a")
    assert seats.take("a", 100)


def test_nobody_in_particular_is_not_limited() -> None:
    seats = Seats()
    assert all(seats.take("", 1) for _ in range(5))
    seats.leave("")
    assert len(seats) == 0
