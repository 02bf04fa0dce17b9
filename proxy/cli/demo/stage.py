"""Puts the performance together: two versions, Turnout in front of them, users; then walks the split.

Order of the end, whatever ends it: users finish, workers drain and leave, the versions close. Then it is summed up.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field, replace

import uvloop

from proxy.admin.control import Control
from proxy.admin.server import admin_server
from proxy.cli.demo.backends import Backends, backends
from proxy.cli.demo.lines import change_line, opening_lines
from proxy.cli.demo.meter import Latency, Meter
from proxy.cli.demo.picture import Row, View
from proxy.cli.demo.plan import NEW, OLD, STAYS_S, WALK_S, Step, walk
from proxy.cli.demo.tally import Tally
from proxy.cli.demo.terminal import Terminal
from proxy.cli.demo.users import Traffic, happens, traffic
from proxy.clock import monotonic
from proxy.controlplane.commands.ask import Ask
from proxy.controlplane.commands.commands import Commands
from proxy.controlplane.events import Author
from proxy.controlplane.journal.journal import Journal
from proxy.controlplane.supervisor import Change, Supervisor
from proxy.controlplane.workers.listeners import open_listeners
from proxy.core.draining import out_of_service
from proxy.core.merge import initial, steered
from proxy.core.snapshot import Snapshot
from proxy.core.state import State
from proxy.settings import Settings, from_urls
from proxy.telemetry.exposition import Exposition

_DIRECTOR = Author("demo")
WORKERS = 2
"""Enough to show that a change reaches every worker; more would only cost."""
_DRAIN_S = 0.5
_TIMER_S = 0.005
"""A timer may fire this much early; the rest of a step is not worth a look of its own."""


@dataclass(slots=True)
class Outcome:
    """What a performance came to."""

    tally: Tally
    lasted_s: float = 0.0
    proxy: str = ""
    workers: tuple[int, ...] = ()
    """The process ids of the workers, as they were last seen."""
    replaced: int = 0
    changes: list[Change | None] = field(default_factory=list)
    """How each step reached the workers; None for the one they started with."""
    latency: dict[str, Latency | None] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every request was answered and nobody was moved back."""
        return not self.tally.failures and not self.tally.back


def perform(terminal: Terminal, lasts_s: float | None, early: Sequence[int]) -> Outcome:
    """Run the demo until its time is up or a signal comes (`early`: signals that came before this call).

    `lasts_s` None: one walk, after which it stays if there is somebody at the terminal to end it. Raises StartError.
    """
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_perform(terminal, lasts_s, early))
    finally:
        terminal.close()


async def _perform(terminal: Terminal, lasts_s: float | None, early: Sequence[int]) -> Outcome:
    ending = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    if early:
        ending.set()
    outcome = Outcome(Tally())
    async with AsyncExitStack() as stack:
        versions = await stack.enter_async_context(backends())
        settings = from_urls(versions.old, versions.new, 0, listen="127.0.0.1:0", admin="127.0.0.1:0", workers=WORKERS)
        journal = stack.enter_context(closing(Journal.open(None, keep=settings.events_kept)))
        supervisor, commands = _put_together(settings, journal)
        stack.push_async_callback(supervisor.stop, _DRAIN_S)
        await stack.enter_async_context(commands)
        control = Control(supervisor, commands, journal, Exposition(supervisor.fold, settings.buckets))
        admin = await stack.enter_async_context(admin_server(control, settings.admin))
        if not await _started(supervisor, ending):
            return outcome
        outcome.proxy = f"http://{supervisor.listeners.addresses[0]}"
        users = await stack.enter_async_context(traffic(outcome.proxy + "/", outcome.tally))
        show = _Show(terminal, ending, outcome, supervisor, commands, versions, users, f"http://{admin}")
        await show.walk(walk(lasts_s or WALK_S), stays=lasts_s is None and terminal.live)
    return outcome


def _put_together(settings: Settings, journal: Journal) -> tuple[Supervisor, Commands]:
    """What `turnout run` is made of, without a disk: a supervisor and the commands that steer it."""
    # Whatever ends the demo ends its workers, too: nobody comes for its orphans.
    policy = replace(settings.policy, timeouts=replace(settings.policy.timeouts, orphan=0.0))
    settings, secret = replace(settings, policy=policy), secrets.token_bytes(32)

    def compiled(settings: Settings, state: State) -> Snapshot:
        return replace(settings.snapshot(state.revision, secret), routes=steered(settings.routes, state),
                       drained=out_of_service(state.drained, settings.versions))

    state = initial(settings.routes, settings.versions, None, time.time()).state
    listeners = open_listeners(settings.listen, settings.workers)
    supervisor = Supervisor(compiled(settings, state), listeners, settings.workers)
    return supervisor, Commands(settings, state, journal, supervisor, compile_snapshot=compiled, clock=monotonic,
                                wall=time.time)


async def _started(supervisor: Supervisor, ending: asyncio.Event) -> bool:
    """Whether all workers serve before somebody ends it. Raises StartError."""
    starting = asyncio.create_task(supervisor.start(), name="start")
    told = asyncio.create_task(ending.wait(), name="told-to-end")
    await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if not starting.done():
        starting.cancel()
        return False
    starting.result()
    return not ending.is_set()


class _Show:
    """The walk itself, and the view of it."""

    def __init__(
        self, terminal: Terminal, ending: asyncio.Event, outcome: Outcome, supervisor: Supervisor,
        commands: Commands, versions: Backends, users: Traffic, admin: str,
    ) -> None:
        self._terminal = terminal
        self._ending = ending
        self._outcome = outcome
        self._supervisor = supervisor
        self._commands = commands
        self._versions = versions
        self._users = users
        self._admin = admin
        self._meter = Meter(supervisor.fold)
        self._began_s = monotonic()

    async def walk(self, steps: Sequence[Step], stays: bool) -> None:
        """Take every step; then stay, if that is wanted, for as long as nobody ends it (and not for ever)."""
        self._note()
        for line in opening_lines(self._view("")):
            self._terminal.say(line)
        for step in steps:
            await self._take(step)
            await self._watch(step.lasts_s, f"step {self._outcome.tally.step + 1} of {len(steps)}", counts_down=True)
        if stays:
            await self._watch(STAYS_S, "walked; Ctrl-C ends it", counts_down=False)
        self._note()
        if self._terminal.live:
            self._terminal.show(self._view("ended"))

    async def _take(self, step: Step) -> None:
        if self._ending.is_set():
            return
        self._meter.begin()
        self._outcome.tally.begin(step.weight)
        change = await self._move(step.weight) if step.weight != self._weight(NEW) else None
        self._outcome.changes.append(change)
        self._terminal.say(change_line(step.weight, change))

    async def _move(self, weight: int) -> Change | None:
        """Give the new version so many percent; returns when no worker goes by the old weights any more."""
        route = self._supervisor.snapshot.routes[0].name
        weights = {OLD: 100.0 - weight, NEW: float(weight)}
        return (await self._commands.split(route, weights, Ask(_DIRECTOR, "the next step of the walk"))).change

    async def _watch(self, lasts_s: float, status: str, counts_down: bool) -> None:
        until_s = monotonic() + lasts_s
        while (left_s := until_s - monotonic()) > _TIMER_S:
            if await happens(self._ending, min(left_s, self._terminal.every_s)):
                return
            left = f" · {max(0.0, until_s - monotonic()):.0f} s" if counts_down else ""
            self._note()
            self._terminal.show(self._view(status + left))

    def _note(self) -> None:
        """Keep what is gone once the workers are."""
        outcome, supervisor = self._outcome, self._supervisor
        outcome.lasted_s = monotonic() - self._began_s
        outcome.replaced = supervisor.restarts
        pids = tuple(slot.process.pid for slot in supervisor.slots if slot.process is not None)
        outcome.workers = pids or outcome.workers
        outcome.latency = {version: self._meter.overall(version) for version in (OLD, NEW)}

    def _view(self, status: str) -> View:
        outcome, tally = self._outcome, self._outcome.tally
        rates = tally.rates(monotonic(), self._began_s)
        rows = tuple(
            Row(version, address, self._weight(version), tally.steps[-1].share(version) if tally.steps else None,
                rates[version], self._meter.of_step(version))
            for version, address in ((OLD, self._versions.old), (NEW, self._versions.new))
        )
        return View(
            status=status, elapsed_s=outcome.lasted_s, proxy=outcome.proxy, admin=self._admin, rows=rows,
            tally=tally, change=outcome.changes[-1] if outcome.changes else None, workers=outcome.workers,
            replaced=outcome.replaced, your_cookie=self._users.your_cookie,
        )

    def _weight(self, version: str) -> float:
        return dict(self._supervisor.snapshot.routes[0].split)[version]
