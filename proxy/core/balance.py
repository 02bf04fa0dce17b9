"""Which server of a version takes the next request: the one with the fewest in flight, equals taking turns.

Only servers that are *in* are chosen from; the others keep their counts and come back with `choose_from`. Invariant:
every server that is in stands in exactly one level, the one of its number in flight, and `_lowest` is the first level
that is not empty. `acquire` and `release` move a server by one level: that costs the same for 2 servers and for 500.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Generic, TypeVar, overload

T = TypeVar("T", bound=Hashable)

UNBOUNDED = 1 << 60
_KEPT_LEVELS = 64           # empty levels kept for reuse; what a burst needed beyond them is let go


class LeastInFlight(Generic[T]):
    """The servers of a version and what each has in flight. Each call hashes a server: let identity be the hash.

    `most`: requests that a server may have in flight; `limit`: the same of all together. `taken`: how many there ever
    were, `released`: how many of them are over.
    """

    __slots__ = ("_busy", "_credits", "_levels", "_lowest", "_out", "_parts", "_servers", "_sole", "limit", "most",
                 "released", "taken")

    def __init__(self, servers: Sequence[T]) -> None:
        """`servers`: at least one, all different, all in; ValueError otherwise."""
        self._busy: dict[T, int] = {}
        self._parts: Mapping[T, float] = {}
        self._credits: dict[T, float] = {}
        self.most = self.limit = UNBOUNDED
        self.taken = self.released = 0
        self.replace(servers)

    def replace(self, servers: Sequence[T]) -> None:
        """These are the servers from now on, all of them in. What is in flight at others is still given back here.

        ValueError unless there is at least one, and each only once.
        """
        if not servers or len(set(servers)) != len(servers):
            raise ValueError("a version needs at least one server, and each only once")
        self._servers = tuple(servers)
        gone = {server: count for server, count in self._busy.items() if count and server not in self._servers}
        self._busy = {server: self._busy.get(server, 0) for server in self._servers} | gone
        self._arrange(frozenset(gone))

    @property
    def servers(self) -> tuple[T, ...]:
        """The servers, as given."""
        return self._servers

    @property
    def has_room(self) -> bool:
        """Whether a server that is in may take one more request."""
        if self.taken - self.released >= self.limit:
            return False
        if self._sole is not None:
            return self._busy[self._sole] < self.most
        return self._lowest < self.most and bool(self._levels[self._lowest])

    @property
    def total_in_flight(self) -> int:
        """How many requests are in flight at all of them together."""
        return self.taken - self.released

    def in_flight(self, server: T) -> int:
        """How many requests a server has in flight; KeyError for a server that is not here."""
        return self._busy[server]

    def takes(self, server: T) -> bool:
        """Whether this server is in."""
        return server not in self._out

    def choose_from(self, servers: Collection[T]) -> None:
        """Only these get requests from now on; none at all is possible."""
        out = frozenset(self._busy) - frozenset(servers)
        if out != self._out:
            self._arrange(out)

    def _arrange(self, out: frozenset[T]) -> None:
        self._out: frozenset[T] = out
        self._sole = self._servers[0] if len(self._servers) == 1 and not out else None
        # An OrderedDict as an ordered set: its first and its last place are both O(1), whatever was removed before.
        self._levels: list[OrderedDict[T, None]] = [OrderedDict()]
        for server in self._servers:
            if server not in out:
                self._place(server, self._busy[server])
        self._lowest = next((count for count, level in enumerate(self._levels) if level), 0)

    def give_parts(self, parts: Mapping[T, float]) -> None:
        """Let these servers take part in only so many of the choices (above 0 to 1); the others in all of them."""
        self._parts = parts
        self._credits = {server: self._credits.get(server, 0.0) for server in parts}

    @overload
    def acquire(self) -> T | None: ...
    @overload
    def acquire(self, excluding: Collection[T]) -> T | None: ...
    def acquire(self, excluding: Collection[T] = ()) -> T | None:
        """The server for one more request, now counted on it; give it back with `release`.

        None where no server is in, or those that are have as much as they may. `excluding`: servers that have just
        failed this request; None if that leaves nobody.
        """
        if self.taken - self.released >= self.limit:
            return None
        sole = self._sole
        if sole is not None:
            count = self._busy[sole]
            if count >= self.most or sole in excluding:
                return None
            self._busy[sole] = count + 1
            self.taken += 1
            return sole
        levels, count = self._levels, self._lowest
        if excluding or self._parts:
            other = self._least_busy(excluding)
            if other is None:
                return None
            server, count = other, self._busy[other]
        else:
            for server in levels[count]:    # noqa: B007 - the first one
                break
            else:
                return None
        if count >= self.most:
            return None
        self._raise(server, count)
        return server

    def acquire_this(self, server: T) -> T:
        """Count one more request on this server, whether it is in or not, and whatever it has."""
        count = self._busy[server]
        if self._sole is not None or server in self._out:
            self._busy[server] = count + 1
            self.taken += 1
        else:
            self._raise(server, count)
        return server

    def release(self, server: T) -> None:
        """One request of this server is over. ValueError if it has none in flight."""
        count = self._busy[server]
        if count == 0:
            raise ValueError("released more often than acquired")
        self._busy[server] = count - 1
        self.released += 1
        if self._sole is not None or (self._out and server in self._out):
            return
        levels = self._levels
        del levels[count][server]
        levels[count - 1][server] = None
        if count - 1 < self._lowest:
            self._lowest = count - 1
        while len(levels) > _KEPT_LEVELS and not levels[-1]:
            levels.pop()

    def _raise(self, server: T, count: int) -> None:
        """Move a server that is in up by one level."""
        levels = self._levels
        del levels[count][server]
        if count + 1 == len(levels):
            levels.append(OrderedDict())
        levels[count + 1][server] = None   # at the end: among equals the one that waited longest is next
        self._busy[server] = count + 1
        self.taken += 1
        if not levels[self._lowest]:
            self._lowest += 1              # where the server went that was the last one here

    def _place(self, server: T, count: int) -> None:
        levels = self._levels
        while len(levels) <= count:
            levels.append(OrderedDict())
        levels[count][server] = None

    def _least_busy(self, excluding: Collection[T]) -> T | None:
        """Of those that may have one more. Not O(1): it looks past those that do not take part. Only retries come here,
        and choices in a slow start."""
        sitting_out = self._who_sits_out() if self._parts else ()
        spare: T | None = None
        for level in self._levels[self._lowest : self.most]:
            for server in level:
                if server in excluding:
                    continue
                if server not in sitting_out:
                    if server in self._credits:
                        self._credits[server] -= 1.0
                    return server
                if spare is None:
                    spare = server
        return spare                       # better one that is still warming up than none, or than one that is full

    def _who_sits_out(self) -> set[T]:
        """Each takes part whenever its parts of the choices so far have added up to a whole one."""
        for server, part in self._parts.items():
            self._credits[server] = min(self._credits[server] + part, 2.0)
        return {server for server, credit in self._credits.items() if credit < 1.0}
