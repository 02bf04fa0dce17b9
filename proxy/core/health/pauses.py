"""When our own process stood still: what went wrong meanwhile says nothing about anybody else.

A tick that is expected every `TICK_S` seconds and comes late says so: the loop was busy, the process was stopped, the
machine slept.
"""

from __future__ import annotations

TICK_S = 0.1
"""How often the prober looks at the clock and at everybody's silence, in seconds."""
LATE_S = 0.1
"""So late a tick means a pause; what a busy machine delays everything by is less."""


class Pauses:
    """The ticks of one loop. `now`: seconds of a clock that never goes back."""

    __slots__ = ("_ended_at", "_ticked_at")

    def __init__(self, now: float) -> None:
        self._ticked_at = now
        self._ended_at: float | None = None

    def tick(self, now: float) -> float:
        """Take in a tick; for how many seconds the process stood still before it, 0 when it did not."""
        late_s = now - self._ticked_at - TICK_S
        self._ticked_at = now
        if late_s <= LATE_S:
            return 0.0
        self._ended_at = now
        return late_s

    def touched(self, since: float, now: float) -> bool:
        """Whether a pause fell between `since` and `now`, also one whose tick is still to come."""
        if now - self._ticked_at > TICK_S + LATE_S:
            return True
        return self._ended_at is not None and self._ended_at >= since
