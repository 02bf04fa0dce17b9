"""The requests that wait for a place at a version: who gets the next one, and who has to go when too many want in.

The highest priority is first. Within one it is first come, first served, until its queue has not been empty for a
while: then the last come are first. In a queue that stands, those who came first are about to give up, so serving them
helps nobody and makes the others late as well ("adaptive LIFO": Maurer, "Fail at Scale", ACM Queue 13(8), 2015).

Invariants: no more wait than `most`; nobody gets a place whose time is up; everybody who entered is returned exactly
once, by `enter`, `next` or `late`, or has left.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

STANDS = 0.5
"""A queue that has not been empty for this part of the time one may wait is under pressure. A burst that can be served
is gone by then; one that lasts longer would soon have everybody served just before their time is up, or just after."""


class WaitingRoom(Generic[T]):
    """At most `most` waiters, for `wait_s` seconds each; both may be changed at any time.

    `now`: seconds of a clock that never goes back. Priorities: the higher, the sooner; few different ones. What is done
    takes the same time however many wait.
    """

    __slots__ = ("_lanes", "_priority_of", "most", "wait_s")

    def __init__(self, most: int, wait_s: float) -> None:
        self.most = most
        self.wait_s = wait_s
        self._lanes: dict[int, _Lane[T]] = {}       # by priority; only those somebody waits in
        self._priority_of: dict[T, int] = {}

    def __len__(self) -> int:
        return len(self._priority_of)

    def __iter__(self) -> Iterator[T]:
        return iter(self._priority_of)

    def __contains__(self, waiter: T) -> bool:
        return waiter in self._priority_of

    def enter(self, waiter: T, priority: int, now: float) -> T | None:
        """Let `waiter` in; returns who has to go for it: None when nobody has, `waiter` itself when it is not let in.

        In a full room that is somebody whose time is up, else the oldest of the lowest priority, who is the closest to
        it, unless `waiter` has a lower one still. Whoever is returned is no longer in the room. Raises ValueError when
        `waiter` is in it already.
        """
        if waiter in self._priority_of:
            raise ValueError("it waits already")
        goes: T | None = None
        if len(self) >= self.most:
            if len(self) > self.most or not self._lanes:        # there is no room, or it was made smaller
                return waiter
            lowest = self._lane_that_loses(now)
            if lowest > priority and not self._lanes[lowest].oldest_is_late(now, self.wait_s):
                return waiter
            goes = self._lanes[lowest].oldest()
            self.leave(goes)
        lane = self._lanes.get(priority)
        if lane is None:
            lane = self._lanes[priority] = _Lane(now)
        lane.came[waiter] = now
        self._priority_of[waiter] = priority
        return goes

    def next(self, now: float) -> T | None:
        """Return who gets the free place, no longer in the room; None when nobody waits whose time is not up."""
        for priority in sorted(self._lanes, reverse=True):
            lane = self._lanes[priority]
            pressed = now - lane.since > STANDS * self.wait_s
            waiter = lane.newest() if pressed else lane.oldest()
            # Whoever is late has made this lane stand for longer than it takes to be pressed: then this is the newest,
            # and if that one is late, all are.
            if now - lane.came[waiter] < self.wait_s:
                self.leave(waiter)
                return waiter
        return None

    def late(self, now: float) -> list[T]:
        """Return all whose time is up, no longer in the room."""
        gone: list[T] = []
        for lane in list(self._lanes.values()):
            while lane.came and lane.oldest_is_late(now, self.wait_s):
                gone.append(lane.oldest())
                self.leave(gone[-1])
        return gone

    def leave(self, waiter: T) -> bool:
        """Take `waiter` out; whether it was in the room."""
        priority = self._priority_of.pop(waiter, None)
        if priority is None:
            return False
        lane = self._lanes[priority]
        del lane.came[waiter]
        if not lane.came:
            del self._lanes[priority]
        return True

    def _lane_that_loses(self, now: float) -> int:
        late = [priority for priority, lane in self._lanes.items() if lane.oldest_is_late(now, self.wait_s)]
        return min(late or self._lanes)


class _Lane(Generic[T]):
    """Those of one priority, oldest first, and since when there have been any. An OrderedDict, since the first of a
    dict that loses its first ones all the time is not found at once."""

    __slots__ = ("came", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self.came: OrderedDict[T, float] = OrderedDict()

    def oldest(self) -> T:
        return next(iter(self.came))

    def newest(self) -> T:
        return next(reversed(self.came))

    def oldest_is_late(self, now: float, wait_s: float) -> bool:
        return now - self.came[self.oldest()] >= wait_s
