"""The requests that wait for a place at a version: who gets the next one, and who has to go when too many want in.

The highest priority is first. Within one it is first come, first served, until its queue has not been empty for a
while: then the last come are first. In a queue that stands, those who came first are about to give up, so serving them
helps nobody and makes the others late as well ("adaptive LIFO": Maurer, "Fail at Scale", ACM Queue 13(8), 2015).

Not every place is for everybody: those who wait are of a few kinds, and `next` may be asked for some of them alone. The
order among those is the order of all.

Invariants: no more wait than `most`; nobody gets a place whose time is up; everybody who entered is returned exactly
once, by `enter`, `next` or `late`, or has left; `back` undoes a `next`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterator
from itertools import takewhile
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

Came = tuple[float, int]
"""When somebody entered, and how many had entered then, which tells those of one moment apart; 0 for who is back."""

STANDS = 0.5
"""A queue that has not been empty for this part of the time one may wait is under pressure. A burst that can be served
is gone by then; one that lasts longer would soon have everybody served just before their time is up, or just after."""


class WaitingRoom(Generic[T]):
    """At most `most` waiters, for `wait_s` seconds each; both may be changed at any time.

    `now`: seconds of a clock that never goes back. Priorities: the higher, the sooner; few different ones, and few
    kinds. What is done takes the same time however many wait; `back` does so for whoever `next` has just returned.
    """

    __slots__ = ("_entered", "_lanes", "_places", "most", "wait_s")

    def __init__(self, most: int, wait_s: float) -> None:
        self.most = most
        self.wait_s = wait_s
        self._lanes: dict[int, _Lane[T]] = {}       # by priority; only those somebody waits in
        self._places: dict[T, tuple[int, int]] = {}     # priority and kind
        self._entered = 0

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[T]:
        return iter(self._places)

    def __contains__(self, waiter: T) -> bool:
        return waiter in self._places

    def enter(self, waiter: T, priority: int, now: float, kind: int = 0) -> T | None:
        """Let `waiter` in; returns who has to go for it: None when nobody has, `waiter` itself when it is not let in.

        In a full room that is somebody whose time is up, else the oldest of the lowest priority, who is the closest to
        it, unless `waiter` has a lower one still. Whoever is returned is no longer in the room. Raises ValueError when
        `waiter` is in it already.
        """
        if waiter in self._places:
            raise ValueError("it waits already")
        goes: T | None = None
        if len(self) >= self.most:
            if len(self) > self.most or not self._lanes:        # there is no room, or it was made smaller
                return waiter
            lowest = self._lane_that_loses(now)
            goes, came = self._oldest_of(lowest)
            if lowest > priority and now - came[0] < self.wait_s:
                return waiter
            self.leave(goes)
        self._entered += 1
        self._lane(priority, now).queue(kind)[waiter] = now, self._entered
        self._places[waiter] = priority, kind
        return goes

    def next(self, now: float, kinds: Collection[int] | None = None) -> T | None:
        """Return who gets the free place, no longer in the room; None when nobody waits whose time is not up.

        `kinds`: those the place is for; None: all.
        """
        for priority in sorted(self._lanes, reverse=True):
            lane = self._lanes[priority]
            pressed = now - lane.since > STANDS * self.wait_s
            found = lane.newest(kinds) if pressed else lane.oldest(kinds)
            # Whoever is late has made this lane stand for longer than it takes to be pressed: then this is the newest,
            # and if that one is late, all are.
            if found is not None and now - found[1][0] < self.wait_s:
                self.leave(found[0])
                return found[0]
        return None

    def back(self, waiter: T, priority: int, came: float, kind: int = 0) -> None:
        """Let `waiter` in again, whom `next` gave a place that it could not take. `came`: when it entered.

        It waits among those who came when it did, until its time is up, and goes for nobody: it was in when the others
        came. Raises ValueError when it is in the room already.
        """
        if waiter in self._places:
            raise ValueError("it waits already")
        lane = self._lane(priority, came)
        lane.since = min(lane.since, came)
        lane.put_back(waiter, kind, (came, 0))
        self._places[waiter] = priority, kind

    def late(self, now: float) -> list[T]:
        """Return all whose time is up, no longer in the room."""
        gone: list[T] = []
        for lane in list(self._lanes.values()):
            while (oldest := lane.oldest()) is not None and now - oldest[1][0] >= self.wait_s:
                gone.append(oldest[0])
                self.leave(gone[-1])
        return gone

    def leave(self, waiter: T) -> bool:
        """Take `waiter` out; whether it was in the room."""
        place = self._places.pop(waiter, None)
        if place is None:
            return False
        priority, kind = place
        lane = self._lanes[priority]
        lane.remove(waiter, kind)
        if not lane.queues:
            del self._lanes[priority]
        return True

    def _lane(self, priority: int, now: float) -> _Lane[T]:
        lane = self._lanes.get(priority)
        if lane is None:
            lane = self._lanes[priority] = _Lane(now)
        return lane

    def _oldest_of(self, priority: int) -> tuple[T, Came]:
        oldest = self._lanes[priority].oldest()
        assert oldest is not None, "a lane that nobody waits in"
        return oldest

    def _lane_that_loses(self, now: float) -> int:
        late = [priority for priority in self._lanes if now - self._oldest_of(priority)[1][0] >= self.wait_s]
        return min(late or self._lanes)


class _Lane(Generic[T]):
    """Those of one priority, by kind, each kind's oldest first, and since when there have been any. An OrderedDict,
    since the first of a dict that loses its first ones all the time is not found at once."""

    __slots__ = ("queues", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self.queues: dict[int, OrderedDict[T, Came]] = {}       # none of them empty

    def queue(self, kind: int) -> OrderedDict[T, Came]:
        """Of this kind, to put somebody in."""
        found = self.queues.get(kind)
        if found is None:
            found = self.queues[kind] = OrderedDict()
        return found

    def put_back(self, waiter: T, kind: int, came: Came) -> None:
        queue = self.queue(kind)
        if queue and came < next(iter(queue.values())):
            queue[waiter] = came
            queue.move_to_end(waiter, last=False)
            return
        later = list(takewhile(lambda other: queue[other] > came, reversed(queue)))
        queue[waiter] = came
        for other in reversed(later):
            queue.move_to_end(other)

    def remove(self, waiter: T, kind: int) -> None:
        queue = self.queues[kind]
        del queue[waiter]
        if not queue:
            del self.queues[kind]

    def oldest(self, kinds: Collection[int] | None = None) -> tuple[T, Came] | None:
        """Who of these kinds came first, and when; None where nobody is of them."""
        firsts = [next(iter(queue.items())) for kind, queue in self.queues.items() if kinds is None or kind in kinds]
        return min(firsts, key=_came, default=None)

    def newest(self, kinds: Collection[int] | None = None) -> tuple[T, Came] | None:
        """Who of these kinds came last, and when; None where nobody is of them."""
        lasts = [next(reversed(queue.items())) for kind, queue in self.queues.items() if kinds is None or kind in kinds]
        return max(lasts, key=_came, default=None)


def _came(waiter: tuple[T, Came]) -> Came:
    return waiter[1]
