"""One life of one worker process, seen from the supervisor: its state, its channel, its end.

Invariant: after `exited` has returned, nothing of the process is left: it is reaped and its channel is closed.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from proxy.clock import Clock
from proxy.controlplane.workers.lifecycle import NEXT, Event, State
from proxy.controlplane.workers.listeners import Bound
from proxy.ipc import heirloom
from proxy.ipc.channel import Channel, framed, open_channel
from proxy.ipc.messages import Applied, Drain, Drained, Message, Noticed, Quiet, Ready, Stats

WORKER_COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "proxy.dataplane")
"""How a worker is started; the descriptors follow as options. -P: the current folder must not shadow a module."""
_LAST_WORDS_S = 1.0
_TOKEN_BYTES = 12
_ROOT = str(Path(__file__).resolve().parents[3])

# Bodies pass in pieces of up to 256,000 bytes. As it comes, glibc gives each such piece back to the kernel and asks
# for it again, every page to be cleared anew: a third of the cost of a large answer. So a few MiB stay. What the
# operator has set wins.
_KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20), "MALLOC_TRIM_THRESHOLD_": str(4 << 20),
                "MALLOC_TOP_PAD_": str(1 << 20)}


class WorkerProcess:
    """A running worker; made by `start_worker`. `life` is unique among all processes of this supervisor."""

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
        self.index = index
        self.life = life
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
        self.killed_because: str | None = None
        self._clock = clock
        self._on_stats = on_stats
        self._on_change = on_change
        self._first_words = first_words
        self._on_noticed = on_noticed
        self.started_at = self.heard_at = clock()
        self._waiting: list[tuple[int, asyncio.Future[bool]]] = []
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel | None = None
        self._channel_closed = asyncio.Event()
        self._gone = asyncio.Event()

    @property
    def pid(self) -> int:
        """The process id; 0 before the process was started."""
        return self._process.pid if self._process is not None else 0

    async def start(self, command: Sequence[str], workers: int, sockets: Sequence[Bound]) -> None:
        """Start the process and open the channel to it. Raises OSError when the system cannot."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = await asyncio.create_subprocess_exec(
                    *command,
                    *("--channel", str(theirs.fileno())),
                    *("--index", str(self.index)),
                    *("--workers", str(workers)),
                    *("--supervisor", str(os.getpid())),
                    *(part for address, sock in sockets for part in ("--listen", f"{sock.fileno()}={address}")),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[theirs.fileno(), *(sock.fileno() for _, sock in sockets)],
                    env=environment(),
                )
            self._channel = await open_channel(ours, self._on_message, self._on_closed)
        except BaseException:
            ours.close()
            self._signal(signal.SIGKILL)
            raise

    def begin(self) -> None:
        """Send the first snapshot, if the worker is ready for it and there is one."""
        if self.is_ready and not self.has_begun and (words := self._first_words()) is not None:
            self.has_begun = True
            self.apply(words)

    def apply(self, framed_snapshot: bytes) -> None:
        """Send an `Apply`, encoded once for all workers; `applied` tells when it is in force."""
        self._send(framed_snapshot)

    def tell(self, framed_message: bytes) -> None:
        """Send what it may do without: one that has just left, or no longer reads, is not told."""
        if self._channel is not None:
            self._channel.send_framed(framed_message)

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
        self._send(framed(Drain(within_s)))

    def kill(self, reason: str) -> None:
        """End the process now (SIGKILL), whatever it is doing."""
        if self.state is not State.DEAD and self.killed_because is None:
            self.killed_because = reason
            self._signal(signal.SIGKILL)

    async def exited(self) -> int:
        """Wait for the end of the process; returns its exit code, or minus the signal that ended it."""
        assert self._process is not None
        code = await self._process.wait()
        try:
            # Its last counts and `Drained` may still be unread. The end of the stream follows them, unless something
            # that the worker started holds the channel open.
            await asyncio.wait_for(self._channel_closed.wait(), _LAST_WORDS_S)
        except TimeoutError:
            pass
        self._move(Event.EXITED)
        if self._channel is not None:
            self._channel.abort()
        self._settle()
        self._gone.set()
        return code

    async def gone(self) -> None:
        """Wait until `exited`, which somebody else awaits, has seen the end."""
        await self._gone.wait()

    def _send(self, message: bytes) -> None:
        if self._channel is None or not self._channel.send_framed(message):
            self.kill("its channel is closed")

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            try:
                # Not Process.send_signal: it polls, and takes the exit code away from whoever waits for it.
                os.kill(self._process.pid, number)
            except ProcessLookupError:  # it ended meanwhile; `exited` will tell
                pass

    def _move(self, event: Event) -> None:
        self.state = NEXT[self.state, event]

    def _settle(self) -> None:
        for revision, future in self._waiting:
            if not future.done() and (self.state is State.DEAD or self.revision >= revision):
                future.set_result(self.state is not State.DEAD)

    def _on_message(self, message: Message) -> None:
        self.heard_at = self._clock()
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

    def _on_closed(self) -> None:
        # A worker closes its channel only by leaving. After an error on it, the process can no longer be told anything.
        self._channel_closed.set()
        if self._channel is not None and self._channel.reason is not None:
            self.kill(self._channel.reason)
        elif self.state is not State.DRAINING:
            asyncio.get_running_loop().call_later(_LAST_WORDS_S, self.kill, "it closed its channel")


def environment() -> dict[str, str]:
    """The supervisor's environment for a process of its own: this package first on the module path, memory it keeps,
    a token."""
    path = os.environ.get("PYTHONPATH")
    token = {heirloom.TOKEN: secrets.token_hex(_TOKEN_BYTES)}
    return {**_KEPT_MEMORY, **os.environ, **token, "PYTHONPATH": f"{_ROOT}{os.pathsep}{path}" if path else _ROOT}
