"""The composition root: settings become a program; it serves until a signal or a successor ends it, in the right order.

How it ends: the first SIGTERM or SIGINT drains and the exit code is 0, also when the drain deadline cut something,
since that is what the deadline is for. A second signal cuts at once and the exit code is 1: somebody was not served.
SIGHUP reads the file again, or drains when it is the terminal that has gone; SIGUSR2 upgrades in place: this process
then drains while its successor serves.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
import uvloop

from proxy.admin.server import admin_server
from proxy.cli import exits
from proxy.cli.announce import announce, in_a_line
from proxy.cli.program import Program
from proxy.cli.terminal import Terminal
from proxy.controlplane.commands.ask import Ask
from proxy.controlplane.commands.commands import Commands
from proxy.controlplane.commands.reload import FileWatch
from proxy.controlplane.errors import CommandError, StartError
from proxy.controlplane.events import Author
from proxy.controlplane.systemd import Systemd
from proxy.controlplane.tasks import reported
from proxy.controlplane.upgrade.inheritance import Inheritance, inheritance
from proxy.controlplane.workers.process import WORKER_COMMAND
from proxy.errors import ConfigError, TurnoutError
from proxy.settings import Settings
from proxy.telemetry import logs

_LOG_FLUSH_S = 1.0
_SIGNAL = Author("signal")

log = structlog.get_logger("turnout")


def serve_until_told(settings: Settings, worker_command: Sequence[str] = WORKER_COMMAND) -> int:
    """Serve by these settings until a signal or a successor ends it; returns the exit code."""
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
    for warning in settings.warnings:
        log.warning("configuration", warning=str(warning))
    async with _inherited() as inherited:
        program = Program(settings, worker_command, inherited)
        try:
            return await _run(program, inherited, signals)
        finally:
            await program.close()


@asynccontextmanager
async def _inherited() -> AsyncIterator[Inheritance | None]:
    """What a predecessor hands over, if there is one; it is told why when we cannot go on."""
    inherited = await inheritance()
    try:
        yield inherited
    except TurnoutError as error:
        if inherited is not None:
            inherited.fail(str(error))
        raise
    finally:
        if inherited is not None:
            await inherited.close()


async def _run(program: Program, inherited: Inheritance | None, signals: _Signals) -> int:
    supervisor, drain_s = program.supervisor, program.settings.policy.timeouts.drain
    if inherited is None:
        program.open()
    elif not await _before(signals.first, program.succeed(), "take-over"):
        return exits.FAILED
    async with AsyncExitStack() as stack:
        commands = await stack.enter_async_context(program.commands)
        await program.begin()
        admin = await stack.enter_async_context(admin_server(program.control, program.settings.admin, program.admin))
        if inherited is not None or await _before(signals.first, supervisor.start(), "start"):
            announce(supervisor, admin)
            async with _attending(program, commands, signals):
                await _either(signals.first, program.handover.taken)
        if not program.handover.taken.is_set():
            return await _leave(program, signals, drain_s)
    # Nobody asks us any more: the API is the successor's. What was begun here is finished here.
    await program.health.stop()
    finishing = asyncio.create_task(program.handover.finish(drain_s), name="finish")
    if not await _before(signals.second, asyncio.wait({finishing}), "second-signal"):
        supervisor.cut("Turnout was told twice to leave")
    await finishing
    return 0


@asynccontextmanager
async def _attending(program: Program, commands: Commands, signals: _Signals) -> AsyncIterator[None]:
    """What goes on beside the workers and the API while it serves: signals, the watch of the file, systemd."""
    systemd, loop = Systemd(), asyncio.get_running_loop()
    alive = reported(loop.create_task(systemd.stay_alive(), name="watchdog"), "program")
    running: set[asyncio.Task[Any]] = set()

    def spawn(work: Coroutine[Any, Any, Any], name: str) -> None:
        task = reported(loop.create_task(work, name=name), "program")
        running.add(task)
        task.add_done_callback(running.discard)

    async def reload() -> None:
        systemd.reloading()
        try:
            await commands.reload(Ask(_SIGNAL, "SIGHUP"))
        except (CommandError, ConfigError) as error:
            log.error("not reloaded", because=str(error))  # noqa: TRY400  the reason says all
        systemd.ready(in_a_line(program.supervisor))

    async def upgrade() -> None:
        try:
            await program.upgrade(_SIGNAL, "SIGUSR2")
        except TurnoutError as error:
            log.error("not upgraded", because=str(error))  # noqa: TRY400  the reason says all

    def reload_unless_hung_up() -> None:
        if not signals.hung_up():
            spawn(reload(), "reload")

    loop.add_signal_handler(signal.SIGHUP, reload_unless_hung_up)
    loop.add_signal_handler(signal.SIGUSR2, lambda: spawn(upgrade(), "upgrade"))
    systemd.ready(in_a_line(program.supervisor))
    spawn(signals.terminal.watch(), "terminal")
    spawn(FileWatch(lambda: commands.settings, commands.reload).run(), "file-watch")
    try:
        yield
    finally:
        await program.handover.refuse("Turnout is leaving")
        if program.handover.taken.is_set():
            alive.cancel()  # it is the successor now that has to be alive
        else:
            systemd.stopping(program.settings.policy.timeouts.drain)
        for number in (signal.SIGHUP, signal.SIGUSR2):
            loop.add_signal_handler(number, lambda: log.warning("too late for that: Turnout is leaving"))
        for task in running:
            task.cancel()


async def _leave(program: Program, signals: _Signals, drain_s: float) -> int:
    supervisor = program.supervisor
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


async def _either(*events: asyncio.Event) -> None:
    """Return when one of them has happened."""
    waiting = [asyncio.create_task(event.wait(), name="either") for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


class _Signals:
    """How often the process was told to leave."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self.terminal = Terminal()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told)
        for number in (signal.SIGHUP, signal.SIGUSR2):
            loop.add_signal_handler(number, self._too_early, number)

    def hung_up(self) -> bool:
        """Whether this SIGHUP came with the end of the terminal, which is to be taken as being told to leave."""
        if not self.terminal.has_gone():
            return False
        self.first.set()  # not `_told`: the shell and the kernel may both send it, and nobody is impatient
        return True

    def _told(self) -> None:
        (self.second if self.first.is_set() else self.first).set()

    def _too_early(self, number: signal.Signals) -> None:
        if number is signal.SIGUSR2 or not self.hung_up():
            log.warning("too early for that: Turnout is starting")
