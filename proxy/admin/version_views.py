"""What the API shows of versions and their servers: whether they take traffic, why not, and what they have in flight.

Invariant: a server is called idle only when it is drained, nothing is in flight there, and every worker has said so
since the drain came into force: who stops it then cuts nobody off.
"""

from __future__ import annotations

from collections.abc import Mapping

from proxy.admin import version_shapes
from proxy.admin.control import Control
from proxy.controlplane.health.values import ProbeResult, ServerHealth
from proxy.controlplane.supervisor import Supervisor
from proxy.core.health.standing import Standing, VersionState, version_state
from proxy.core.route import Route, Server, Version
from proxy.telemetry import names as metric

Pairs = frozenset[tuple[str, str]]
_UNWELL = frozenset({"out", "ejected", "trial"})
_WHY: dict[VersionState, str] = {"up": "", "drained": "every server is drained", "down": "no server takes requests"}


class VersionViews:
    """The versions at this moment; made for one answer. `drained`: in place of what is in force, for what would be."""

    def __init__(self, control: Control, drained: Pairs | None = None) -> None:
        supervisor = control.supervisor
        fold = supervisor.fold
        self._health = control.health
        self._versions = supervisor.snapshot.versions
        self._in_force = supervisor.snapshot.drained
        self._drained = self._in_force if drained is None else drained
        self._heard = heard_of_all(supervisor)
        self._in_flight = fold.gauges(metric.SERVER_INFLIGHT)
        self._queues = fold.gauges(metric.QUEUE_LENGTH)
        self._limits = fold.gauges(metric.CONCURRENCY_LIMIT)

    def all(self) -> dict[str, version_shapes.VersionShape]:
        """Every version by its name, in the order of the file."""
        return {version.name: self._view(version) for version in self._versions}

    def one(self, name: str) -> version_shapes.VersionShape | None:
        """The version of this name; None where there is none."""
        return next((self._view(version) for version in self._versions if version.name == name), None)

    def _view(self, version: Version) -> version_shapes.VersionShape:
        known = {server.address: server for server in self._health.servers(version.name)}
        servers = [self._server(version, server, known.get(server.address)) for server in version.servers]
        state, why = self._state(version, servers)
        label = (version.name,)
        return {
            "name": version.name,
            "state": state,
            "why": why,
            "in_flight": sum(server["in_flight"] for server in servers),
            "idle": all(server["idle"] for server in servers),
            "queue": int(self._queues.get(label, 0)),
            "limit": self._limits.get(label),
            "servers": servers,
        }

    def _state(self, version: Version, servers: list[version_shapes.ServerShape]) -> tuple[VersionState, str]:
        known = self._health.version(version.name)
        standings = [Standing(server["drained"], server["state"] not in _UNWELL) for server in servers]
        state = version_state(standings, tripped=known.until_s is not None)
        return state, known.why if known.state == state else _WHY[state]

    def _server(self, version: Version, server: Server, known: ServerHealth | None) -> version_shapes.ServerShape:
        key = (version.name, server.address)
        drained, in_flight = key in self._drained, int(self._in_flight.get(key, 0))
        if known is None or known.drained != drained:      # not known yet, or not so yet
            known = ServerHealth(*key, "drained" if drained else "up", not drained)
        return {
            "address": server.address,
            "state": known.state,
            "why": known.why,
            "phi": None if known.phi is None else round(known.phi, 3),
            "in_flight": in_flight,
            "idle": drained and key in self._in_force and in_flight == 0 and self._heard,
            "drained": drained,
            "probe": _probe(known.probe),
            "ejected_until_s": None if known.ejected_until_s is None else round(known.ejected_until_s, 3),
        }


def _probe(result: ProbeResult | None) -> version_shapes.ProbeShape | None:
    if result is None:
        return None
    return {"ok": result.ok, "at": result.at, "took_ms": round(result.took_s * 1000, 3), "detail": result.detail}


def heard_of_all(supervisor: Supervisor) -> bool:
    """Whether every worker has counted since it serves by the snapshot in force: what was counted before says nothing
    of a change, and of what a predecessor's workers still do not everything is known.
    """
    revision = supervisor.snapshot.revision
    processes = [slot.process for slot in supervisor.slots]
    return supervisor.is_alone and all(process is not None and process.counted >= revision for process in processes)


def version_view(control: Control, name: str, drained: Pairs | None = None) -> version_shapes.VersionShape | None:
    """One version as it is now, or as it would be with these (version, address) pairs drained; None: there is none."""
    return VersionViews(control, drained).one(name)


def versions_view(control: Control) -> dict[str, version_shapes.VersionShape]:
    """Every version by its name."""
    return VersionViews(control).all()


def states_of(control: Control) -> Mapping[str, VersionState]:
    """The versions that are down or drained: worked out once for all routes."""
    return {version.name: version.state for version in control.health.versions() if version.state != "up"}


def states_in(control: Control, route: Route) -> Mapping[str, VersionState]:
    """The same of the versions of one route."""
    found = (control.health.version(name) for name, _ in route.split)
    return {version.name: version.state for version in found if version.state != "up"}
