"""What /metrics shows beside the counters: plain values that whoever serves it fills in for each scrape.

Telemetry knows neither the supervisor nor the journal nor the settings; it is told. Invariant: every label value that
/metrics may carry is named here, so the size of a page follows from the configuration and not from the traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SERVER_STATES = ("up", "suspect", "out", "ejected", "trial", "warming", "drained")


@dataclass(frozen=True, slots=True)
class Share:
    """One version of one route: its weight in force, its part (0 to 1) of the sum, and whether it is the baseline.

    `effective`: the part that it is really sent while versions are down; None: the same.
    """

    route: str
    version: str
    share: float
    weight: float
    is_baseline: bool
    effective: float | None = None


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """One server of one version. `state`: one of `SERVER_STATES`; `up`: whether it takes traffic.

    `suspicion` is φ; `probe_s`: how long the last probe took; both None where it is not probed. `probes`: by outcome.
    """

    version: str
    server: str
    state: str = "up"
    up: bool = True
    suspicion: float | None = None
    probes: Mapping[str, int] = field(default_factory=dict)
    probe_s: float | None = None
    ejections: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """What its metrics are labelled with."""
        return self.version, self.server


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """One place for a worker. `pid` is None while there is no process; `life` is the key of the process in the fold.

    `state`: starting, serving, draining or dead. `restarts`: how many processes in this place were replaced.
    """

    index: int
    pid: int | None
    state: str
    restarts: int
    life: int = 0

    @property
    def process(self) -> str:
        """What its metrics call it; the successor in the same place has the same name."""
        return f"worker-{self.index}"


@dataclass(frozen=True, slots=True)
class ComparerFacts:
    """The process that compares answers. `pid` is None while there is none; `up`: whether it works."""

    pid: int | None
    up: bool
    restarts: int


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that one scrape is to be told. Times are seconds since the epoch.

    `version` is the release. `shares`: every version of every route. `servers`: every (version, address).
    `buckets`: upper bounds of the latency histograms in seconds, ascending; empty for those that the exposition was
    made with. `connections_limit`: of all workers together, None when it is not known. `pending`: by route, when its
    unconfirmed change will be undone. `events`: how many there were of each verb since this supervisor started.
    `shadows`: every route with a shadow, and the version that gets the copies. `comparer`: None where none is needed.
    `health`: what is known of servers, as far as anything is told of them; `down`: versions that take no traffic.
    `last_reload_at`: None while the file was only read at the start.
    """

    version: str
    revision: int
    started_at: float
    supervisor_pid: int
    shares: tuple[Share, ...]
    servers: tuple[tuple[str, str], ...]
    workers: tuple[WorkerFacts, ...]
    buckets: tuple[float, ...] = ()
    connections_limit: int | None = None
    last_reload_ok: bool = True
    last_reload_at: float | None = None
    pending: Mapping[str, float] = field(default_factory=dict)
    events: Mapping[str, int] = field(default_factory=dict)
    journal_failures: int = 0
    events_lost: int = 0
    login_failures: int = 0
    shadows: tuple[tuple[str, str], ...] = ()
    comparer: ComparerFacts | None = None
    health: tuple[ServerFacts, ...] = ()
    down: frozenset[str] = frozenset()
