"""Balancing beside a model that does everything the slow way: counts in a dictionary, and the least of them."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, precondition, rule

from proxy.core.balance import UNBOUNDED, LeastInFlight

NAMES = "abcdef"


class Balancing(RuleBasedStateMachine):
    """Requests come and go while servers are taken out, put in and replaced."""

    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.balance = LeastInFlight(tuple(NAMES[:4]))
        self.servers = list(NAMES[:4])
        self.inside = set(self.servers)
        self.counts = dict.fromkeys(NAMES, 0)
        self.most = self.limit = UNBOUNDED
        self.parts: dict[str, float] = {}

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def may_take(self, excluding: set[str]) -> list[str]:
        if self.total >= self.limit:
            return []
        return [name for name in self.inside - excluding if self.counts[name] < self.most]

    @rule(target=taken, excluding=st.sets(st.sampled_from(NAMES), max_size=2))
    def acquire(self, excluding: set[str]) -> object:
        server = self.balance.acquire(excluding)
        allowed = self.may_take(excluding)
        if server is None:
            assert not allowed
            return multiple()
        assert server in allowed
        if not self.parts:
            assert self.counts[server] == min(self.counts[name] for name in self.inside - excluding)
        self.counts[server] += 1
        return server

    @rule(target=taken, place=st.integers(0, 3))
    def acquire_this(self, place: int) -> str:
        server = self.servers[place % len(self.servers)]
        assert self.balance.acquire_this(server) == server
        self.counts[server] += 1
        return server

    @rule(server=consumes(taken))
    def release(self, server: str) -> None:
        self.balance.release(server)
        self.counts[server] -= 1

    @rule(inside=st.sets(st.sampled_from(NAMES)))
    def choose_from(self, inside: set[str]) -> None:
        self.inside = inside & set(self.servers)
        self.balance.choose_from(self.inside)

    @rule(servers=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    def replace(self, servers: list[str]) -> None:
        self.balance.replace(servers)
        self.servers, self.inside = servers, set(servers)

    @rule(most=st.sampled_from([1, 2, UNBOUNDED]), limit=st.sampled_from([2, 5, UNBOUNDED]))
    def cap(self, most: int, limit: int) -> None:
        self.balance.most, self.balance.limit = most, limit
        self.most, self.limit = most, limit

    @rule(cold=st.sets(st.sampled_from(NAMES)))
    def some_warm_up(self, cold: set[str]) -> None:
        self.parts = dict.fromkeys(cold & set(self.servers), 0.1)
        self.balance.give_parts(self.parts)

    @precondition(lambda self: self.inside)
    @rule()
    def room_is_told_as_it_is(self) -> None:
        assert self.balance.has_room is bool(self.may_take(set()))

    @invariant()
    def counts_are_right(self) -> None:
        assert self.balance.total_in_flight == self.total
        for name in self.servers:
            assert self.balance.in_flight(name) == self.counts[name]


TestBalancing = Balancing.TestCase


def test_a_server_that_warms_up_takes_its_part_of_the_choices() -> None:
    balance = LeastInFlight(("warm", "cold"))
    balance.give_parts({"cold": 0.25})
    chosen = []
    for _ in range(400):
        server = balance.acquire()
        assert server is not None
        chosen.append(server)
        balance.release(server)
    assert 80 <= chosen.count("cold") <= 110


def test_a_server_that_warms_up_alone_takes_everything() -> None:
    balance = LeastInFlight(("cold", "other"))
    balance.give_parts({"cold": 0.1})
    balance.choose_from(["cold"])
    assert [balance.acquire() for _ in range(3)] == ["cold"] * 3


def test_a_server_that_warms_up_takes_what_finds_the_others_full() -> None:
    balance = LeastInFlight(("warm", "cold"))
    balance.most = 1
    balance.give_parts({"cold": 0.1})
    balance.acquire_this("warm")
    assert [balance.acquire(), balance.acquire()] == ["cold", None]


def test_what_was_never_acquired_cannot_be_released() -> None:
    balance = LeastInFlight(("a",))
    with pytest.raises(ValueError, match="released more often"):
        balance.release("a")
