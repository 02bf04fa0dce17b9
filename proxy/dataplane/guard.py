"""What bounds the second tries of a route in one worker, whatever version they come from or go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.budget import RetryBudget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.core.route import Route
    from proxy.telemetry.counters import Tally


class Guard:
    """The budget of a route's retries and rescues, and what its baseline has taken over from versions that are down.

    One for each route as long as it is configured, whatever else changes.
    """

    __slots__ = ("_budget", "_spill", "_tallies", "spilled")

    def __init__(self, route: Route, workers: int) -> None:
        self._budget = RetryBudget(route.retry.budget, route.retry.floor / workers)
        self._tallies: Sequence[Tally] = ()
        self._spill = 0
        self.spilled = 0
        """Requests in flight at the baseline that were meant for another version."""

    def follow(self, route: Route, tallies: Sequence[Tally], workers: int) -> None:
        """Go by these rules from now on; `tallies`: of the route's versions."""
        self._budget.allow(route.retry.budget, route.retry.floor / workers)
        self._tallies = tallies
        self._spill = max(1, route.spill // workers) if route.spill else 0

    def spill(self) -> bool:
        """Take a place at the baseline for a request of a version that is down; False where there is none."""
        if self.spilled >= self._spill:
            return False
        self.spilled += 1
        return True

    def unspill(self) -> None:
        """Give it back."""
        self.spilled -= 1

    def may_spend(self, now: float) -> bool:
        """Whether one more retry or rescue may be made; True spends it."""
        return self._budget.may_spend(now, self._begun())

    def sweep(self, now: float) -> None:
        """Credit what has come."""
        self._budget.earn(now, self._begun())

    def _begun(self) -> int:
        return sum(tally.begun for tally in self._tallies)
