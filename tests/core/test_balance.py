"""The server with the fewest requests in flight is next, equals in turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.balance import LeastInFlight
from tests.support.exploring import examples


def take(balance: LeastInFlight[str]) -> str:
    server = balance.acquire()
    assert server is not None
    return server


def test_equals_take_turns() -> None:
    balance = LeastInFlight("abc")
    taken = []
    for _ in range(6):
        server = take(balance)
        taken.append(server)
        balance.release(server)
    assert taken == ["a", "b", "c", "a", "b", "c"]


def test_the_least_busy_is_next() -> None:
    balance = LeastInFlight("abc")
    assert [balance.acquire() for _ in range(5)] == ["a", "b", "c", "a", "b"]
    balance.release("a")
    balance.release("a")
    assert [balance.acquire() for _ in range(4)] == ["a", "c", "a", "b"]


def test_a_server_that_failed_is_passed_over() -> None:
    balance = LeastInFlight("ab")
    for _ in range(100):
        balance.acquire(excluding={"a"})
    assert (balance.in_flight("a"), balance.in_flight("b")) == (0, 100)
    assert balance.acquire(excluding=["b"]) == "a"
    assert balance.acquire(excluding=("a", "b")) is None


def test_one_server_takes_everything_unless_it_failed() -> None:
    balance = LeastInFlight(["a"])
    assert [balance.acquire(), balance.acquire()] == ["a", "a"]
    assert balance.acquire(excluding={"a"}) is None
    assert balance.in_flight("a") == 2


@pytest.mark.parametrize("servers", ["", "aa"])
def test_servers_are_at_least_one_and_different(servers: str) -> None:
    with pytest.raises(ValueError):
        LeastInFlight(servers)


@pytest.mark.parametrize("servers", ["a", "ab"])
def test_releasing_more_than_was_acquired_is_an_error(servers: str) -> None:
    balance = LeastInFlight(servers)
    balance.release(take(balance))
    with pytest.raises(ValueError):
        balance.release("a")


steps = st.lists(st.one_of(st.just("acquire"), st.integers(0, 7), st.sets(st.integers(0, 7), max_size=3)), max_size=120)


@examples(200)
@given(servers=st.integers(1, 8), steps=steps)
def test_any_history_keeps_to_the_rule(servers: int, steps: list[str | int | set[int]]) -> None:
    balance, busy = LeastInFlight(range(servers)), [0] * servers
    for step in steps:
        if isinstance(step, int):
            if step < servers and busy[step]:
                balance.release(step)
                busy[step] -= 1
            continue
        excluded: set[int] = step if isinstance(step, set) else set()
        taken = balance.acquire(excluded) if excluded else balance.acquire()
        allowed = [count for server, count in enumerate(busy) if server not in excluded]
        assert (taken is None) == (not allowed)
        if taken is not None:
            assert taken not in excluded
            assert busy[taken] == min(allowed)
            busy[taken] += 1
    assert [balance.in_flight(server) for server in range(servers)] == busy


def test_a_burst_leaves_nothing_behind() -> None:
    balance = LeastInFlight("ab")
    taken = [take(balance) for _ in range(2_000)]
    for server in taken:
        balance.release(server)
    assert (balance.in_flight("a"), balance.in_flight("b")) == (0, 0)
    assert len(balance._levels) <= 64
