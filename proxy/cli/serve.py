"""The composition root: settings become sockets, a supervisor, an admin server; and they end in the right order.

How it ends: the first SIGTERM or SIGINT drains and the exit code is 0, also when the drain deadline cut something,
since that is what the deadline is for. A second signal cuts at once and the exit code is 1: somebody was not served.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

import structlog
import uvloop

from proxy import __version__
from proxy.admin.control import Control
from proxy.admin.server import admin_server
from proxy.cli import exits
from proxy.clock import monotonic
from proxy.controlplane.commands import Commands
from proxy.controlplane.descriptors import affordable_connections, raise_descriptor_limit
from proxy.controlplane.errors import StartError
from proxy.controlplane.journal import Journal
from proxy.controlplane.listeners import open_listeners
from proxy.controlplane.process import WORKER_COMMAND
from proxy.controlplane.secret import load_secret
from proxy.controlplane.supervisor import Supervisor
from proxy.core.merge import initial, steered
from proxy.core.route import Route
from proxy.core.snapshot import Snapshot
from proxy.core.state import State
from proxy.settings import Settings
from proxy.telemetry import logs
from proxy.telemetry.exposition import Exposition

_LOG_FLUSH_S = 1.0
_ROUTES_SHOWN = 20

log = structlog.get_logger("turnout")


def serve_until_told(settings: Settings, worker_command: Sequence[str] = WORKER_COMMAND) -> int:
    """Serve by these settings until a signal ends it; returns the exit code."""
    sink = logs.configure()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(settings, worker_command))
    except StartError as error:
        sink.close(_LOG_FLUSH_S)
        print(f"turnout: {error}", file=sys.stderr)
        return getattr(error, "exit_code", exits.FAILED)
    finally:
        sink.close(_LOG_FLUSH_S)


async def _serve(settings: Settings, worker_command: Sequence[str]) -> int:
    signals = _Signals(asyncio.get_running_loop())
    first = _first_snapshot(settings)
    for warning in settings.warnings:
        log.warning("configuration", warning=str(warning))
    journal = Journal.open(settings.state_dir, keep=settings.events_kept)
    step = initial(settings.routes, {version.name for version in settings.versions}, journal.state, time.time())

    def compiled(settings: Settings, state: State) -> Snapshot:
        routes = steered(settings.routes, state)
        return replace(settings.snapshot(state.revision, first.secret), routes=routes, policy=first.policy)

    supervisor = Supervisor(
        compiled(settings, step.state), open_listeners(settings.listen, settings.workers), settings.workers,
        worker_command=worker_command,
    )
    commands = Commands(
        settings, step.state, journal, supervisor, compile_snapshot=compiled, clock=monotonic, wall=time.time)
    control = Control(supervisor, commands, journal, Exposition(supervisor.fold, settings.buckets))
    try:
        async with commands, admin_server(control, settings.admin) as admin:
            await commands.begin(step.moves)
            if await _before(signals.first, supervisor.start(), "start"):
                _announce(supervisor, admin)
                await signals.first.wait()
            return await _leave(supervisor, signals, settings.policy.timeouts.drain)
    finally:
        await supervisor.stop(0.0)
        journal.close()


async def _leave(supervisor: Supervisor, signals: _Signals, drain_s: float) -> int:
    log.info("draining", within_s=drain_s, hint="a second signal cuts at once")
    leaving = asyncio.create_task(supervisor.stop(drain_s), name="drain")
    if not await _before(signals.second, asyncio.wait({leaving}), "second-signal"):
        supervisor.cut("Turnout was told twice to leave")
    stopped = await leaving
    log.info("left", connections_cut=stopped.cut, workers_killed=stopped.killed)
    return exits.FAILED if signals.second.is_set() else 0


async def _before(event: asyncio.Event, work: Coroutine[Any, Any, Any], name: str) -> bool:
    """Whether `work` was done before `event` happened; it is cancelled otherwise. Raises what `work` raises."""
    working = asyncio.create_task(work, name=name)
    waiting = asyncio.create_task(event.wait(), name=f"{name}-or-signal")
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not working.done():
        working.cancel()
        return False
    working.result()
    return True


class _Signals:
    """How often the process was told to leave; SIGHUP is answered with a line in the log."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told)
        loop.add_signal_handler(signal.SIGHUP, lambda: log.warning("SIGHUP: the file is read at start only"))

    def _told(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


def _first_snapshot(settings: Settings) -> Snapshot:
    """The snapshot of revision 1, with no more connections than the descriptors of this host allow."""
    secret = load_secret(settings.state_dir) if settings.secret is None else settings.secret
    configured = settings.policy.limits.connections
    descriptors = raise_descriptor_limit()
    affordable = affordable_connections(configured, descriptors, settings.workers)
    if affordable < configured:
        log.warning(
            "fewer connections than configured", configured=configured, possible=affordable,
            because=f"a process may open {descriptors} files; raise the limit (ulimit -Hn, LimitNOFILE=)",
        )
    snapshot = settings.snapshot(1, secret)
    limits = replace(snapshot.policy.limits, connections=affordable)
    return replace(snapshot, policy=replace(snapshot.policy, limits=limits))


def _announce(supervisor: Supervisor, admin: str) -> None:
    """Say what is served where: a picture for a person, an event for a machine."""
    snapshot, listen = supervisor.snapshot, supervisor.listeners.addresses
    if not sys.stderr.isatty():
        shares = {route.name: dict(_shares(route)) for route in snapshot.routes[:_ROUTES_SHOWN]}
        log.info("serving", listen=list(listen), admin=admin, workers=len(supervisor.slots),
                 routes=len(snapshot.routes), shares=shares)
        return
    more = len(snapshot.routes) - _ROUTES_SHOWN
    lines = [
        f"Turnout {__version__} · {len(supervisor.slots)} worker{'s' * (len(supervisor.slots) > 1)}",
        *(f"  listen   {_url(address)}" for address in listen),
        f"  admin    {_url(admin)}   (`turnout status`)",
        *(f"  route    {route.name}: {_describe(route)}" for route in snapshot.routes[:_ROUTES_SHOWN]),
        *([f"  … and {more} more routes (`turnout status`)"] if more > 0 else []),
        "Ctrl-C finishes what is in flight and leaves; twice leaves at once.",
    ]
    print("\n".join(lines), file=sys.stderr)


def _describe(route: Route) -> str:
    shares = " · ".join(f"{version} {share:.4g} %" for version, share in _shares(route))
    sticky = f", sticky by {route.sticky.by}" if route.sticky else ""
    return f"{route.match.host or '*'}{route.match.path} → {shares}{sticky}"


def _shares(route: Route) -> list[tuple[str, float]]:
    total = sum(weight for _, weight in route.split)
    return [(version, 100 * weight / total) for version, weight in route.split]


def _url(address: str) -> str:
    return address if address.startswith("unix:") else f"http://{address}"
