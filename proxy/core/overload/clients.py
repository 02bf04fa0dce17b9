"""What one client may have: so many connections at once, and requests at a rate with a burst.

Clients are told apart by keys, which whoever reads their addresses makes. Invariant: what an attacker with many keys
makes us remember is bounded, and no call looks at more than a handful of entries, so no number of keys makes it slow.
"""

from __future__ import annotations

import math
from collections import OrderedDict

Key = str | bytes
"""One client. Empty: nobody in particular, or many at once, who are not limited."""

REMEMBERED = 65_536
"""Clients whose rate is remembered, with about 250 bytes each. To be forgotten early takes as many other clients who
ask meanwhile, and somebody who commands those has as many rates to spend anyway."""
_TIDIED = 4
"""Entries looked at whenever a new client is added: more leave than come, wherever there are any that may leave."""
_ROUNDING_S = 1e-6
"""Far above the error of a sum of times, far below what anybody notices."""


class Rates:
    """Token buckets, one for each client: `burst` requests at once, refilled with `rate` requests a second.

    A bucket is one number, the time at which it will be full again (the Generic Cell Rate Algorithm, ITU-T I.371
    annex A, which admits exactly what a token bucket does). So a full bucket says nothing and may be forgotten. They
    stand in the order of their last use, and full ones are looked for among those that were longest not used.
    """

    __slots__ = ("_full_at", "_interval_s", "_most", "_spare_s")

    def __init__(self, rate: float, burst: int | None = None, most: int = REMEMBERED) -> None:
        """`rate` in requests per second, above 0; `burst` of at least 1, None for as many as come in one second."""
        self._full_at: OrderedDict[Key, float] = OrderedDict()
        self._most = most
        self._interval_s = 1 / rate
        self._spare_s = ((max(1, math.ceil(rate)) if burst is None else burst) - 1) / rate + _ROUNDING_S

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._full_at)

    def take(self, key: Key, now: float) -> float:
        """Take a token; returns 0 where there was one, else the seconds until there will be one."""
        known = self._full_at
        full_at = known.get(key)
        if full_at is None:
            self.tidy(now, _TIDIED)
            if len(known) >= self._most:
                known.popitem(last=False)
            full_at = now
        else:
            known.move_to_end(key)
            wait_s = full_at - now - self._spare_s
            if wait_s > 0:
                return wait_s
            if full_at < now:
                full_at = now
        known[key] = full_at + self._interval_s
        return 0.0

    def tidy(self, now: float, most: int) -> None:
        """Forget those that were longest not used and are full, at most so many."""
        known = self._full_at
        for _ in range(min(most, len(known))):
            oldest = next(iter(known))
            if known[oldest] > now:
                return
            del known[oldest]


class Seats:
    """How many connections each client has. No larger than the number of connections."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: dict[Key, int] = {}

    def __len__(self) -> int:
        """How many clients have any."""
        return len(self._taken)

    def taken(self, key: Key) -> int:
        """How many connections this client has."""
        return self._taken.get(key, 0)

    def take(self, key: Key, most: int | None) -> bool:
        """Add a connection; False where the client has as many as `most` already (None: no limit), and adds none."""
        if not key:
            return True
        taken = self._taken.get(key, 0)
        if most is not None and taken >= most:
            return False
        self._taken[key] = taken + 1
        return True

    def leave(self, key: Key) -> None:
        """A connection that was added has ended."""
        if not key:
            return
        left = self._taken[key] - 1
        if left:
            self._taken[key] = left
        else:
            del self._taken[key]
