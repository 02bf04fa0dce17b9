"""The life of a worker process as a table, and how long its successor waits. Nothing here does anything."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where in its life a worker process is."""

    STARTING = "starting"   # started; has not applied its first snapshot
    SERVING = "serving"     # accepts connections
    DRAINING = "draining"   # accepts nothing new, finishes what is in flight
    DEAD = "dead"           # the process has ended


class Event(StrEnum):
    """What moves it on."""

    APPLIED = "applied"     # it acknowledged a snapshot
    DRAIN = "drain"         # it was told to leave
    EXITED = "exited"       # the operating system reported its end


NEXT: dict[tuple[State, Event], State] = {
    (State.STARTING, Event.APPLIED): State.SERVING,
    (State.STARTING, Event.DRAIN): State.DRAINING,
    (State.STARTING, Event.EXITED): State.DEAD,
    (State.SERVING, Event.APPLIED): State.SERVING,
    (State.SERVING, Event.DRAIN): State.DRAINING,
    (State.SERVING, Event.EXITED): State.DEAD,
    (State.DRAINING, Event.APPLIED): State.DRAINING,
    (State.DRAINING, Event.DRAIN): State.DRAINING,
    (State.DRAINING, Event.EXITED): State.DEAD,
}
"""Nothing follows on DEAD: a successor is a new life, in the same slot and on the same sockets."""

FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 5.0
LIVED_WELL_S = 10.0


class Backoff:
    """How long to wait before a dead worker's successor is started.

    The first one starts at once, since connections wait; one that dies young doubles the wait, from 50 ms up to 5 s, so
    that a worker that cannot live does not eat the CPU; one that lived 10 s starts the count anew.
    """

    def __init__(self) -> None:
        self._young_deaths = 0

    def delay_s(self, lived_s: float) -> float:
        """Return the wait in seconds after a worker that lived `lived_s` seconds."""
        if lived_s >= LIVED_WELL_S:
            self._young_deaths = 0
        self._young_deaths += 1
        if self._young_deaths == 1:
            return 0.0
        # The exponent is bounded, or a worker that never lives would overflow the float after a day.
        doublings = min(self._young_deaths - 2, 16)
        return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0**doublings)
