"""Failed log-ins: how many an address may have, and what is told of them.

Invariant: only failures are limited. A right token is let through whatever its address did before, since whoever shares
an address (a sidecar, a NAT, this machine itself) must not be able to lock the operator out; guessing gets no easier
by that, because a guess is a failure until it is right.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass

BURST = 10
"""Failures at once: a deployment whose token was changed, with all its pods behind one address."""
EVERY_S = 6.0
"""And one more after so many seconds: 14,400 guesses a day, at tokens of 2^64 and more."""
ADDRESSES = 1024
"""Addresses that are remembered, about 200 KiB; the one that failed longest ago is forgotten first."""
TELL_EVERY_S = 60.0
_TOLD_AT_MOST = 20
"""Reports in `TELL_EVERY_S` for all addresses together: a million addresses must not fill the journal."""


@dataclass(slots=True)
class _Record:
    credit: float
    at: float
    told_at: float
    untold: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """What follows from one: `retry_after_s` is 0 unless it was one too many; `tell`: how many to report now, or 0."""

    retry_after_s: int
    tell: int


class Failures:
    """The failed log-ins of a while. Times are seconds of any clock that never goes back."""

    def __init__(self) -> None:
        self.total = 0
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._window_at = -math.inf
        self._told = 0

    def __len__(self) -> int:
        return len(self._records)

    def add(self, address: str, now: float) -> Failure:
        """Note a failed log-in from this address."""
        self.total += 1
        record = self._record(network_of(address), now)
        record.credit = min(BURST, record.credit + (now - record.at) / EVERY_S)
        record.at = now
        record.untold += 1
        if record.credit < 1.0:
            return Failure(math.ceil((1.0 - record.credit) * EVERY_S), self._tell(record, now))
        record.credit -= 1.0
        return Failure(0, self._tell(record, now))

    def _record(self, network: str, now: float) -> _Record:
        record = self._records.pop(network, None) or _Record(BURST, now, -math.inf)
        self._records[network] = record
        if len(self._records) > ADDRESSES:
            self._records.popitem(last=False)
        return record

    def _tell(self, record: _Record, now: float) -> int:
        """How many failures of an address to report now: at most one report per address and minute, and 20 in all."""
        if now - self._window_at >= TELL_EVERY_S:
            self._window_at, self._told = now, 0
        if now - record.told_at < TELL_EVERY_S or self._told >= _TOLD_AT_MOST:
            return 0
        self._told += 1
        record.told_at = now
        untold, record.untold = record.untold, 0
        return untold


def network_of(address: str) -> str:
    """What counts as one address: itself, or the /64 of an IPv6 address, which one host has to itself (RFC 6177).

    Of `unix uid=1000 pid=7` the process does not count: its user has as many as it wants.
    """
    address = address.partition(" pid=")[0]
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
