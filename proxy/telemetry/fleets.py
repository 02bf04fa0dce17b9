"""What a worker counts of a version: who waits for a place, who had to go, what its servers have in flight."""

from __future__ import annotations

from proxy.telemetry.names import (
    CONCURRENCY_LIMIT,
    QUEUE_LENGTH,
    QUEUED,
    SERVER_INFLIGHT,
    SHED,
    Series,
)


class FleetTally:
    """One version. `waiting`, `limit` (of requests in flight; None without one) and `in_flight` (by server address) are
    absolute; `queued`, requests that had to wait, and `reasons`, why requests were shed, grow until they are collected.
    """

    __slots__ = ("in_flight", "limit", "queued", "reasons", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self.limit: int | None = None
        self.in_flight: dict[str, int] = {}
        self.queued = 0
        self.reasons: dict[str, int] = {}

    def shed(self, reason: str) -> None:
        """Count a request that found no place: one of `counters.SHED_REASONS`."""
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def collect(self, version: str, counters: list[Series], gauges: list[Series]) -> None:
        """Add what there is to the lists, and take away what was counted."""
        reasons, self.reasons = self.reasons, {}
        queued, self.queued = self.queued, 0
        counters += [(SHED, (version, reason), count) for reason, count in reasons.items()]
        if queued:
            counters.append((QUEUED, (version,), queued))
        if self.waiting:
            gauges.append((QUEUE_LENGTH, (version,), self.waiting))
        if self.limit is not None:
            gauges.append((CONCURRENCY_LIMIT, (version,), self.limit))
        gauges += [(SERVER_INFLIGHT, (version, server), count) for server, count in self.in_flight.items() if count]
