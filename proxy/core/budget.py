"""How many retries and rescues a route may have: a part of its requests in the last ten seconds, and a small floor.

Without it a failing version gets the more requests the more it fails. The idea is Finagle's RetryBudget. Invariants:
there are never more than `floor` for each second plus `share` of the requests, counted from the first call; and at once
never more than ten seconds earn. Nothing is owed: what could not be spent is not missing later.
"""

from __future__ import annotations

WINDOW_S = 10
"""For so long can be spent what was earned: long enough for a server that dies to be found out, too short for a quiet
night to pay for a storm."""
START_S = 10.0
"""For so many seconds the floor is there from the start: a server may be found dead by the very first requests."""
ROUNDING = 1e-9


class RetryBudget:
    """One route's budget in one worker. `share`: retries per request; `floor`: retries per second besides.

    `now`: seconds of a clock that never goes back. `requests_so_far`: a total that only grows. The first call starts
    the account, so what came before it earns nothing: hence `earn` is for the sweep, also while nothing fails.
    """

    __slots__ = ("_at", "_by_second", "_floor", "_floor_left", "_requests", "_share")

    def __init__(self, share: float, floor_per_s: float) -> None:
        self._share = share
        self._floor = floor_per_s
        self._floor_left = START_S * floor_per_s
        self._by_second: dict[int, float] = {}      # what is left of what each second's requests earned, oldest first
        self._at: float | None = None
        self._requests = 0

    def allow(self, share: float, floor_per_s: float) -> None:
        """Follow this rule from now on. What is there stays, as far as the new floor could have saved it."""
        self._share, self._floor = share, floor_per_s

    def earn(self, now: float, requests_so_far: int) -> None:
        """Credit what came since the call before; taken to have come evenly, so call it often: once a second, say."""
        before, self._at = self._at, now
        came, self._requests = max(0, requests_so_far - self._requests), requests_so_far
        if before is None:
            return
        self._floor_left = min(self._floor_left + self._floor * (now - before), WINDOW_S * self._floor)
        second = int(now)
        for old in [old for old in self._by_second if old <= second - WINDOW_S]:
            del self._by_second[old]
        for each in range(max(int(before), second - WINDOW_S + 1), second + 1):
            part = (min(now, each + 1) - max(before, each)) / (now - before) if now > before else 1.0
            self._by_second[each] = self._by_second.get(each, 0.0) + self._share * came * part

    def may_spend(self, now: float, requests_so_far: int) -> bool:
        """Whether one retry may be made now; True spends it."""
        self.earn(now, requests_so_far)
        if self.left() < 1.0 - ROUNDING:
            return False
        owed = 1.0
        for second, earned in list(self._by_second.items()):        # what is lost first is spent first
            owed -= earned
            if owed < 0.0:
                self._by_second[second] = -owed
                return True
            del self._by_second[second]
        self._floor_left = max(0.0, self._floor_left - owed)
        return True

    def left(self) -> float:
        """How many there were after the last call."""
        return self._floor_left + sum(self._by_second.values())
