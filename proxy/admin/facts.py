"""What /metrics is told of the supervisor, the journal and the settings: telemetry knows none of them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from proxy import __version__
from proxy.admin.control import Control
from proxy.admin.failures import Failures
from proxy.admin.tally import Tally
from proxy.admin.version_views import states_of
from proxy.controlplane.workers.slot import Slot
from proxy.core.health.effective import effective_shares
from proxy.core.health.standing import VersionState
from proxy.core.snapshot import Snapshot
from proxy.core.split import shares
from proxy.telemetry.exposition import ComparerFacts, Facts, ServerFacts, Share, WorkerFacts


def facts_of(control: Control, failures: Failures, tally: Tally, started_at: float) -> Facts:
    """The facts of this moment; `started_at` stays the same, so that no clock makes it flutter."""
    supervisor, commands = control.supervisor, control.commands
    snapshot, state, down = supervisor.snapshot, commands.state, states_of(control)
    return Facts(
        version=__version__,
        revision=state.revision,
        started_at=started_at,
        supervisor_pid=os.getpid(),
        shares=_shares(snapshot, down),
        servers=tuple((version.name, server.address) for version in snapshot.versions for server in version.servers),
        workers=tuple(map(_worker, supervisor.slots)),
        buckets=commands.settings.buckets,
        connections_limit=snapshot.policy.limits.connections,
        last_reload_ok=commands.last_reload_ok,
        last_reload_at=commands.last_reload_at,
        pending={name: route.pending.until for name, route in state.routes.items() if route.pending is not None},
        events=dict(tally.counts),
        journal_failures=commands.journal_failures,
        events_lost=commands.events_lost,
        login_failures=failures.total,
        shadows=tuple((route.name, route.shadow.to) for route in snapshot.routes if route.shadow is not None),
        comparer=_comparer(control),
        health=_servers(control),
        down=frozenset(down),
    )


def _servers(control: Control) -> tuple[ServerFacts, ...]:
    """Every server that is configured, with its probes sorted out once."""
    book = control.health
    probes: dict[tuple[str, str], dict[str, int]] = {}
    for (version, server, outcome), count in book.probes.items():
        probes.setdefault((version, server), {})[outcome] = count
    return tuple(
        ServerFacts(
            known.version, known.address, known.state, known.takes_traffic, known.phi, probes.get(key, {}),
            None if known.probe is None else known.probe.took_s, book.ejections[key],
        )
        for version in control.supervisor.snapshot.versions for known in book.servers(version.name)
        for key in [(known.version, known.address)]
    )


def _comparer(control: Control) -> ComparerFacts | None:
    comparer = control.comparer
    if comparer is None or not (comparer.wanted or comparer.pid):
        return None
    return ComparerFacts(comparer.pid, comparer.running, comparer.restarts)


def _shares(snapshot: Snapshot, states: Mapping[str, VersionState]) -> tuple[Share, ...]:
    """Every version of every route. `states`: of the versions that are not up."""
    return tuple(
        Share(route.name, version, share, weight, version == route.baseline, effective.get(version))
        for route in snapshot.routes
        for effective in [effective_shares(route, states) if states else {}]
        for (version, weight), share in zip(
            route.split, shares([weight for _, weight in route.split]), strict=True)
    )


def _worker(slot: Slot) -> WorkerFacts:
    process = slot.process
    return WorkerFacts(slot.index, process.pid if process else None, slot.state.value, slot.restarts,
                       process.life if process else 0)
