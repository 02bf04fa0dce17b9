"""What a worker counts: plain attributes that the data path adds to, and `collect`, which takes away what was added.

Invariant: every increment leaves in exactly one delta. What was not yet collected waits here, and takes no more memory
however long it waits: labels come from the configuration, never from requests.

The end of a request is one call of `Tally.done` (0.2 µs). Dictionaries are swapped for empty ones when they are
collected, so an idle route costs one look per collection, and no difference is ever computed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from proxy.telemetry.histogram import BOUNDS

REQUESTS = "turnout_requests_total"
DURATION = "turnout_request_duration_seconds"
INFLIGHT = "turnout_inflight_requests"
RETRIES = "turnout_retries_total"
UPSTREAM_ERRORS = "turnout_upstream_errors_total"
REFUSALS = "turnout_refusals_total"
CONNECTIONS = "turnout_connections"
ACCEPTED = "turnout_connections_accepted_total"
UPSTREAM_CONNECTIONS = "turnout_upstream_connections"
RECEIVED = "turnout_client_received_bytes_total"
SENT = "turnout_client_sent_bytes_total"
LAG = "turnout_event_loop_lag_seconds"
LOG_DROPPED = "turnout_log_lines_dropped_total"
ACCESS_LOG_FAILED = "turnout_access_log_failed"
TUNNELS = "turnout_tunnels"
TUNNELS_WITHDRAWN = "turnout_tunnels_withdrawn_total"
SHADOW_REQUESTS = "turnout_shadow_requests_total"
SHADOW_SKIPPED = "turnout_shadow_skipped_total"
SHADOW_FRACTION = "turnout_shadow_fraction"
ATTEMPTS = "turnout_attempts_total"
RESCUES = "turnout_rescues_total"
DIVERTED = "turnout_diverted_total"
BUDGET_EXHAUSTED = "turnout_retry_budget_exhausted_total"
QUEUE_LENGTH = "turnout_queue_length"
QUEUED = "turnout_queued_total"
SHED = "turnout_shed_total"
CONCURRENCY_LIMIT = "turnout_concurrency_limit"
SERVER_INFLIGHT = "turnout_server_inflight"
CLIENT_LIMITED = "turnout_client_limited_total"
ACCEPT_PAUSED = "turnout_accept_paused"

ATTEMPT_OUTCOMES = ("answered", "error", "connect", "reset", "timeout", "bad-answer", "gone", "withdrawn")
"""How an attempt can end: a good answer, one with a 5xx, no answer in several ways, or nobody left who wants one."""
RESCUE_OUTCOMES = ("answered", "failed")
SHED_REASONS = ("queue-full", "queue-timeout", "no-place", "spill")
CLIENT_LIMITS = ("connections", "rate")
PAUSE_REASONS = ("connections", "descriptors", "memory")
"""Why a worker accepts no connections: it has as many as it may, or can, or it is too large."""

LABELS: dict[str, tuple[str, ...]] = {
    REQUESTS: ("route", "version", "code"),
    DURATION: ("route", "version"),
    INFLIGHT: ("route", "version"),
    RETRIES: ("route", "version"),
    UPSTREAM_ERRORS: ("version", "server", "kind"),
    REFUSALS: ("reason",),
    CONNECTIONS: (),
    ACCEPTED: (),
    UPSTREAM_CONNECTIONS: (),
    RECEIVED: ("route", "version"),
    SENT: ("route", "version"),
    LAG: (),
    LOG_DROPPED: (),
    ACCESS_LOG_FAILED: (),
    TUNNELS: ("route", "version"),
    TUNNELS_WITHDRAWN: ("route", "version"),
    SHADOW_REQUESTS: ("route", "outcome"),
    SHADOW_SKIPPED: ("route", "reason"),
    SHADOW_FRACTION: ("route",),
    ATTEMPTS: ("route", "version", "outcome"),
    RESCUES: ("route", "version", "outcome"),
    DIVERTED: ("route", "version"),
    BUDGET_EXHAUSTED: ("route",),
    QUEUE_LENGTH: ("version",),
    QUEUED: ("version",),
    SHED: ("version", "reason"),
    CONCURRENCY_LIMIT: ("version",),
    SERVER_INFLIGHT: ("version", "server"),
    CLIENT_LIMITED: ("limit",),
    ACCEPT_PAUSED: ("reason",),
}
"""The label names of each metric, in the order in which a delta carries their values."""

Series = tuple[str, tuple[str, ...], float]
HistogramSeries = tuple[str, tuple[str, ...], dict[int, int], float]


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
    """

    __slots__ = ("buckets", "codes", "inflight", "received", "retries", "route", "seconds", "sent", "tunnels",
                 "version", "withdrawn")

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
        return bool(self.codes or self.sent or self.received or self.retries or self.withdrawn)


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
        "_retained", "_retained_shadows", "_shadows", "_tallies", "_upstream_errors",
        "accept_paused", "accepted", "client_limited", "connections", "lag_s", "log_dropped", "log_failed", "refusals",
        "upstream_connections",
    )

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._retained: set[tuple[str, str]] = set()
        self._upstream_errors: dict[tuple[str, str, str], int] = {}
        self._shadows: dict[str, ShadowTally] = {}
        self._retained_shadows: set[str] = set()
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
                self._collect_tally(key, tally, counters, histograms)
            if tally.inflight:
                gauges.append((INFLIGHT, key, tally.inflight))
            if tally.tunnels:
                gauges.append((TUNNELS, key, tally.tunnels))
        self._let_go()
        self._collect_shadows(counters, gauges)
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
        limited, self.client_limited = self.client_limited, {}
        counters += [(CLIENT_LIMITED, (limit,), count) for limit, count in limited.items()]
        errors, self._upstream_errors = self._upstream_errors, {}
        counters += [(UPSTREAM_ERRORS, labels, count) for labels, count in errors.items()]
        return counters

    @staticmethod
    def _collect_tally(
        key: tuple[str, str], tally: Tally, counters: list[Series], histograms: list[HistogramSeries]
    ) -> None:
        codes, tally.codes = tally.codes, {}
        counters += [(REQUESTS, (*key, str(code)), count) for code, count in codes.items()]
        counters += [(name, key, value) for name, value in (
            (RETRIES, tally.retries), (RECEIVED, tally.received), (SENT, tally.sent),
            (TUNNELS_WITHDRAWN, tally.withdrawn)) if value]
        tally.retries = tally.received = tally.sent = tally.withdrawn = 0
        if tally.buckets:
            histograms.append((DURATION, key, tally.buckets, tally.seconds))
            tally.buckets = {}
            tally.seconds = 0.0
