"""What the API shows of the supervisor as a whole: readiness, status, workers. The shapes are in `shapes`."""

from __future__ import annotations

import os
from collections.abc import Mapping

from proxy import __version__
from proxy.admin import shapes
from proxy.admin.control import Control
from proxy.admin.route_views import event_view, route_view
from proxy.admin.version_views import states_of, versions_view
from proxy.controlplane.events import Event
from proxy.controlplane.supervisor import Supervisor
from proxy.controlplane.workers.slot import Slot
from proxy.telemetry import names as metric
from proxy.telemetry.fold import Fold

_Pair = tuple[str, str]


def readiness(supervisor: Supervisor) -> shapes.Ready:
    """Whether connections are answered, and what is missing from full strength."""
    return {"ready": supervisor.ready, "reasons": supervisor.shortcomings()}


def status(control: Control, last_changes: Mapping[str, Event]) -> shapes.Status:
    """Everything an operator asks first: what goes where, how it fares, who does the work."""
    supervisor, commands = control.supervisor, control.commands
    fold = supervisor.fold
    ready = readiness(supervisor)
    return {
        "turnout": __version__,
        "pid": os.getpid(),
        "revision": commands.state.revision,
        "uptime_s": round(supervisor.uptime_s, 3),
        "ready": ready["ready"],
        "reasons": ready["reasons"],
        "listen": list(supervisor.listeners.addresses),
        "versions": versions_view(control),
        "routes": _routes(control, last_changes),
        "workers": [_worker(slot, fold) for slot in supervisor.slots],
        "restarts": supervisor.restarts,
        "connections": int(fold.gauges(metric.CONNECTIONS).get((), 0)),
        "reload": {"file": commands.settings.file, "ok": commands.last_reload_ok, "at": commands.last_reload_at},
    }


def _routes(control: Control, last_changes: Mapping[str, Event]) -> list[shapes.StatusRoute]:
    snapshot, state = control.supervisor.snapshot, control.commands.state
    totals, now, states = _Totals(control.supervisor.fold), control.wall(), states_of(control)
    views: list[shapes.StatusRoute] = []
    for route in snapshot.routes:
        if route.name not in state.routes:      # a reload is under way
            continue
        last = last_changes.get(route.name)
        views.append({
            **route_view(route, state.routes[route.name], now, states),
            "totals": {version: totals.of(route.name, version) for version, _ in route.split},
            "last_change": None if last is None else event_view(last),
        })
    return views


class _Totals:
    """The counts of every version of every route, sorted once: a thousand routes have ten thousand series."""

    def __init__(self, fold: Fold) -> None:
        self._codes: dict[_Pair, dict[str, int]] = {}
        for labels, count in fold.counters(metric.REQUESTS).items():
            self._codes.setdefault((labels[0], labels[1]), {})[labels[2]] = int(count)
        self._attempts = _by_outcome(fold.counters(metric.ATTEMPTS))
        self._rescues = _by_outcome(fold.counters(metric.RESCUES))
        self._retries = fold.counters(metric.RETRIES)
        self._diverted = fold.counters(metric.DIVERTED)
        self._in_flight = fold.gauges(metric.INFLIGHT)
        self._durations = fold.histograms(metric.DURATION)

    def of(self, route: str, version: str) -> shapes.Totals:
        """The counts of one version of one route."""
        key = (route, version)
        codes, durations = self._codes.get(key, {}), self._durations.get(key)
        return {
            "requests": sum(codes.values()),
            "codes": dict(sorted(codes.items())),
            "attempts": self._attempts.get(key, {}),
            "retries": int(self._retries.get(key, 0)),
            "rescues": self._rescues.get(key, {}),
            "diverted": int(self._diverted.get(key, 0)),
            "in_flight": int(self._in_flight.get(key, 0)),
            "p50_s": durations.quantile(0.5) if durations else None,
            "p99_s": durations.quantile(0.99) if durations else None,
        }


def _by_outcome(series: Mapping[tuple[str, ...], float]) -> dict[_Pair, dict[str, int]]:
    """What was counted by route, version and outcome, sorted by the first two."""
    sorted_out: dict[_Pair, dict[str, int]] = {}
    for (route, version, outcome), count in series.items():
        sorted_out.setdefault((route, version), {})[outcome] = int(count)
    return sorted_out


def _worker(slot: Slot, fold: Fold) -> shapes.WorkerShape:
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
