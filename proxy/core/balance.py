"""Which server of a version takes the next request: the one with the fewest in flight, equals taking turns.

Invariant: every server stands in exactly one level, the one of its number in flight, and `_lowest` is the first level
that is not empty. Both operations move one server by one level, so they cost the same for 2 servers and for 500.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Sequence
from typing import Generic, TypeVar, overload

T = TypeVar("T", bound=Hashable)

_KEPT_LEVELS = 64           # empty levels kept for reuse; what a burst needed beyond them is let go


class LeastInFlight(Generic[T]):
    """The servers of a version and what each has in flight. Each call hashes a server: let identity be the hash."""

    __slots__ = ("_busy", "_levels", "_lowest", "_servers", "_sole")

    def __init__(self, servers: Sequence[T]) -> None:
        """`servers`: at least one, all different; ValueError otherwise."""
        if not servers or len(set(servers)) != len(servers):
            raise ValueError("a version needs at least one server, and each only once")
        self._servers = tuple(servers)
        self._sole = self._servers[0] if len(self._servers) == 1 else None
        self._busy = dict.fromkeys(self._servers, 0)
        # An OrderedDict as an ordered set: its first and its last place are both O(1), whatever was removed before.
        self._levels: list[OrderedDict[T, None]] = [OrderedDict.fromkeys(self._servers)]
        self._lowest = 0

    @property
    def servers(self) -> tuple[T, ...]:
        """The servers, as given."""
        return self._servers

    def in_flight(self, server: T) -> int:
        """How many requests a server has in flight; KeyError for a server that is not here."""
        return self._busy[server]

    @overload
    def acquire(self) -> T: ...
    @overload
    def acquire(self, excluding: Collection[T]) -> T | None: ...
    def acquire(self, excluding: Collection[T] = ()) -> T | None:
        """The server for one more request, now counted on it; give it back with `release`.

        `excluding`: servers that have just failed this request; None if that leaves nobody.
        """
        sole = self._sole
        if sole is not None:
            if sole in excluding:
                return None
            self._busy[sole] += 1
            return sole
        if excluding:
            return self._acquire_other(excluding)
        server = next(iter(self._levels[self._lowest]))
        self._move(server, self._lowest, self._lowest + 1)
        return server

    def release(self, server: T) -> None:
        """One request of this server is over. ValueError if it has none in flight."""
        count = self._busy[server]
        if count == 0:
            raise ValueError("released more often than acquired")
        if self._sole is not None:
            self._busy[server] = count - 1
            return
        self._move(server, count, count - 1)

    def _acquire_other(self, excluding: Collection[T]) -> T | None:
        for count in range(self._lowest, len(self._levels)):
            for server in self._levels[count]:
                if server not in excluding:
                    self._move(server, count, count + 1)
                    return server
        return None

    def _move(self, server: T, old: int, new: int) -> None:
        """To the end of its new level, so that among equals the one that waited longest is next."""
        levels = self._levels
        if new == len(levels):
            levels.append(OrderedDict())
        del levels[old][server]
        levels[new][server] = None
        self._busy[server] = new
        if new < self._lowest or (old == self._lowest and not levels[old]):
            self._lowest = new
        while len(levels) > _KEPT_LEVELS and not levels[-1]:
            levels.pop()
