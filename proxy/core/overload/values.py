"""How much a version is given at once, as the operator wrote it. All are frozen and already validated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Adaptive:
    """A limit on requests in flight that follows the latency. `smallest`, `largest`: its bounds, of all workers
    together."""

    smallest: int = 8
    largest: int = 1_000


@dataclass(frozen=True, slots=True)
class Load:
    """What a version and each of its servers may have in flight, all workers together; None: as much as comes.

    `queue`: requests that may wait for a place, 0 for none; `wait_s`: how long.
    """

    in_flight: int | None = None
    per_server: int | None = None
    queue: int = 0
    wait_s: float = 1.0
    adaptive: Adaptive | None = None
