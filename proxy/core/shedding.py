"""How much of the shadowing is left when the worker or the route has trouble: down at once, up slowly.

Additive increase, multiplicative decrease (Chiu and Jain, 1989): each look that shows pressure halves the fraction,
each quiet second gives a twentieth back. Pressure is an event loop that is late, or a route whose clients wait clearly
longer than they did in its best recent times. Whether the shadow is to blame is not asked: copies are worth less than
clients.

Invariant: `fraction` is within 0 and 1, and without pressure it is 1 again after `1 / RISE_PER_S` seconds at most.
"""

from __future__ import annotations

LAG_S = 0.05
"""An event loop that is this late has no time for copies."""
SLOWER = 2.0
SLOWER_BY_S = 0.003
"""A route has trouble when its mean latency is more than `SLOWER` times its best one and `SLOWER_BY_S` above it."""
ENOUGH = 20
"""Answers that a mean needs to say anything."""
FORGET_S = 30.0
"""In this time the best latency that is remembered drifts up to the present one: services change."""
RISE_PER_S = 0.05
LEAST = 0.01
"""Below this nothing is copied at all."""


class Shedder:
    """The fraction of one route's copies that is still made. `now`: seconds of a clock that never goes back."""

    __slots__ = ("_best_s", "_looked_at", "fraction")

    def __init__(self, now: float) -> None:
        self.fraction = 1.0
        self._best_s: float | None = None
        self._looked_at = now

    def look(self, now: float, lag_s: float, answered: int, answered_s: float) -> float:
        """Take in what happened since the look before; returns the fraction.

        `lag_s`: the loop's worst delay. `answered`: how many of the route's clients were answered, `answered_s`: how
        many seconds they waited together.
        """
        passed_s, self._looked_at = max(0.0, now - self._looked_at), now
        slow = self._is_slow(passed_s, answered, answered_s)
        if lag_s > LAG_S or slow:
            self.fraction = self.fraction / 2 if self.fraction / 2 >= LEAST else 0.0
        else:
            self.fraction = min(1.0, self.fraction + RISE_PER_S * passed_s)
        return self.fraction

    def _is_slow(self, passed_s: float, answered: int, answered_s: float) -> bool:
        if answered < ENOUGH:
            return False
        mean_s, best_s = answered_s / answered, self._best_s
        if best_s is None or mean_s <= best_s:
            self._best_s = mean_s
            return False
        self._best_s = best_s + (mean_s - best_s) * min(1.0, passed_s / FORGET_S)
        return mean_s > SLOWER * best_s and mean_s > best_s + SLOWER_BY_S
