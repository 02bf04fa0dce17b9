"""A process of the supervisor's own with a line to it: how it is started, spoken to, ended, and heard to its last word.

Invariants: after `exited` has returned, nothing of the process is left (it is reaped, its line is closed), and what it
said last has been heard. A pause of the supervisor itself makes no process silent.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from proxy.clock import Clock
from proxy.ipc import heirloom
from proxy.ipc.channel import Line, open_line

Heard = TypeVar("Heard")

LOOK_EVERY_S = 1.0
"""How often `end_if_silent` is to be called."""
_PAUSE_S = 3 * LOOK_EVERY_S
_LAST_WORDS_S = 1.0
_TOKEN_BYTES = 12
_ROOT = str(Path(__file__).resolve().parents[2])

# Bodies pass in pieces of up to 256,000 bytes. As it comes, glibc gives each such piece back to the kernel and asks
# for it again, every page to be cleared anew: a third of the cost of a large answer. So a few MiB stay. What the
# operator has set wins.
_KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20), "MALLOC_TRIM_THRESHOLD_": str(4 << 20),
                "MALLOC_TOP_PAD_": str(1 << 20)}


class Child(Generic[Heard]):
    """One life of one process. `life` is unique among all processes of this supervisor: its key in the sums.

    `read` makes a message of what the process sends, as `ipc.channel.Line` asks. Whoever inherits this says what is
    done with one (`_hear`), and may say more (`_is_leaving`, `_ended`).
    """

    def __init__(self, life: int, clock: Clock, read: Callable[[bytes], Heard]) -> None:
        self.life = life
        self.heard = False
        """Whether it has said anything."""
        self._clock = clock
        self._read = read
        self._heard_at = self._looked_at = clock()
        self._process: asyncio.subprocess.Process | None = None
        self._line: Line[Heard] | None = None
        self._line_closed = asyncio.Event()
        self._killed_because: str | None = None

    @property
    def pid(self) -> int:
        """The process id; 0 before the process was started."""
        return self._process.pid if self._process is not None else 0

    def kill(self, reason: str) -> None:
        """End the process now (SIGKILL), whatever it is doing; nothing happens when it has ended."""
        if self._process is None or self._process.returncode is not None or self._killed_because is not None:
            return
        self._killed_because = reason
        try:
            # Not Process.kill: it polls, and takes the exit code away from whoever waits for it.
            os.kill(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it ended meanwhile; `exited` will tell
            pass

    def end_if_silent(self, allowed_s: float) -> None:
        """End it if it has said nothing for longer than this. To be called every `LOOK_EVERY_S` seconds."""
        now = self._clock()
        looked_at, self._looked_at = self._looked_at, now
        # After a pause of the supervisor itself, what the process said meanwhile is still unread.
        if now - looked_at < _PAUSE_S and now - self._heard_at > allowed_s:
            self.kill(f"it said nothing for {allowed_s:g} s")

    async def exited(self) -> str:
        """Wait for the end of the process and for its last words; returns why it ended, for people."""
        assert self._process is not None
        code = await self._process.wait()
        try:
            # The end of the stream follows its last words, unless something that it started holds the line open.
            await asyncio.wait_for(self._line_closed.wait(), _LAST_WORDS_S)
        except TimeoutError:
            pass
        if self._line is not None:
            self._line.abort()
        self._ended()
        if code == -signal.SIGKILL and self._killed_because is not None:
            return self._killed_because
        return f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"

    async def _start(self, command: Sequence[str], options: Sequence[str], sockets: Sequence[socket.socket]) -> None:
        """Start the process, which has these sockets, too, and open the line to it.

        Raises OSError when the system cannot.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = await asyncio.create_subprocess_exec(
                    *command, "--channel", str(theirs.fileno()), *options, stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[theirs.fileno(), *(sock.fileno() for sock in sockets)], env=_environment())
            self._line = await open_line(ours, self._read, self._on_message, self._on_closed)
        except BaseException:
            ours.close()
            self.kill("it was not started completely")
            raise

    def _say(self, message: bytes) -> None:
        """Send what `frame` returned; one that does not take it is ended."""
        if self._line is None or not self._line.send_framed(message):
            self.kill("its channel is closed")

    # ---- for those who inherit this

    @abstractmethod
    def _hear(self, message: Heard) -> None:
        """What it says."""

    @property
    @abstractmethod
    def _is_leaving(self) -> bool:
        """Whether it was told to leave, by somebody who looks after that: then it may close its line long before."""

    @abstractmethod
    def _ended(self) -> None:
        """The process is gone, and all it said was heard."""

    # ---- what the line tells

    def _on_message(self, message: Heard) -> None:
        self.heard, self._heard_at = True, self._clock()
        self._hear(message)

    def _on_closed(self) -> None:
        # It closes its line only by leaving. After an error on the line, it can no longer be told anything.
        self._line_closed.set()
        if self._line is not None and self._line.reason is not None:
            self.kill(self._line.reason)
        elif not self._is_leaving:
            asyncio.get_running_loop().call_later(_LAST_WORDS_S, self.kill, "it closed its channel")


async def pause(delay_s: float, unless: asyncio.Event) -> None:
    """Wait so long before the successor is started, or until it is known that there is to be none."""
    try:
        await asyncio.wait_for(unless.wait(), delay_s)
    except TimeoutError:
        pass


def _environment() -> dict[str, str]:
    """The supervisor's environment for a process of its own: this package first on the module path, memory it keeps,
    a token."""
    path = os.environ.get("PYTHONPATH")
    token = {heirloom.TOKEN: secrets.token_hex(_TOKEN_BYTES)}
    return {**_KEPT_MEMORY, **os.environ, **token, "PYTHONPATH": f"{_ROOT}{os.pathsep}{path}" if path else _ROOT}
