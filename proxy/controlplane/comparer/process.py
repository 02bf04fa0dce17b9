"""One life of the comparer process: started with the door and one end of a line, ended by closing that line.

Invariant: after `exited` has returned, nothing of the process is left, and every question has been given up.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from proxy.clock import Clock
from proxy.controlplane.workers.process import environment
from proxy.errors import TurnoutError
from proxy.ipc.channel import Line, open_line
from proxy.ipc.comparing import FromComparer, Question, Reply, ToComparer, framed, read_by_supervisor

COMPARER_COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "proxy.comparison")
"""How a comparer is started; the descriptors follow as options."""
_LAST_WORDS_S = 1.0


class NoAnswer(TurnoutError):  # noqa: N818
    """The comparer does not answer: it is not there, is starting anew, or has too much to do."""


class ComparerProcess:
    """A running comparer; `on_message` gets what is no reply. `life`: its key in the sums."""

    def __init__(self, life: int, clock: Clock, on_message: Callable[[FromComparer], None]) -> None:
        self.life = life
        self.killed_because: str | None = None
        self.heard = False
        """Whether it has said anything: then it works."""
        self._clock = clock
        self._on_message = on_message
        self.heard_at = clock()
        self._process: asyncio.subprocess.Process | None = None
        self._line: Line[FromComparer] | None = None
        self._questions: dict[int, asyncio.Future[dict[str, Any] | None]] = {}
        self._asked = 0

    @property
    def pid(self) -> int:
        """The process id; 0 before the process was started."""
        return self._process.pid if self._process is not None else 0

    async def start(self, command: Sequence[str], door: socket.socket) -> None:
        """Start the process and open the line to it. Raises OSError when the system cannot."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = await asyncio.create_subprocess_exec(
                    *command, "--channel", str(theirs.fileno()), "--listen", str(door.fileno()),
                    stdin=asyncio.subprocess.DEVNULL, pass_fds=[theirs.fileno(), door.fileno()], env=environment(),
                )
            self._line = await open_line(ours, read_by_supervisor, self._hear, self._on_closed)
        except BaseException:
            ours.close()
            self.kill("it was not started completely")
            raise

    def send(self, message: ToComparer) -> None:
        """Tell it; one that does not take it is ended."""
        if self._line is None or not self._line.send_framed(framed(message)):
            self.kill("its channel is closed")

    def tell(self, about: str, route: str, options: dict[str, Any]) -> None:
        """Ask without waiting for the answer."""
        self._asked += 1
        self.send(Question(self._asked, about, route, options))

    async def ask(self, about: str, route: str, options: dict[str, Any], within_s: float) -> dict[str, Any] | None:
        """Return its answer. Raises NoAnswer when there is none in time."""
        self._asked += 1
        number = self._asked
        future = self._questions[number] = asyncio.get_running_loop().create_future()
        self.send(Question(number, about, route, options))
        try:
            return await asyncio.wait_for(future, within_s)
        except TimeoutError:
            raise NoAnswer(f"the comparer did not answer within {within_s:g} s") from None
        finally:
            del self._questions[number]

    def leave(self) -> None:
        """Let it end by itself."""
        if self._line is not None:
            self._line.close()

    def kill(self, reason: str) -> None:
        """End the process now (SIGKILL)."""
        self.killed_because = self.killed_because or reason
        if self._process is not None and self._process.returncode is None:
            try:
                os.kill(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:  # it ended meanwhile; `exited` will tell
                pass

    async def exited(self) -> int:
        """Wait for the end of the process; returns its exit code, or minus the signal that ended it."""
        assert self._process is not None
        code = await self._process.wait()
        if self._line is not None:
            self._line.abort()
        for future in self._questions.values():
            if not future.done():
                future.set_exception(NoAnswer("the comparer has ended"))
        return code

    def _hear(self, message: FromComparer) -> None:
        self.heard, self.heard_at = True, self._clock()
        if isinstance(message, Reply):
            future = self._questions.get(message.number)
            if future is not None and not future.done():
                future.set_result(message.found)
            return
        self._on_message(message)

    def _on_closed(self) -> None:
        # It closes its line only by ending. After an error on the line it can no longer be told anything.
        if self._line is not None and self._line.reason is not None:
            self.kill(self._line.reason)
        else:
            asyncio.get_running_loop().call_later(_LAST_WORDS_S, self.kill, "it closed its channel")
