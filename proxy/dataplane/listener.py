"""A listening socket that can stop accepting without losing what queues on it.

The kernel queues connections as long as somebody holds the socket, and the supervisor holds it, too: to stop watching
it is a pause and not an end. That also makes running out of descriptors harmless: what cannot be accepted waits.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.core.overload.clients import Key
    from proxy.dataplane.admission import Admission

ACCEPTED_AT_ONCE = 64
"""Per turn of the loop, so that a flood of connects leaves room for those that are there."""
MOST_QUEUED = 65_536
"""More than kernels queue on one socket: who leaves does not follow a flood for longer than that."""
PAUSE_S = 0.1
"""How long to wait for descriptors before trying again: no spinning, and nobody waits long."""

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener:
    """One listening socket of a worker. `room`: how many connections may be accepted now; `admission`: whose."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket,
                 factory: Callable[[Key], asyncio.Protocol], room: Callable[[], int], admission: Admission) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._factory = factory
        self._room = room
        self._admission = admission
        self._open = False
        self._exhausted: asyncio.TimerHandle | None = None
        self._joining: set[asyncio.Task[object]] = set()

    @property
    def is_open(self) -> bool:
        """Whether connections are being accepted, or will be as soon as there are descriptors for them."""
        return self._open

    @property
    def is_exhausted(self) -> bool:
        """Whether it waits for descriptors."""
        return self._exhausted is not None

    @property
    def joining(self) -> int:
        """How many connections were accepted and are not yet with their protocol."""
        return len(self._joining)

    async def joined(self) -> None:
        """Wait until every accepted connection is with its protocol."""
        if self._joining:
            await asyncio.wait(self._joining)

    def open(self) -> None:
        """Accept from now on."""
        if not self._open:
            self._open = True
            self._loop.add_reader(self._sock, self._accept)

    def close(self) -> None:
        """Leave further connections in the queue."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock)
            if self._exhausted is not None:
                self._exhausted.cancel()
                self._exhausted = None

    def finish(self, room: Callable[[], int]) -> None:
        """Accept what is in the queue, also when it was left there until now, and let go of the socket.

        `room`: how many may be accepted for that. Who is beyond it, or comes afterwards, is reset or refused at once,
        unless another process holds the socket, too.
        """
        for _ in range(MOST_QUEUED // ACCEPTED_AT_ONCE):
            if not self._accept_some(min(ACCEPTED_AT_ONCE, room())):
                break
        self.close()
        self._sock.close()

    def shut(self) -> None:
        """Let go of the socket, and of connections that have not joined yet."""
        self.close()
        self._sock.close()
        for task in self._joining:
            task.cancel()

    def _accept(self) -> None:
        room = self._room()
        if room <= 0 and not self._joining:
            self.close()  # nobody is about to tell the worker that it is full, which opens this again when it is not
        self._accept_some(min(ACCEPTED_AT_ONCE, room))

    def _accept_some(self, most: int) -> bool:
        """Accept so many at most; returns whether there may be more to accept."""
        for _ in range(most):
            try:
                connection, peer = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return False
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._wait_for_descriptors()
                return False
            seat = self._admission.seat(connection, peer)
            if seat is None:
                continue
            connection.setblocking(False)
            task: asyncio.Task[object] = self._loop.create_task(self._join(connection, seat), name="accept")
            self._joining.add(task)
            task.add_done_callback(self._joining.discard)
        return most > 0

    def _wait_for_descriptors(self) -> None:
        if self._open and self._exhausted is None:
            self._loop.remove_reader(self._sock)
            self._exhausted = self._loop.call_later(PAUSE_S, self._try_again)

    async def _join(self, connection: socket.socket, seat: Key) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: self._factory(seat), connection)
        except OSError:
            connection.close()  # it was reset before anybody spoke
            self._admission.leave(seat)

    def _try_again(self) -> None:
        self._exhausted = None
        if self._open:
            self._loop.add_reader(self._sock, self._accept)
