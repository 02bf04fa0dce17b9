"""Everything that /metrics shows, as rows of label values and numbers.

Invariant: there are rows of the configuration in force only, whatever the fold still remembers.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping

from proxy.telemetry import families as name
from proxy.telemetry import names as counted
from proxy.telemetry import procstat, shadowing
from proxy.telemetry.facts import SERVER_STATES, Facts
from proxy.telemetry.fold import Fold
from proxy.telemetry.histogram import Histogram
from proxy.telemetry.scope import Labels, Scope

Rows = list[tuple[Labels, float]]
HistogramRows = list[tuple[Labels, Mapping[int, int], float]]

_STATUSES = frozenset(map(str, range(100, 600)))
_OTHER = "other"
_STATES = ("starting", "serving", "draining", "dead")
_PAIR = ("route", "version")
_SUPERVISOR = "supervisor"
_COMPARER = "comparer"
_LABELS = {**counted.LABELS, **shadowing.LABELS}
_READ_APART = frozenset({counted.DURATION, counted.LAG, shadowing.DURATION, counted.SHADOW_FRACTION})
_ABSENT_UNTIL_SAID = frozenset({counted.CONCURRENCY_LIMIT})
_ATTEMPTS_FROM_THE_START = ("answered", "error")


def read_fold(fold: Fold, facts: Facts) -> dict[str, Rows]:
    """Return the counters and gauges that the workers reported; what nobody reported yet is 0 where it has a name."""
    scope = scope_of(facts)
    rows: dict[str, Rows] = {}
    for metric, labels in _LABELS.items():
        if metric in _READ_APART:
            continue
        series = fold.counters(metric) if metric.endswith("_total") else fold.gauges(metric)
        holds = scope.holds(labels)
        zeros = _zeros(metric, labels, facts)
        rows[metric] = list((zeros | {values: n for values, n in series.items() if holds(values)}).items())
    rows[counted.REQUESTS] = _with_bounded_codes(rows[counted.REQUESTS])
    rows[counted.LAG] = _lags(fold, facts)
    routes = {route for route, _ in facts.shadows}
    fractions = fold.lowest(counted.SHADOW_FRACTION).items()
    rows[counted.SHADOW_FRACTION] = [(labels, value) for labels, value in fractions if labels[0] in routes]
    return rows


def scope_of(facts: Facts) -> Scope:
    """What belongs to the configuration that these facts describe."""
    return Scope((*((share.route, share.version) for share in facts.shares), *facts.shadows), facts.servers)


def read_durations(fold: Fold, facts: Facts) -> HistogramRows:
    """Return the durations of every configured route and version, with the fine buckets of `histogram`."""
    found = fold.histograms(counted.DURATION)
    nothing = Histogram()
    rows: HistogramRows = []
    for share in facts.shares:
        key = (share.route, share.version)
        histogram = found.get(key, nothing)
        rows.append((key, histogram.buckets, histogram.sum))
    return rows


def read_shadow_durations(fold: Fold, facts: Facts) -> HistogramRows:
    """Return the durations of copied requests, as far as there are any."""
    holds = scope_of(facts).holds(_PAIR)
    found = fold.histograms(shadowing.DURATION)
    return [(key, histogram.buckets, histogram.sum) for key, histogram in found.items() if holds(key)]


def _zeros(metric: str, labels: Labels, facts: Facts) -> dict[Labels, float]:
    """The series that are there from the start, so that their first increment is seen as one."""
    match metric:
        case shadowing.COMPARED:
            return {(route, result): 0 for route, _ in facts.shadows for result in ("matched", "different")}
        case counted.ATTEMPTS:
            return {(each.route, each.version, outcome): 0
                    for each in facts.shares for outcome in _ATTEMPTS_FROM_THE_START}
        case counted.RESCUES:
            return {(each.route, each.version, outcome): 0
                    for each in facts.shares if not each.is_baseline for outcome in counted.RESCUE_OUTCOMES}
        case counted.DIVERTED:
            return {(each.route, each.version): 0 for each in facts.shares if not each.is_baseline}
        case counted.BUDGET_EXHAUSTED:
            return {(each.route,): 0 for each in facts.shares}
        case counted.SHED:
            return {(version, reason): 0 for version in versions_of(facts) for reason in counted.SHED_REASONS}
        case counted.CLIENT_LIMITED:
            return {(limit,): 0 for limit in counted.CLIENT_LIMITS}
    return {} if metric in _ABSENT_UNTIL_SAID else _expected(labels, facts)


def _expected(labels: Labels, facts: Facts) -> dict[Labels, float]:
    match labels:
        case ():
            return {(): 0}
        case ("route", "version"):
            return {(share.route, share.version): 0 for share in facts.shares}
        case ("version",):
            return {(version,): 0 for version in versions_of(facts)}
        case ("version", "server"):
            return dict.fromkeys(facts.servers, 0)
    return {}


def versions_of(facts: Facts) -> list[str]:
    """Every version of the configuration: each has at least one server."""
    return list(dict.fromkeys(version for version, _ in facts.servers))


def _with_bounded_codes(rows: Rows) -> Rows:
    """A server may answer any three digits: what is no status of HTTP is one series together."""
    bounded: dict[Labels, float] = {}
    for (route, version, code), count in rows:
        values = (route, version, code if code in _STATUSES else _OTHER)
        bounded[values] = bounded.get(values, 0) + count
    return list(bounded.items())


def _lags(fold: Fold, facts: Facts) -> Rows:
    said = ((worker.process, fold.gauge(worker.life, counted.LAG)) for worker in facts.workers)
    return [((process,), lag_s) for process, lag_s in said if lag_s is not None]


def read_facts(facts: Facts) -> dict[str, Rows]:
    """Return what is told and not counted."""
    states = [worker.state for worker in facts.workers]
    comparers = [] if facts.comparer is None else [facts.comparer]
    limit, reload_at = facts.connections_limit, facts.last_reload_at
    return {
        name.SHARE: [((each.route, each.version), each.share) for each in facts.shares],
        name.WEIGHT: [((each.route, each.version), each.weight) for each in facts.shares],
        name.ROLE: [
            ((each.route, each.version, "baseline" if each.is_baseline else "candidate"), 1) for each in facts.shares
        ],
        name.REVERTS: [((route,), until) for route, until in facts.pending.items()],
        name.CONNECTIONS_LIMIT: [] if limit is None else [((), limit)],
        name.REVISION: [((), facts.revision)],
        name.RELOAD_OK: [((), int(facts.last_reload_ok))],
        name.RELOAD_AT: [((), facts.started_at if reload_at is None else reload_at)],
        name.EVENTS: [((verb,), count) for verb, count in facts.events.items()],
        name.JOURNAL_FAILURES: [((), facts.journal_failures)],
        name.EVENTS_LOST: [((), facts.events_lost)],
        name.LOGIN_FAILURES: [((), facts.login_failures)],
        name.WORKERS: [((state,), states.count(state)) for state in _STATES],
        name.RESTARTS: [((worker.process,), worker.restarts) for worker in facts.workers],
        name.COMPARER_UP: [((), int(comparer.up)) for comparer in comparers],
        name.COMPARER_RESTARTS: [((), comparer.restarts) for comparer in comparers],
        name.BUILD: [((facts.version, platform.python_version()), 1)],
        name.START: [((), facts.started_at)],
        **_health(facts),
    }


def _health(facts: Facts) -> dict[str, Rows]:
    """What is known of versions and servers, and what it makes of the split."""
    servers = facts.health
    return {
        name.EFFECTIVE_SHARE: [
            ((each.route, each.version), each.share if each.effective is None else each.effective)
            for each in facts.shares
        ],
        name.VERSION_UP: [((version,), int(version not in facts.down)) for version in versions_of(facts)],
        name.SERVER_UP: [(each.key, int(each.up)) for each in servers],
        name.SERVER_STATE: [
            ((*each.key, state), int(each.state == state)) for each in servers for state in SERVER_STATES
        ],
        name.SUSPICION: [(each.key, each.suspicion) for each in servers if each.suspicion is not None],
        name.PROBES: [
            ((*each.key, outcome), count) for each in servers for outcome, count in each.probes.items()
        ],
        name.PROBE_SECONDS: [(each.key, each.probe_s) for each in servers if each.probe_s is not None],
        name.EJECTIONS: [(each.key, each.ejections) for each in servers],
    }


def read_processes(facts: Facts, cpu: procstat.CpuTotals) -> dict[str, Rows]:
    """Return what the kernel says of the supervisor and the workers that live; `cpu` remembers across successors."""
    pids = [(_SUPERVISOR, facts.supervisor_pid)]
    pids += [(worker.process, worker.pid) for worker in facts.workers if worker.pid is not None]
    if facts.comparer is not None and facts.comparer.pid is not None:
        pids.append((_COMPARER, facts.comparer.pid))
    found = [(process, pid, stat) for process, pid in pids if (stat := procstat.read(pid)) is not None]

    def each(number: Callable[[procstat.ProcStat], float | None]) -> Rows:
        return [((process,), value) for process, _, stat in found if (value := number(stat)) is not None]

    return {
        name.PROCESS_CPU: [((process,), cpu.total_s(process, pid, stat.cpu_s)) for process, pid, stat in found],
        name.PROCESS_MEMORY: each(lambda stat: stat.resident_bytes),
        name.PROCESS_FDS: each(lambda stat: stat.open_fds),
        name.PROCESS_MAX_FDS: each(lambda stat: stat.max_fds),
        name.PROCESS_START: each(lambda stat: stat.started_at),
    }
