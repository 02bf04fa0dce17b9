"""How the health of a version's servers is judged, as the operator wrote it. All are frozen and already validated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Probe:
    """What the supervisor asks a server every `interval_s` seconds, and which answers are good.

    `status`: ranges of good statuses, ends included. `body`: text that the first 64 KiB of the answer must contain;
    None for any. `host`: the Host of the probe; None for the server's address. `rise` good answers in a row bring a
    server in, `fall` bad ones put it out. `phi_warn` and `phi_out`: the suspicion (see `core.health.phi`) at which a
    server that is silent becomes suspect, and at which it is out; None: never.
    """

    path: str = "/"
    interval_s: float = 1.0
    timeout_s: float = 0.5
    rise: int = 2
    fall: int = 3
    status: tuple[tuple[int, int], ...] = ((200, 299),)
    body: str | None = None
    host: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    phi_warn: float | None = 5.0
    phi_out: float | None = None


@dataclass(frozen=True, slots=True)
class Ejection:
    """When a server that fails real requests gets no more of them.

    `failures` in a row (no connection, reset, time-out, 502, 503 or 504) put it out for `first_s` seconds, each further
    time twice as long, `most_s` at most; then one real request is the probation.
    """

    failures: int = 5
    first_s: float = 1.0
    most_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a whole version gets no more requests, as long as another can take them.

    Of at least `requests` attempts in the last `window_s` seconds more than the part `share` (0 to 1) failed or were
    answered with a 5xx: it is open for `open_s` seconds; then `trials` requests must all succeed to close it.
    """

    share: float = 0.5
    requests: int = 20
    window_s: float = 10.0
    open_s: float = 2.0
    trials: int = 5


@dataclass(frozen=True, slots=True)
class Health:
    """How a version's servers are judged; None where that way of judging is off.

    `panic`: the part (0 to 1) of its servers below which health is disregarded: so few would be drowned.
    `slow_start_s`: how long a server that comes back takes to get its full part of the requests; 0: at once.
    """

    probe: Probe | None = None
    ejection: Ejection | None = Ejection()
    breaker: Breaker | None = Breaker()
    panic: float = 0.3
    slow_start_s: float = 0.0
