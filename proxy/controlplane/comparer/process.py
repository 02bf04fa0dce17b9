"""One life of the comparer process: started with the door, ended by closing the line to it.

Invariant: after `exited` has returned, every question has been given up.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from proxy.clock import Clock
from proxy.controlplane.child import Child
from proxy.errors import TurnoutError
from proxy.ipc.comparing import FromComparer, Question, Reply, ToComparer, framed, read_by_supervisor

COMPARER_COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "proxy.comparison")
"""How a comparer is started; the descriptors follow as options."""


class NoAnswer(TurnoutError):  # noqa: N818
    """The comparer does not answer: it is not there, is starting anew, or has too much to do."""


class ComparerProcess(Child[FromComparer]):
    """A comparer; to be started. `on_message` gets what is no reply."""

    def __init__(self, life: int, clock: Clock, on_message: Callable[[FromComparer], None]) -> None:
        super().__init__(life, clock, read_by_supervisor)
        self._on_other = on_message
        self._told_to_leave = False
        self._questions: dict[int, asyncio.Future[dict[str, Any] | None]] = {}
        self._asked = 0

    async def start(self, command: Sequence[str], door: socket.socket) -> None:
        """Start the process. Raises OSError when the system cannot."""
        await self._start(command, ["--listen", str(door.fileno())], [door])

    def send(self, message: ToComparer) -> None:
        """Tell it; one that does not take it is ended."""
        self._say(framed(message))

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
        self._told_to_leave = True
        if self._line is not None:
            self._line.close()

    @property
    def _is_leaving(self) -> bool:
        return self._told_to_leave

    def _ended(self) -> None:
        for future in self._questions.values():
            if not future.done():
                future.set_exception(NoAnswer("the comparer has ended"))

    def _hear(self, message: FromComparer) -> None:
        if isinstance(message, Reply):
            future = self._questions.get(message.number)
            if future is not None and not future.done():
                future.set_result(message.found)
            return
        self._on_other(message)
