"""What a worker counts: plain attributes that the data path adds to, and `collect`, which takes away what was added.

Invariant: every increment leaves in exactly one delta. What was not yet collected waits here, and takes no more memory
however long it waits: labels come from the configuration, never from requests.

The end of a request is one call of `Tally.done` (0.2 µs). Dictionaries are swapped for empty ones when they are
collected, so an idle route costs one look per collection, and no difference is ever computed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable
from typing import NamedTuple

from proxy.telemetry.fleets import FleetTally
from proxy.telemetry.histogram import BOUNDS
from proxy.telemetry.names import (
    ACCEPT_PAUSED,
    ACCEPTED,
    ACCESS_LOG_FAILED,
    ATTEMPTS,
    BUDGET_EXHAUSTED,
    CLIENT_LIMITED,
    CONNECTIONS,
    DIVERTED,
    DURATION,
    INFLIGHT,
    LAG,
    LOG_DROPPED,
    PAUSE_REASONS,
    RECEIVED,
    REFUSALS,
    REQUESTS,
    RESCUES,
    RETRIES,
    SENT,
    SHADOW_FRACTION,
    SHADOW_REQUESTS,
    SHADOW_SKIPPED,
    TUNNELS,
    TUNNELS_WITHDRAWN,
    UPSTREAM_CONNECTIONS,
    UPSTREAM_ERRORS,
    HistogramSeries,
    Series,
)


class Delta(NamedTuple):
    """What one collection took, in the shape of `ipc.messages.Stats` without its number."""

    counters: list[Series]
    gauges: list[Series]
    histograms: list[HistogramSeries]


class Tally:
    """The requests of one route that one version answered.

    The data path raises `inflight` when it has chosen the version and calls `done` when the request has ended;
    `retries` counts attempts at this version that were given up for another one. `received` and `sent` are bytes of
    bodies and tunnels, from clients and to them, counted as they pass: with the framing of chunks, without heads.
    `tunnels` are open now; `withdrawn` are those that were closed because the version was taken out of service.

    `attempts`: those at this version that did not end with a good answer, by one of `names.ATTEMPT_OUTCOMES`;
    `not_good`: how many of the `codes` were no good answers of a server. `rescues`: requests that failed here and went
    to the baseline, by what came of that. `diverted`: those that went there at once, since this version was down.
    """

    __slots__ = ("_collected", "attempts", "buckets", "codes", "diverted", "inflight", "not_good", "received",
                 "rescues", "retries", "route", "seconds", "sent", "tunnels", "version", "withdrawn")

    def __init__(self, route: str, version: str) -> None:
        self.route = route
        self.version = version
        self.inflight = 0
        self.retries = 0
        self.codes: dict[int, int] = {}
        self.buckets: dict[int, int] = {}
        self.seconds = 0.0
        self.received = self.sent = 0
        self.tunnels = self.withdrawn = 0
        self.attempts: dict[str, int] = {}
        self.rescues: dict[str, int] = {}
        self.diverted = self.not_good = 0
        self._collected = 0

    def attempt_failed(self, outcome: str) -> None:
        """Count an attempt that did not end with a good answer."""
        self.attempts[outcome] = self.attempts.get(outcome, 0) + 1

    def rescued(self, outcome: str) -> None:
        """Count a request that failed here, by what the baseline made of it: one of `RESCUE_OUTCOMES`."""
        self.rescues[outcome] = self.rescues.get(outcome, 0) + 1

    @property
    def begun(self) -> int:
        """How many requests there ever were. Not for the hot path."""
        return self._collected + sum(self.codes.values()) + self.inflight

    def done(self, code: int, seconds: float) -> None:
        """Count a request that ended with status `code` after `seconds`; takes it out of `inflight`."""
        self.inflight -= 1
        self.seconds += seconds
        codes = self.codes
        try:
            codes[code] += 1
        except KeyError:
            codes[code] = 1
        buckets = self.buckets
        index = bisect_left(BOUNDS, seconds)
        try:
            buckets[index] += 1
        except KeyError:
            buckets[index] = 1

    @property
    def key(self) -> tuple[str, str]:
        """What it counts: route and version."""
        return self.route, self.version

    @property
    def idle(self) -> bool:
        """Whether there is nothing to collect and nothing in flight."""
        return not (self.inflight or self.tunnels or self.told)

    @property
    def told(self) -> bool:
        """Whether there is anything to collect."""
        return bool(self.codes or self.sent or self.received or self.retries or self.withdrawn or self.attempts
                    or self.rescues or self.diverted)

    def collect(self, counters: list[Series], histograms: list[HistogramSeries]) -> None:
        """Add what was counted since the last call to these lists, and take it away."""
        key = self.key
        codes, self.codes = self.codes, {}
        ended = sum(codes.values())
        self._collected += ended
        counters += [(REQUESTS, (*key, str(code)), count) for code, count in codes.items()]
        attempts, self.attempts = self.attempts, {}
        if good := ended - self.not_good:
            counters.append((ATTEMPTS, (*key, "answered"), good))
        counters += [(ATTEMPTS, (*key, outcome), count) for outcome, count in attempts.items()]
        rescues, self.rescues = self.rescues, {}
        counters += [(RESCUES, (*key, outcome), count) for outcome, count in rescues.items()]
        counters += [(name, key, value) for name, value in (
            (RETRIES, self.retries), (RECEIVED, self.received), (SENT, self.sent),
            (TUNNELS_WITHDRAWN, self.withdrawn), (DIVERTED, self.diverted)) if value]
        self.retries = self.received = self.sent = self.withdrawn = self.diverted = self.not_good = 0
        if self.buckets:
            histograms.append((DURATION, key, self.buckets, self.seconds))
            self.buckets = {}
            self.seconds = 0.0


class ShadowTally:
    """The copies of one route. `outcomes`: how they ended; `skipped`: why there was none, or nothing to compare.

    `fraction`: what is left of the copies that are asked for, 0 to 1.
    """

    __slots__ = ("fraction", "outcomes", "skipped")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.skipped: dict[str, int] = {}
        self.fraction = 1.0


class Counters:
    """Everything one worker counts. The plain attributes are for the data path to add to.

    `connections`, `upstream_connections` (open now), `lag_s` (the event loop's worst delay, kept by whoever measures
    it), `log_failed` (whether the access log cannot be written just now) and `accept_paused` (one of `PAUSE_REASONS`,
    or empty while connections are accepted) are absolute; the others are increments since the last collection.
    """

    __slots__ = (
        "_exhausted", "_fleets", "_retained", "_retained_shadows", "_shadows", "_tallies", "_upstream_errors",
        "accept_paused", "accepted", "client_limited", "connections", "lag_s", "log_dropped", "log_failed", "refusals",
        "upstream_connections",
    )

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._retained: set[tuple[str, str]] = set()
        self._upstream_errors: dict[tuple[str, str, str], int] = {}
        self._shadows: dict[str, ShadowTally] = {}
        self._retained_shadows: set[str] = set()
        self._fleets: dict[str, FleetTally] = {}
        self._exhausted: dict[str, int] = {}
        self.connections = 0
        self.upstream_connections = 0
        self.lag_s = 0.0
        self.accepted = 0
        self.log_dropped = 0
        self.log_failed = False
        self.accept_paused = ""
        self.client_limited: dict[str, int] = {}
        self.refusals: dict[str, int] = {}

    def tally(self, route: str, version: str) -> Tally:
        """Return the tally of a route's version, always the same; ask when a snapshot is applied, not per request."""
        key = (route, version)
        self._retained.add(key)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(route, version)
        return tally

    def retain(self, keys: Iterable[tuple[str, str]]) -> None:
        """Let go of every other (route, version) once its requests have ended and were collected."""
        self._retained = set(keys)
        self._let_go()

    def _let_go(self) -> None:
        for key in self._tallies.keys() - self._retained:
            if self._tallies[key].idle:
                del self._tallies[key]

    def shadow(self, route: str) -> ShadowTally:
        """Return the tally of a route's copies, always the same."""
        self._retained_shadows.add(route)
        return self._shadows.setdefault(route, ShadowTally())

    def retain_shadows(self, routes: Iterable[str]) -> None:
        """Let go of the copies of every other route once they were collected."""
        self._retained_shadows = set(routes)

    def fleet(self, version: str) -> FleetTally:
        """Return the tally of a version, always the same."""
        return self._fleets.setdefault(version, FleetTally())

    def retain_fleets(self, versions: Collection[str]) -> None:
        """Let go of every other version."""
        for version in self._fleets.keys() - set(versions):
            del self._fleets[version]

    def budget_exhausted(self, route: str) -> None:
        """Count a retry or rescue of this route that was not made."""
        self._exhausted[route] = self._exhausted.get(route, 0) + 1

    def refused(self, slug: str) -> None:
        """Count an answer that the proxy gave itself, by the slug of its refusal."""
        self.refusals[slug] = self.refusals.get(slug, 0) + 1

    def limited(self, limit: str) -> None:
        """Count a connection or a request that was one too many of its client's address: one of `CLIENT_LIMITS`."""
        self.client_limited[limit] = self.client_limited.get(limit, 0) + 1

    def upstream_error(self, version: str, server: str, kind: str) -> None:
        """Count an attempt that failed at a server: `kind` is the slug of the refusal it would be answered with."""
        key = (version, server, kind)
        self._upstream_errors[key] = self._upstream_errors.get(key, 0) + 1

    def collect(self) -> Delta:
        """Take what was counted since the last call; a gauge that is not named is 0."""
        counters = self._collect_plain()
        gauges: list[Series] = [
            (CONNECTIONS, (), self.connections),
            (UPSTREAM_CONNECTIONS, (), self.upstream_connections),
            (LAG, (), self.lag_s),
            (ACCESS_LOG_FAILED, (), int(self.log_failed)),
            *((ACCEPT_PAUSED, (reason,), int(reason == self.accept_paused)) for reason in PAUSE_REASONS),
        ]
        self.lag_s = 0.0
        histograms: list[HistogramSeries] = []
        for key, tally in self._tallies.items():
            if tally.told:
                tally.collect(counters, histograms)
            if tally.inflight:
                gauges.append((INFLIGHT, key, tally.inflight))
            if tally.tunnels:
                gauges.append((TUNNELS, key, tally.tunnels))
        self._let_go()
        self._collect_shadows(counters, gauges)
        for version, fleet in self._fleets.items():
            fleet.collect(version, counters, gauges)
        return Delta(counters, gauges, histograms)

    def _collect_shadows(self, counters: list[Series], gauges: list[Series]) -> None:
        for route, tally in list(self._shadows.items()):
            outcomes, tally.outcomes = tally.outcomes, {}
            skipped, tally.skipped = tally.skipped, {}
            counters += [(SHADOW_REQUESTS, (route, outcome), count) for outcome, count in outcomes.items()]
            counters += [(SHADOW_SKIPPED, (route, reason), count) for reason, count in skipped.items()]
            if route in self._retained_shadows:
                gauges.append((SHADOW_FRACTION, (route,), tally.fraction))
            else:
                del self._shadows[route]

    def _collect_plain(self) -> list[Series]:
        counters: list[Series] = [
            (name, (), value)
            for name, value in ((ACCEPTED, self.accepted), (LOG_DROPPED, self.log_dropped)) if value
        ]
        self.accepted = self.log_dropped = 0
        refusals, self.refusals = self.refusals, {}
        counters += [(REFUSALS, (slug,), count) for slug, count in refusals.items()]
        exhausted, self._exhausted = self._exhausted, {}
        counters += [(BUDGET_EXHAUSTED, (route,), count) for route, count in exhausted.items()]
        limited, self.client_limited = self.client_limited, {}
        counters += [(CLIENT_LIMITED, (limit,), count) for limit, count in limited.items()]
        errors, self._upstream_errors = self._upstream_errors, {}
        counters += [(UPSTREAM_ERRORS, labels, count) for labels, count in errors.items()]
        return counters
