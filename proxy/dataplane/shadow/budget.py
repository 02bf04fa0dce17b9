"""What one route's copies may take of a worker, and what became of them.

It outlives the snapshots: what is in flight under an older one still counts. A shadow that fails `PATIENCE` copies in a
row gets none for `REST_S`, and then `TRIAL` at once until it answers one: thousands of connections made in vain each
second would cost clients more than all the rest. Invariant: `held` and the number of copies are within their caps, and
both are 0 again when every copy has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.shedding import Shedder
from proxy.core.split import advance

if TYPE_CHECKING:
    from proxy.dataplane.shadow.copy import Copy
    from proxy.telemetry.counters import ShadowTally


PATIENCE = 20
REST_S = 1.0
TRIAL = 5
_FAILED = frozenset({"connect", "closed", "broken", "timeout", "endless"})


class Budget:
    """See the module. `memory`: bytes, `most`: copies; both are this worker's share. `most_now`: fewer copies while the
    shadow fails."""

    __slots__ = ("_failures", "_looked_at", "_made", "_picking", "_rests_until", "_share", "_tally", "answered",
                 "answered_s", "copies", "drawn", "held", "memory", "most", "most_now", "per_second", "shedder")

    def __init__(self, tally: ShadowTally, now: float) -> None:
        self._tally = tally
        self._failures = 0
        self._rests_until: float | None = None
        self._looked_at = now
        self._made = 0                      # copies whose answers could be compared, since the last sweep
        self._share = 1.0                   # of them that are
        self._picking = 0.0
        self.per_second = 1.0
        self.memory = 0
        self.most = 0
        self.most_now = 0
        self.held = 0
        self.copies: dict[Copy, None] = {}
        """Copies in flight, the oldest first."""
        self.shedder = Shedder(now)
        self.drawn = 0.0
        self.answered = 0
        """Clients whose request was copied and who have been answered, since the last sweep; `answered_s`: how long
        they waited together."""
        self.answered_s = 0.0

    def allow(self, memory: int, most: int, per_second: float) -> None:
        """What it may take from now on. `per_second`: answers that are compared."""
        self.memory = memory
        self.per_second = per_second
        if self.most_now == self.most:
            self.most_now = most
        self.most = most

    def why_full(self, copies: int) -> str:
        """Why there is no room for so many more copies; empty where there is."""
        if len(self.copies) + copies <= self.most_now:
            return ""
        return "in_flight" if self.most_now == self.most else "failing"

    def picks(self) -> bool:
        """Whether the answers to the next copy are compared: of too many, some are picked, evenly over time."""
        self._made += 1
        if self._share >= 1.0:
            return True
        self._picking = picking = advance(self._picking)
        if picking < self._share:
            return True
        self.skip("beyond_rate")
        return False

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not (self.copies or self.held)

    def reserve(self, size: int) -> bool:
        """Take so many bytes; False, and nothing taken, where they are not there."""
        if self.held + size > self.memory:
            return False
        self.held += size
        return True

    def skip(self, reason: str) -> None:
        """Count a request that was not copied, or whose copy came to nothing that could be compared."""
        skipped = self._tally.skipped
        skipped[reason] = skipped.get(reason, 0) + 1

    def count(self, outcome: str) -> None:
        """Count a copy that has ended."""
        outcomes = self._tally.outcomes
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if outcome == "answered":
            self._failures = 0
            self.most_now = self.most
        elif outcome in _FAILED:
            self._failures += 1
            if self._failures >= PATIENCE:
                self.most_now = 0

    def look(self, now: float, lag_s: float) -> None:
        """Shed copies where the worker or the route has trouble (see `core.shedding`), compare as many as it may, end a
        rest in its time."""
        self._tally.fraction = self.shedder.look(now, lag_s, self.answered, self.answered_s)
        self.answered, self.answered_s = 0, 0.0
        allowed = self.per_second * (now - self._looked_at)
        self._share = 1.0 if self._made <= allowed else allowed / self._made
        self._looked_at, self._made = now, 0
        if self.most_now:
            self._rests_until = None
        elif self._rests_until is None:
            self._rests_until = now + REST_S
        elif now >= self._rests_until:
            self.most_now, self._rests_until = min(TRIAL, self.most), None
