"""The upgrade in place, from the side that follows; `handover` tells the whole story.

Invariant: nothing is served, and nothing is written, without `take` having returned. Whoever cannot go on before that
says so with `fail` and leaves; the predecessor then goes on as if nothing had been.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from proxy import __version__
from proxy.controlplane.errors import StartError
from proxy.controlplane.supervisor import Supervisor
from proxy.controlplane.tasks import reported
from proxy.controlplane.upgrade import outages
from proxy.controlplane.upgrade.handover import ENVIRONMENT
from proxy.controlplane.upgrade.link import LineEnded, Link, Message
from proxy.controlplane.upgrade.orphans import Orphans, find_orphans
from proxy.controlplane.workers.listeners import Heirlooms
from proxy.ipc.messages import Stats

log = structlog.get_logger("upgrade")

_PID_SHIFT = 32
"""Worker processes of a predecessor are counted apart from ours: minus (its process id, their number)."""


class Inheritance:
    """What a predecessor hands over, and the line to it. Descriptors that nobody took are closed by `close`."""

    def __init__(self, link: Link) -> None:
        self.data = Heirlooms()
        """Listening sockets of the data path, for `open_listeners`, which owns them then."""
        self.admin = Heirlooms()
        self.luggage: Mapping[str, Any] = {}
        self.taken = False
        """Whether we are the supervisor now."""
        self._lock_fd: int | None = None
        self._link = link

    async def receive(self) -> None:
        """Ask for everything and take it. Raises StartError when the predecessor is gone."""
        self._link.post("hello", release=__version__, pid=os.getpid())
        while True:
            message, descriptors = await self._hear()
            match message.get("say"):
                case "sockets":
                    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
                    heirlooms = self.data if message.get("kind") == "data" else self.admin
                    heirlooms.add(zip(message["addresses"], sockets, strict=True), message.get("asked", {}))
                case "lock" if descriptors:
                    self._lock_fd, *descriptors = descriptors
                    _drop(descriptors)
                case "estate":
                    self.luggage = message.get("luggage", {})
                    return
                case _:
                    _drop(descriptors)

    def take_lock(self) -> int | None:
        """Return the hold on the journal's folder, once; it is the caller's then."""
        lock_fd, self._lock_fd = self._lock_fd, None
        return lock_fd

    async def ready(self, supervisor: Supervisor) -> Mapping[str, Any]:
        """Say that our workers are ready; returns the last luggage, once the predecessor takes no changes any more.

        All sums come along and go on in `supervisor.fold`, and who is out is told to `supervisor.on_inherited`. Raises
        StartError when the predecessor is gone.
        """
        self._link.post("ready")
        final = await self._expect("final")
        supervisor.fold.restore(final.get("fold", {}))
        supervisor.on_inherited(outages.unpack(final.get("out")))
        luggage: Mapping[str, Any] = final.get("luggage", {})
        return luggage

    async def take(self, supervisor: Supervisor) -> None:
        """Take over: our workers serve. On return this is the supervisor, and the other one drains.

        Raises StartError when the predecessor is gone, or did not wait.
        """
        self._link.post("taken")
        told: list[tuple[Message, list[int]]] = []
        while not told or told[-1][0].get("say") != "yours":
            told.append(await self._hear())
        predecessor = Draining(self._link, supervisor, self.data.addresses)
        for message, descriptors in told[:-1]:  # its workers may have counted meanwhile
            _drop(descriptors)
            predecessor.take_in(message)
        predecessor.begin()
        supervisor.follow(predecessor)
        self.taken = True
        self._close_rest()

    def fail(self, because: str) -> None:
        """Say why there will be no take-over."""
        self._link.post("failed", because=because)

    async def close(self) -> None:
        """End the line and close what was not used, if we could not take over. Told again, nothing happens."""
        if not self.taken:
            await self._link.flushed()
            self._link.close()
            self._close_rest()

    def _close_rest(self) -> None:
        self.data.close()
        self.admin.close()
        if (lock_fd := self.take_lock()) is not None:
            os.close(lock_fd)

    async def _expect(self, say: str) -> Message:
        while True:
            message, descriptors = await self._hear()
            _drop(descriptors)
            if message.get("say") == say:
                return message

    async def _hear(self) -> tuple[Message, list[int]]:
        try:
            return await self._link.hear()
        except LineEnded as error:
            raise StartError("the Turnout that was to be upgraded has given up, or has ended") from error


class Draining:
    """The predecessor while it drains: a `Predecessor` of our supervisor."""

    def __init__(self, link: Link, supervisor: Supervisor, addresses: frozenset[str]) -> None:
        self._link = link
        self._supervisor = supervisor
        self._addresses = addresses
        self._quiet = asyncio.Event()
        self._gone = asyncio.Event()
        self._orphans: Orphans | None = None
        self._task: asyncio.Task[None] | None = None
        self._pid = os.getppid()

    def begin(self) -> None:
        """Listen from now on."""
        self._task = reported(asyncio.create_task(self._listen(), name="predecessor"), "upgrade")

    def leave(self, within_s: float) -> None:
        """Do nothing: it drains by itself, and takes as long as its own settings say."""

    @property
    def has_gone(self) -> bool:
        """Whether each of its workers has ended."""
        return self._gone.is_set()

    async def quiet(self) -> None:
        """Wait until none of its workers begins a request."""
        await self._quiet.wait()

    async def gone(self) -> None:
        """Wait until its workers have left."""
        await self._gone.wait()

    def cut_off(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Let its workers end what they do for these (route, version) pairs."""
        pairs = list(pairs)
        self._link.post("cut", pairs=pairs)
        if self._orphans is not None:
            self._orphans.cut_off(pairs)

    def kill(self, reason: str, *, unless_quiet: bool = False) -> None:
        """Let it end its workers."""
        self._link.post("kill", because=reason, unless_quiet=unless_quiet)
        if self._orphans is not None:
            self._orphans.kill(reason, unless_quiet=unless_quiet)

    def forget(self) -> None:
        """Stop listening to it."""
        if self._task is not None:
            self._task.cancel()
        self._link.close()
        self._quiet.set()
        self._gone.set()

    def take_in(self, message: Message) -> None:
        """What it tells of its workers."""
        match message.get("say"):
            case "stats":
                self._supervisor.count(self._life(message), _stats(message))
            case "gone":
                self._supervisor.uncount(self._life(message))
            case "quiet":
                self._quiet.set()

    def _life(self, message: Message) -> int:
        return -((self._pid << _PID_SHIFT) + int(message["life"]))

    async def _listen(self) -> None:
        left = False
        try:
            while not left:
                message, descriptors = await self._link.hear()
                _drop(descriptors)
                self.take_in(message)
                left = message.get("say") == "left"
        except LineEnded:
            log.error("the predecessor died while it drained; its workers are looked for")  # noqa: TRY400
            await self._look_after_orphans()
        self._link.close()
        self._quiet.set()
        self._gone.set()

    async def _look_after_orphans(self) -> None:
        orphans = await asyncio.get_running_loop().run_in_executor(None, find_orphans, self._addresses)
        for _, sock in orphans.sockets:
            sock.close()
        self._orphans = orphans
        orphans.leave(self._supervisor.snapshot.policy.timeouts.drain)
        await orphans.quiet()
        self._quiet.set()
        await orphans.gone()


async def inheritance() -> Inheritance | None:
    """Return what a predecessor hands over to this process; None when it was not started by one.

    Raises StartError when it was, and the predecessor is gone.
    """
    descriptor = os.environ.pop(ENVIRONMENT, None)
    if descriptor is None:
        return None
    try:
        line = socket.socket(fileno=int(descriptor))
    except (ValueError, OSError) as error:
        raise StartError(f"{ENVIRONMENT} is set by Turnout itself, for its successor: unset it") from error
    os.set_inheritable(line.fileno(), False)
    inherited = Inheritance(Link(line))
    await inherited.receive()
    return inherited


def _stats(message: Message) -> Stats:
    """What one report of a worker says; what another release says otherwise is left out."""
    histograms = [
        (str(name), tuple(labels), {int(index): int(count) for index, count in buckets.items()}, float(total))
        for name, labels, buckets, total in message.get("histograms", ())
    ]
    counters, gauges = (
        [(str(name), tuple(labels), float(value)) for name, labels, value in message.get(kind, ())]
        for kind in ("counters", "gauges")
    )
    return Stats(0, counters, gauges, histograms)


def _drop(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
