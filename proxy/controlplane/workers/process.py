"""One life of one worker process, seen from the supervisor: its state, and what the two say to each other."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence

from proxy.clock import Clock
from proxy.controlplane.child import Child
from proxy.controlplane.workers.lifecycle import NEXT, Event, State
from proxy.controlplane.workers.listeners import Bound
from proxy.ipc.channel import framed
from proxy.ipc.messages import Applied, Drain, Drained, Message, Noticed, Quiet, Ready, Stats
from proxy.ipc.reader import Reader

WORKER_COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "proxy.dataplane")
"""How a worker is started; the descriptors follow as options. -P: the current folder must not shadow a module."""


class WorkerProcess(Child[Message]):
    """The worker of the slot `index`; to be started."""

    def __init__(
        self,
        index: int,
        life: int,
        clock: Clock,
        on_stats: Callable[[int, Stats], None],
        on_change: Callable[[], None],
        first_words: Callable[[], bytes | None],
        on_noticed: Callable[[int, Noticed], None],
    ) -> None:
        super().__init__(life, clock, Reader().read)
        self.index = index
        self.state = State.STARTING
        self.revision = 0
        self.counted = 0
        """The revision by which it served when it last said what it has counted."""
        self.cut = 0
        self.is_ready = False
        """Whether it has asked for its first snapshot."""
        self.has_begun = False
        """Whether it has been sent it."""
        self.quiet = False
        """Whether it has said that it begins no request any more."""
        self._on_stats = on_stats
        self._on_change = on_change
        self._first_words = first_words
        self._on_noticed = on_noticed
        self._waiting: list[tuple[int, asyncio.Future[bool]]] = []
        self._gone = asyncio.Event()

    async def start(self, command: Sequence[str], workers: int, sockets: Sequence[Bound]) -> None:
        """Start the process. Raises OSError when the system cannot."""
        await self._start(command, [
            *("--index", str(self.index)),
            *("--workers", str(workers)),
            *("--supervisor", str(os.getpid())),
            *(part for address, sock in sockets for part in ("--listen", f"{sock.fileno()}={address}")),
        ], [sock for _, sock in sockets])

    def begin(self) -> None:
        """Send the first snapshot, if the worker is ready for it and there is one."""
        if self.is_ready and not self.has_begun and (words := self._first_words()) is not None:
            self.has_begun = True
            self.apply(words)

    def apply(self, framed_snapshot: bytes) -> None:
        """Send an `Apply`, encoded once for all workers; `applied` tells when it is in force."""
        self._say(framed_snapshot)

    def tell(self, framed_message: bytes) -> None:
        """Send what it may do without: one that has just left, or no longer reads, is not told."""
        if self._line is not None:
            self._line.send_framed(framed_message)

    async def applied(self, revision: int, within_s: float) -> bool:
        """Wait until the worker serves by `revision` or a newer one; False when it died or took longer."""
        if self.revision >= revision or self.state is State.DEAD:
            return self.state is not State.DEAD
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((revision, future))
        try:
            return await asyncio.wait_for(future, within_s)
        except TimeoutError:
            return False
        finally:
            self._waiting = [entry for entry in self._waiting if entry[1] is not future]

    def drain(self, within_s: float) -> None:
        """Tell the worker to finish what is in flight within so many seconds, and to leave."""
        self._move(Event.DRAIN)
        self._say(framed(Drain(within_s)))

    async def gone(self) -> None:
        """Wait until `exited`, which somebody else awaits, has seen the end."""
        await self._gone.wait()

    @property
    def _is_leaving(self) -> bool:
        return self.state is State.DRAINING

    def _ended(self) -> None:
        self._move(Event.EXITED)
        self._settle()
        self._gone.set()

    def _move(self, event: Event) -> None:
        self.state = NEXT[self.state, event]

    def _settle(self) -> None:
        for revision, future in self._waiting:
            if not future.done() and (self.state is State.DEAD or self.revision >= revision):
                future.set_result(self.state is not State.DEAD)

    def _hear(self, message: Message) -> None:
        match message:
            case Ready():
                self.is_ready = True
                self._on_change()
                self.begin()
            case Stats():
                self.counted = self.revision
                self._on_stats(self.life, message)
            case Noticed():
                self._on_noticed(self.life, message)
            case Applied(revision):
                self.revision = revision
                self._move(Event.APPLIED)
                self._settle()
                self._on_change()
            case Quiet():
                self.quiet = True
                self._on_change()
            case Drained(cut):
                self.cut = cut
            case _:
                self.kill(f"it sent {type(message).__name__}, which is not a worker's to send")
