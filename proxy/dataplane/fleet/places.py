"""How many requests a version is given at once, and who waits for the next place.

Invariants: while somebody waits nobody overtakes, except by what `core.overload.waiting` says; whoever waited too long,
or finds the room full, is told so at once; a free place is given to the first of those who can take it, and who is
called but finds none after all waits on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.balance import UNBOUNDED
from proxy.core.overload.gradient import Gradient
from proxy.core.overload.waiting import WaitingRoom
from proxy.core.retry import IDEMPOTENT

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from proxy.clock import Clock
    from proxy.core.overload.values import Load
    from proxy.dataplane.fleet.fleet import Fleet
    from proxy.dataplane.placing import Placing
    from proxy.telemetry.fleets import FleetTally

REPEATABLE, REGARDLESS = 1, 2
"""What is asked of who waits: whether its request may be repeated, and whether it goes to a version that is down. Each
of the four kinds is the sum of what holds for it."""
EVERYBODY, NOBODY = frozenset(range(4)), frozenset[int]()
REPEATABLES = frozenset(kind for kind in EVERYBODY if kind & REPEATABLE)
THE_REGARDLESS = frozenset(kind for kind in EVERYBODY if kind & REGARDLESS)


class Places:
    """See the module. The limit itself is the fleet's: `Fleet.limit`."""

    __slots__ = ("_answered", "_answered_s", "_calling", "_clock", "_fleet", "_gradient", "_loop", "_peak", "_tally",
                 "cap", "room")

    def __init__(self, fleet: Fleet, loop: asyncio.AbstractEventLoop, clock: Clock, tally: FleetTally) -> None:
        self._fleet = fleet
        self._loop = loop
        self._clock = clock
        self._tally = tally
        self._gradient: Gradient | None = None
        self._peak = 0
        self._answered, self._answered_s = 0, 0.0
        self._calling = False
        self.cap = UNBOUNDED
        self.room: WaitingRoom[Placing] = WaitingRoom(0, 1.0)

    def follow(self, load: Load, workers: int) -> None:
        """Go by this from now on; each worker has an even share, and at least one place."""
        self.cap = UNBOUNDED if load.in_flight is None else max(1, load.in_flight // workers)
        self.room.most = 0 if not load.queue else max(1, load.queue // workers)
        self.room.wait_s = load.wait_s
        if load.adaptive is None:
            self._gradient = None
        else:
            bounds = max(1, load.adaptive.smallest // workers), max(1, load.adaptive.largest // workers)
            if self._gradient is None or (self._gradient.smallest, self._gradient.largest) != bounds:
                self._gradient = Gradient(*bounds)
        self._fleet.limit = self.cap if self._gradient is None else min(self.cap, self._gradient.limit)

    @property
    def times(self) -> bool:
        """Whether it wants to know how long answers take."""
        return self._gradient is not None

    def has_place(self, asker: Placing) -> bool:
        """Whether this request may be sent now, and need not wait behind others."""
        fleet = self._fleet
        return fleet.taken - fleet.released < fleet.limit and (asker.is_called or asker.regardless or not self.room)

    def took(self, seconds: float) -> None:
        """An answer has come that took so long, and its place was given back, at a version that `times`."""
        self._answered += 1
        self._answered_s += seconds
        in_flight = self._fleet.taken - self._fleet.released + 1
        if in_flight > self._peak:
            self._peak = in_flight

    # ---- waiting

    def wait(self, asker: Placing, priority: int) -> bool:
        """Let it wait; False when there is no room for it. Who has to go in its place is told so."""
        if self.room.most <= 0:
            self._tally.shed("no-place")
            return False
        goes = self.room.enter(asker, priority, self._clock(), _kind(asker))
        if goes is not None:
            self._tally.shed("queue-full")
        if goes is asker:
            return False
        self._tally.queued += 1
        self._fleet.calm = self._fleet.silent = False
        if goes is not None:
            self._loop.call_soon(goes.no_place)     # its client may be the one whose data is being read
        return True

    def wait_on(self, asker: Placing, priority: int, since: float) -> None:
        """It was called, and has found no place after all: let it wait as if it had not been. `since`: of the clock."""
        self.room.back(asker, priority, since, _kind(asker))
        self._fleet.calm = self._fleet.silent = False

    def shed(self, reason: str) -> None:
        """Count a request that was sent away."""
        self._tally.shed(reason)

    def leave(self, asker: Placing) -> None:
        """It does not wait any more."""
        self.room.leave(asker)

    def call(self) -> None:
        """A place has become free, or may have: in the next turn of the loop those who wait are called."""
        if self.room and not self._calling:
            self._calling = True
            self._loop.call_soon(self._call_some)

    def _call_some(self) -> None:
        self._calling = False
        room = self.room
        for _ in range(len(room)):      # who goes elsewhere may come back
            kinds = self._fleet.who_finds_place()
            asker = room.next(self._clock(), kinds) if kinds else None
            if asker is None:
                break
            asker.place_free()
            if asker in room:           # it found none, by a snapshot of the meantime: the others are called later
                break
        if not room:
            self._fleet.recalm()

    def version_down(self) -> None:
        """Nobody waits for a version that is down, unless the operator wants it."""
        if self.room:
            self._loop.call_soon(self.send_on, _has_to_go)

    def send_on(self, whom: Callable[[Placing], bool]) -> None:
        """Have these choose anew, by the snapshot and by what is known of versions now."""
        for asker in list(self.room):
            if asker in self.room and whom(asker):
                asker.begin_again()

    # ---- time

    def sweep(self, now: float) -> None:
        """Tell those who waited too long; follow the latency."""
        for asker in self.room.late(now):
            self._tally.shed("queue-timeout")
            asker.no_place()
        if self._gradient is not None:
            self._fleet.limit = min(self.cap, self._gradient.look(now, self._answered, self._answered_s, self._peak))
            self._answered, self._answered_s, self._peak = 0, 0.0, self._fleet.total_in_flight
        self.tell()
        self.call()

    def tell(self) -> None:
        """Say how things stand, for the next report. Also right after a change: what is reported then is not older."""
        self._tally.waiting = len(self.room)
        self._tally.limit = None if self._fleet.limit == UNBOUNDED else self._fleet.limit
        self._tally.in_flight = {pool.label: self._fleet.in_flight(pool) for pool in self._fleet.servers}


def _has_to_go(asker: Placing) -> bool:
    return not asker.is_held


def _kind(asker: Placing) -> int:
    return REPEATABLE * (asker.request.method in IDEMPOTENT) + REGARDLESS * asker.regardless
