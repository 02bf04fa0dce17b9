"""The upgrade in place, from the side that is followed: start the program anew and hand everything over.

    successor                                     predecessor (this module)
                                                  starts it, with one end of a line
    hello                       →
                                ←                 estate: sockets of data and admin, the journal's lock, luggage
    (its workers serve on the same sockets)
    ready                       →
                                                  takes no changes from here on
                                ←                 final: the last state, all sums, who is out
    (takes the state, opens the journal)
    taken                       →
                                ←                 yours: it may take changes, and we answer none any more
                                ←                 stats, gone, quiet, while our workers finish
    cut, kill                   →                 what its operators want of them

Luggage is what the composition root on both sides packs and unpacks: JSON that nobody here looks into.

Invariant: until `taken` has come in time, everything goes on here as before, whatever the successor does; it never
serves without `yours`. One that failed is ended before anything is taken up again, so that never both write.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from proxy.controlplane.errors import HandingOver
from proxy.controlplane.supervisor import Supervisor
from proxy.controlplane.tasks import reported
from proxy.controlplane.upgrade import outages
from proxy.controlplane.upgrade.link import LineEnded, Link, Message
from proxy.controlplane.upgrade.orphans import find_orphans
from proxy.controlplane.workers.listeners import Listeners
from proxy.errors import TurnoutError
from proxy.ipc.messages import Stats

log = structlog.get_logger("upgrade")

ENVIRONMENT = "TURNOUT_HANDOVER"
"""Names the descriptor of the line for the successor."""
WITHIN_S = 30.0
"""From the start of the successor until it has taken over."""
FROZEN_S = 5.0
"""Of these, how long no change is taken, not even a rollback; a successor that is well needs tens of milliseconds."""
_SOCKETS_AT_ONCE = 100
_OF_THIS_PROCESS = ("NOTIFY_PID", "WATCHDOG_PID", ENVIRONMENT)


class UpgradeFailed(TurnoutError):  # noqa: N818
    """The successor did not take over; nothing has changed. The message says why, its own output says more."""


@dataclass(frozen=True, slots=True)
class Estate:
    """What a successor gets first. `lock_fd`: the journal's hold on its folder, None without one."""

    data: Listeners
    admin: Listeners | None = None
    lock_fd: int | None = None
    luggage: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Household:
    """What the composition root does for an upgrade.

    `freeze` stops changes, those under way being finished, and returns the last luggage; `thaw` takes them up again. It
    is called when `freeze` has been, and there is no successor after all.
    """

    estate: Callable[[], Estate]
    freeze: Callable[[], Awaitable[Mapping[str, Any]]]
    thaw: Callable[[], Awaitable[None]]


def own_command() -> tuple[str, ...]:
    """The command line that started this process, with the interpreter's full path."""
    return (sys.executable, *sys.orig_argv[1:])


class Handover:
    """Hands over to a successor, once. `taken` is set when there is one: then `finish` is due, and nothing else."""

    def __init__(self, supervisor: Supervisor, household: Household, command: Sequence[str] | None = None,
                 within_s: float = WITHIN_S, frozen_s: float = FROZEN_S) -> None:
        self.taken = asyncio.Event()
        self.successor = 0
        """Its process id, from `taken` on."""
        self._supervisor = supervisor
        self._household = household
        self._command = own_command() if command is None else tuple(command)
        self._within_s = within_s
        self._frozen_s = frozen_s
        self._running: asyncio.Task[int] | None = None
        self._refusal: str | None = None
        self._link: Link | None = None
        self._freezing: asyncio.Task[Mapping[str, Any]] | None = None

    async def refuse(self, because: str) -> None:
        """Refuse every upgrade from now on, and give up one that is under way: this process is leaving."""
        self._refusal = because
        if self._running is not None and not self.taken.is_set():
            self._running.cancel()
            await asyncio.wait({self._running})

    @property
    def possible(self) -> bool:
        """Whether this process can be succeeded at all: not the first one of a container, which ends with it."""
        return os.getpid() != 1

    async def upgrade(self) -> int:
        """Start a successor; returns its process id when it has taken over.

        Raises HandingOver when there can be none now, UpgradeFailed when there is none after all.
        """
        self.must_be_possible()
        running = self._running = asyncio.create_task(self._upgrade(), name="upgrade")
        try:
            return await asyncio.shield(running)  # whoever asked may be gone before there is an answer
        except asyncio.CancelledError:
            if self._refusal is not None and running.cancelled():
                raise HandingOver(f"no upgrade now: {self._refusal}") from None
            raise

    async def finish(self, within_s: float) -> None:
        """Drain our workers, telling the successor what they count until the last one has left."""
        link = self._link
        assert link is not None
        self._supervisor.keep_files = True
        wishes = reported(asyncio.create_task(self._obey(link), name="successor"), "upgrade")
        stopping = asyncio.create_task(self._supervisor.stop(within_s), name="drain")
        await self._supervisor.quiet()
        link.post("quiet")
        stopped = await stopping
        link.post("left", cut=stopped.cut, killed=stopped.killed)
        await link.flushed()
        wishes.cancel()
        link.close()
        log.info("left", connections_cut=stopped.cut, workers_killed=stopped.killed, successor=self.successor)

    def must_be_possible(self) -> None:
        """Raise HandingOver if `upgrade` would now."""
        refusal = self._refusal
        if self._running is not None and not self._running.done():
            refusal = "an upgrade is under way"
        elif self.taken.is_set():
            refusal = f"process {self.successor} has taken over"
        elif not self._supervisor.ready:
            refusal = refusal or "not all workers serve yet"
        if refusal is not None:
            raise HandingOver(f"no upgrade now: {refusal}")

    async def _upgrade(self) -> int:
        log.info("upgrading", command=list(self._command))
        ours, theirs = socket.socketpair()
        link = Link(ours)
        process: subprocess.Popen[bytes] | None = None
        try:
            with theirs:
                process = _start(self._command, theirs)
            async with asyncio.timeout(self._within_s):
                await self._negotiate(link)
        except BaseException as error:
            link.close()
            await _end(process)
            await self._go_on(0 if process is None else process.pid)
            if isinstance(error, (OSError, TurnoutError)):
                raise UpgradeFailed(self._explain(error, process)) from error
            raise
        self._link, self.successor = link, process.pid
        self.taken.set()
        log.info("handed over", successor=process.pid)
        return process.pid

    async def _negotiate(self, link: Link) -> None:
        await _expect(link, "hello")
        _give(link, self._household.estate())
        await _expect(link, "ready")
        await self._supervisor.settled()  # one change of hands at a time
        self._freezing = asyncio.create_task(_run(self._household.freeze()), name="freeze")
        luggage = await asyncio.shield(self._freezing)
        # From here on what our workers count goes to both: whoever remains has it all.
        link.post("final", luggage=luggage, fold=self._supervisor.fold.dump(),
                  out=outages.pack(self._supervisor.out()))
        self._supervisor.witness = _Witness(link)
        try:
            async with asyncio.timeout(self._frozen_s):
                await _expect(link, "taken")
        except TimeoutError:
            raise UpgradeFailed(
                f"the new program was ready, but did not take over within {self._frozen_s:g} s") from None
        link.post("yours", workers=sorted(self._supervisor.pids.values()))

    async def _go_on(self, failed: int) -> None:
        """Take everything up again: there is no successor. `failed`: the process that was to be it."""
        self._supervisor.witness = None
        # If it has served already, its workers do so still, perhaps elsewhere, and by an older state after a change.
        find = partial(find_orphans, {address for address, _ in self._supervisor.listeners.bound}, supervisor=failed)
        orphans = await asyncio.get_running_loop().run_in_executor(None, find)
        for _, sock in orphans.sockets:
            sock.close()
        self._supervisor.follow(orphans)
        freezing, self._freezing = self._freezing, None
        if freezing is not None:
            await asyncio.wait({freezing})
            if freezing.exception() is None:
                await self._household.thaw()

    def _explain(self, error: Exception, process: subprocess.Popen[bytes] | None) -> str:
        if isinstance(error, TimeoutError):
            return f"the new program did not take over within {self._within_s:g} s"
        if isinstance(error, LineEnded) and process is not None and process.returncode is not None:
            code = process.returncode
            ended = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            return f"the new program {ended} before it took over; its own output says why"
        if isinstance(error, OSError):
            return f"the new program cannot be started: {error.strerror or error}"
        return str(error)

    async def _obey(self, link: Link) -> None:
        """Do what the successor's operators want of our workers, as long as there are any."""
        try:
            while True:
                wish, descriptors = await link.hear()
                _drop(descriptors)
                match wish.get("say"):
                    case "cut":
                        self._supervisor.cut_off(tuple((str(route), str(version)) for route, version in wish["pairs"]))
                    case "kill":
                        because = str(wish.get("because", "the successor said so"))
                        self._supervisor.cut(because, unless_quiet=bool(wish.get("unless_quiet")))
        except LineEnded:
            log.warning("the successor is gone")


class _Witness:
    """Tells the successor what our workers count, as they report it."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def stats(self, life: int, stats: Stats) -> None:
        self._link.post("stats", life=life, counters=stats.counters, gauges=stats.gauges, histograms=[
            (name, labels, {str(index): count for index, count in buckets.items()}, total)
            for name, labels, buckets, total in stats.histograms
        ])

    def gone(self, life: int) -> None:
        self._link.post("gone", life=life)


def _start(command: Sequence[str], line: socket.socket) -> subprocess.Popen[bytes]:
    """Start the program with its end of the line. Not through the event loop, which would end it with ours."""
    environment = {name: value for name, value in os.environ.items() if name not in _OF_THIS_PROCESS}
    return subprocess.Popen(  # noqa: S603  it is our own command line
        list(command), stdin=subprocess.DEVNULL, pass_fds=[line.fileno()],
        env={**environment, ENVIRONMENT: str(line.fileno())},
    )


async def _run(work: Awaitable[Mapping[str, Any]]) -> Mapping[str, Any]:
    return await work


async def _end(process: subprocess.Popen[bytes] | None) -> None:
    """End a successor that failed, and wait for its end: it leaves by itself when the line has."""
    if process is None:
        return
    loop = asyncio.get_running_loop()
    try:
        await loop.run_in_executor(None, process.wait, 1.0)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        await loop.run_in_executor(None, process.wait)


async def _expect(link: Link, say: str) -> Message:
    """Return the next message of this kind; raises UpgradeFailed when the other side gives up, LineEnded at the end."""
    while True:
        message, descriptors = await link.hear()
        _drop(descriptors)
        if message.get("say") == say:
            return message
        if message.get("say") == "failed":
            raise UpgradeFailed(f"the new program did not take over: {message.get('because', 'it does not say why')}")


def _give(link: Link, estate: Estate) -> None:
    for kind, listeners in (("data", estate.data), ("admin", estate.admin)):
        bound = [] if listeners is None else listeners.bound
        asked = {} if listeners is None else listeners.asked
        for first in range(0, len(bound), _SOCKETS_AT_ONCE):
            some = bound[first:first + _SOCKETS_AT_ONCE]
            link.post("sockets", [sock.fileno() for _, sock in some], kind=kind,
                      addresses=[address for address, _ in some], asked=asked)
    if estate.lock_fd is not None:
        link.post("lock", [estate.lock_fd])
    link.post("estate", luggage=estate.luggage)


def _drop(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
