"""What the API shows: values of the supervisor as plain JSON objects. Seconds and counts, never formatted text."""

from __future__ import annotations

from typing import Any

from proxy import __version__
from proxy.controlplane.slot import Slot
from proxy.controlplane.supervisor import Supervisor
from proxy.core.route import Route
from proxy.telemetry import counters as metric
from proxy.telemetry.fold import Fold

Json = dict[str, Any]


def readiness(supervisor: Supervisor) -> Json:
    """Whether connections are answered, and what is missing from full strength."""
    return {"ready": supervisor.ready, "reasons": supervisor.shortcomings()}


def status(supervisor: Supervisor) -> Json:
    """Everything an operator asks first: what goes where, how it fares, who does the work."""
    snapshot, fold = supervisor.snapshot, supervisor.fold
    return {
        "turnout": __version__,
        "revision": snapshot.revision,
        "uptime_s": round(supervisor.uptime_s, 3),
        **readiness(supervisor),
        "listen": list(supervisor.listeners.addresses),
        "versions": {
            version.name: {"servers": [server.address for server in version.servers]} for version in snapshot.versions
        },
        "routes": [_route(route, fold) for route in snapshot.routes],
        "workers": [_worker(slot, fold) for slot in supervisor.slots],
        "restarts": supervisor.restarts,
        "connections": int(fold.gauges(metric.CONNECTIONS).get((), 0)),
    }


def _route(route: Route, fold: Fold) -> Json:
    total = sum(weight for _, weight in route.split)
    return {
        "name": route.name,
        "host": route.match.host,
        "path": route.match.path,
        "methods": list(route.match.methods),
        "baseline": route.baseline,
        "sticky": None if route.sticky is None else {"by": route.sticky.by, "mode": route.sticky.mode},
        "split": dict(route.split),
        "shares": {version: weight / total for version, weight in route.split},
        "totals": {version: _totals(route.name, version, fold) for version, _ in route.split},
    }


def _totals(route: str, version: str, fold: Fold) -> Json:
    key = (route, version)
    codes = {
        labels[2]: int(count) for labels, count in fold.counters(metric.REQUESTS).items() if labels[:2] == key
    }
    durations = fold.histograms(metric.DURATION).get(key)
    return {
        "requests": sum(codes.values()),
        "codes": dict(sorted(codes.items())),
        "retries": int(fold.counters(metric.RETRIES).get(key, 0)),
        "in_flight": int(fold.gauges(metric.INFLIGHT).get(key, 0)),
        "p50_s": durations.quantile(0.5) if durations else None,
        "p99_s": durations.quantile(0.99) if durations else None,
    }


def _worker(slot: Slot, fold: Fold) -> Json:
    process = slot.process
    life = process.life if process else 0
    return {
        "index": slot.index,
        "pid": process.pid if process else None,
        "state": slot.state.value,
        "restarts": slot.restarts,
        "last_end": slot.last_end,
        "revision": process.revision if process else None,
        "connections": int(fold.gauge(life, metric.CONNECTIONS) or 0),
        "event_loop_lag_s": fold.gauge(life, metric.LAG) or 0.0,
    }
