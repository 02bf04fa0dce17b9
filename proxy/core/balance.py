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
        levels, lowest = self._levels, self._lowest
        if excluding:
            other = self._least_busy_other(excluding)
            if other is None:
                return None
            server, count = other, self._busy[other]
        else:
            server, count = next(iter(levels[lowest])), lowest
        del levels[count][server]
        if count + 1 == len(levels):
            levels.append(OrderedDict())
        levels[count + 1][server] = None   # at the end: among equals the one that waited longest is next
        self._busy[server] = count + 1
        if not levels[lowest]:
            self._lowest = lowest + 1      # where the server went that was the last one here
        return server

    def release(self, server: T) -> None:
        """One request of this server is over. ValueError if it has none in flight."""
        count = self._busy[server]
        if count == 0:
            raise ValueError("released more often than acquired")
        self._busy[server] = count - 1
        if self._sole is not None:
            return
        levels = self._levels
        del levels[count][server]
        levels[count - 1][server] = None
        if count - 1 < self._lowest:
            self._lowest = count - 1
        while len(levels) > _KEPT_LEVELS and not levels[-1]:
            levels.pop()

    def _least_busy_other(self, excluding: Collection[T]) -> T | None:
        """Not O(1): it looks past the excluded. Only retries come here."""
        for level in self._levels[self._lowest :]:
            for server in level:
                if server not in excluding:
                    return server
        return None
