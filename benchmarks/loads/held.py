"""Many connections held open and kept busy by one thread, each known by its client port; counts what each one loses."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from socket import socket

from benchmarks.loads import client, requests

PAUSE_S = 0.01                                  # between an answer and the connection's next request
LATE_S = 5.0                                    # an answer that takes longer counts as lost


@dataclass(slots=True)
class Held:
    """One connection and its fate. `asked_at` is None while it pauses."""

    connection: socket
    opened_at: float
    asked_at: float | None = None
    pause_until: float = 0.0
    answered: int = 0
    first_answer_s: float | None = None
    lost: str = ""
    received: bytes = b""

    @property
    def port(self) -> int:
        return int(self.connection.getsockname()[1])


@dataclass(slots=True)
class Crowd:
    """All connections to one proxy."""

    port: int
    members: dict[int, Held] = field(default_factory=dict)
    poll: select.epoll = field(default_factory=select.epoll)
    sent: int = 0

    def join(self) -> Held:
        """Open one more connection. Raises OSError if it is refused."""
        connection = client.connect(self.port, LATE_S)
        connection.setblocking(False)
        member = Held(connection, time.monotonic())
        self.members[connection.fileno()] = member
        self.poll.register(connection.fileno(), select.EPOLLIN)
        return member

    def keep_busy(self, seconds: float, every_10_ms: Callable[[], None] = lambda: None) -> None:
        """Requests on every connection for `seconds`, each a moment after the answer to the last one."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            every_10_ms()
            for member in list(self.members.values()):
                self._move(member, now)
            until = time.monotonic() + PAUSE_S
            while (left := until - time.monotonic()) > 0:
                for descriptor, _ in self.poll.poll(left):
                    self._read(self.members[descriptor])

    def finish(self) -> None:
        """Wait for the answers that are still due, then close everything."""
        end = time.monotonic() + LATE_S
        while time.monotonic() < end and any(m.asked_at and not m.lost for m in self.members.values()):
            for descriptor, _ in self.poll.poll(0.1):
                self._read(self.members[descriptor])
        for member in self.members.values():
            if member.asked_at and not member.lost:
                self._lose(member, "no answer")
            member.connection.close()
        self.poll.close()

    def _move(self, member: Held, now: float) -> None:
        if member.lost:
            return
        if member.asked_at is None and now >= member.pause_until:
            self.sent += 1
            member.asked_at = now
            try:
                member.connection.send(requests.request(self.sent, "/", f"held-{self.sent}"))
            except OSError as error:
                self._lose(member, str(error))

    def _read(self, member: Held) -> None:
        try:
            piece = member.connection.recv(65_536)
        except OSError as error:
            self._lose(member, str(error))
            return
        if not piece:
            self._lose(member, "closed")
            return
        member.received += piece
        head, separator, body = member.received.partition(b"\r\n\r\n")
        if not separator:
            return
        status, fields = client.parse_head(head)
        if len(body) < int(fields["content-length"]):
            return
        now = time.monotonic()
        member.received, member.asked_at, member.pause_until = b"", None, now + PAUSE_S
        member.answered += 1
        if member.first_answer_s is None:
            member.first_answer_s = now - member.opened_at
        if status != 200:
            self._lose(member, f"answered {status}")

    def _lose(self, member: Held, why: str) -> None:
        member.lost = why
        self.poll.unregister(member.connection.fileno())
