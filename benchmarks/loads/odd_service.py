"""Services that behave as none should, for copies to be sent to: each part they play has a port of its own.

`full` has its queue of connections full and accepts none · `deaf` accepts and never reads · `slow` answers after ten
seconds · `dripping` sends a byte of its answer per second · `garbage` answers what is no HTTP · `sink` is as it should
be: it reads a body of any length and answers. Run as a program: odd_service.py '{"deaf": PORT, …}'.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from collections.abc import Callable
from typing import cast

import uvloop

SLOW_S = 10.0
DRIP_S = 1.0
HELD_S = 60.0                                   # then a deaf one lets go of a connection: nobody is at its other end
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
GARBAGE = bytes(range(128, 256)) * 2 + b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Odd(asyncio.Protocol):
    """A connection."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)    # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Requests are taken to come whole, one at a time; only `sink` gets long ones."""


class Deaf(Odd):
    """Never reads."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()
        asyncio.get_running_loop().call_later(HELD_S, self.transport.abort)


class Slow(Odd):
    """Answers after `SLOW_S`."""

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(SLOW_S, self._answer)

    def _answer(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(ANSWER)


class Dripping(Odd):
    """Sends a byte every `DRIP_S`."""

    def data_received(self, data: bytes) -> None:
        self._drip(0)

    def _drip(self, sent: int) -> None:
        if not self.transport.is_closing() and sent < len(ANSWER):
            self.transport.write(ANSWER[sent:sent + 1])
            asyncio.get_running_loop().call_later(DRIP_S, self._drip, sent + 1)


class Garbage(Odd):
    """Sends what is no HTTP."""

    def data_received(self, data: bytes) -> None:
        self.transport.write(GARBAGE)


class Sink(Odd):
    """Reads a request to its end and answers, one after another."""

    def __init__(self) -> None:
        self._head = b""
        self._left = -1                         # bytes of the body; -1: its head is not whole

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            self._head += data
            end = self._head.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            found = LENGTH.search(self._head, 0, end)
            self._left, data, self._head = int(found[1]) if found else 0, self._head[end:], b""
        self._left -= len(data)
        if self._left <= 0:
            self._left = -1
            self.transport.write(ANSWER)


PARTS: dict[str, Callable[[], Odd]] = {
    "deaf": Deaf, "slow": Slow, "dripping": Dripping, "garbage": Garbage, "sink": Sink}


def fill(port: int) -> list[socket.socket]:
    """A listening socket with a queue that is full, and the connections that fill it."""
    listening = socket.create_server(("127.0.0.1", port), backlog=0)
    held = [listening]
    while True:
        connection = socket.socket()
        connection.settimeout(0.2)
        held.append(connection)
        try:
            connection.connect(("127.0.0.1", port))
        except TimeoutError:                    # the kernel has no room for it: from here on nobody gets in
            return held


async def serve(ports: dict[str, int]) -> None:
    """Play each part on its port, for ever."""
    held = fill(ports["full"]) if "full" in ports else []
    for name, port in ports.items():
        if name != "full":
            await asyncio.get_running_loop().create_server(PARTS[name], "127.0.0.1", port, backlog=4096)
    print("ready", flush=True)
    await asyncio.Event().wait()
    del held


def main() -> None:
    uvloop.run(serve(json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
