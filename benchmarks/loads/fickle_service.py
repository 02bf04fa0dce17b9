"""A server that behaves as it is told, from one request to the next: well, or in one of the ways in which servers fail.

Run as a program: fickle_service.py '{"name": "old", "port": 0, "noted": "FILE"}' prints `ready PORT`. Every line of
its standard input is a behaviour (`BEHAVIOURS`, some with numbers); `so be it` is printed once it is in force. A good
answer names the server and the request (`X-Asked`). Every request with such an id is noted in FILE as soon as it has
come whole: a line with method, id, `X-Sent` and the moment (ns of CLOCK_MONOTONIC). What was written outlives SIGKILL.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import uvloop

FIELD = re.compile(rb"\r\n(content-length|x-asked|x-sent): *([^\r]*)", re.IGNORECASE)
BACKLOG = 512
PART_S = 0.01                                   # a part of an answer is let arrive before the rest is withheld
DRIP_S = 0.002                                  # per byte
BODY = b"hello from %b %b\n"


@dataclass(frozen=True, slots=True)
class Request:
    """What is needed of one. `size`: of the whole, body included; None while not even the head is whole."""

    method: bytes
    id: bytes
    sent: bytes
    size: int


def take(data: bytes) -> Request | None:
    """The request at the begin of `data`, or None while it is not whole."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    fields = {name.lower(): value for name, value in FIELD.findall(data, 0, end)}
    size = end + 4 + int(fields.get(b"content-length", b"0"))
    if len(data) < size:
        return None
    return Request(data.partition(b" ")[0], fields.get(b"x-asked", b""), fields.get(b"x-sent", b"0"), size)


class Connection(asyncio.Protocol):
    """One connection; requests are answered in turn."""

    transport: asyncio.Transport

    def __init__(self, service: Service) -> None:
        self._service = service
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)    # uvloop's is no subclass
        if self._service.refuses:
            self.reset()

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (request := take(self._received)) is not None:
            self._received = self._received[request.size:]
            self._service.serve(self, request)

    def send(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def reset(self) -> None:
        """Close with RST."""
        if not self.transport.is_closing():
            with socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno())) as same:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    def close(self) -> None:
        self.transport.close()


Behaviour = Callable[["Service", Connection, Request], None]


class Service:
    """The server and its behaviour of the moment."""

    def __init__(self, name: bytes, noted: int) -> None:
        self.refuses = False
        self._name = name
        self._noted = noted
        self._behaviour: Callable[[Connection, Request], None] = self.well
        self._numbers: list[float] = []
        self._parts = b""
        self._places = 0.0
        self._waiting: deque[tuple[Connection, Request]] = deque()

    def serve(self, connection: Connection, request: Request) -> None:
        """Note it, and do with it what the behaviour is."""
        if request.id:
            os.write(self._noted, b"%b %b %b %d\n" % (request.method, request.id, request.sent, time.monotonic_ns()))
        self._behaviour(connection, request)

    def behave(self, words: str) -> None:
        """Change the behaviour: its name, and numbers. Raises KeyError for one that is not known."""
        name, *numbers = words.split()
        self._behaviour = partial(BEHAVIOURS[name], self)
        self._numbers = [float(number) for number in numbers]
        self.refuses = name == "reset-at-once"
        self._parts = b"Connection: close\r\n" if name == "full" else b""
        self._places = self._numbers[0] if name == "limited" else 0.0

    def answer(self, request: Request, status: int = 200) -> bytes:
        body = BODY % (self._name, request.id)
        return b"HTTP/1.1 %d Answer\r\nX-Server: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
            status, self._name, self._parts, len(body), body)

    def well(self, connection: Connection, request: Request) -> None:
        """A good answer."""
        connection.send(self.answer(request))

    def status(self, connection: Connection, request: Request) -> None:
        """`status 503`: a whole answer with this status."""
        connection.send(self.answer(request, int(self._numbers[0])))

    def after(self, connection: Connection, request: Request) -> None:
        """`after 0.2`: a good answer, so many seconds later."""
        asyncio.get_running_loop().call_later(self._numbers[0], connection.send, self.answer(request))

    def limited(self, connection: Connection, request: Request) -> None:
        """`limited 16 0.02`: 16 at once, 20 ms each; the others wait here."""
        if self._places <= 0:
            self._waiting.append((connection, request))
            return
        self._places -= 1
        asyncio.get_running_loop().call_later(self._numbers[1], self._served, connection, request)

    def _served(self, connection: Connection, request: Request) -> None:
        connection.send(self.answer(request))
        self._places += 1
        while self._waiting and self._places > 0:
            self._behaviour(*self._waiting.popleft())

    def silent(self, connection: Connection, request: Request) -> None:
        """Requests are read and never answered."""

    def drip(self, connection: Connection, request: Request) -> None:
        """A good answer, byte by byte."""
        self._drip(connection, self.answer(request), 0)

    def _drip(self, connection: Connection, answer: bytes, sent: int) -> None:
        if sent < len(answer):
            connection.send(answer[sent:sent + 1])
            asyncio.get_running_loop().call_later(DRIP_S, self._drip, connection, answer, sent + 1)

    def reset(self, connection: Connection, request: Request) -> None:
        """RST in place of an answer."""
        connection.reset()

    def reset_in_head(self, connection: Connection, request: Request) -> None:
        """RST within the answer's head."""
        self._begin(connection, self.answer(request)[:20], connection.reset)

    def reset_in_body(self, connection: Connection, request: Request) -> None:
        """RST within the answer's body."""
        self._begin(connection, self.answer(request)[:-5], connection.reset)

    def cut(self, connection: Connection, request: Request) -> None:
        """FIN within the answer's body."""
        self._begin(connection, self.answer(request)[:-5], connection.close)

    def stall(self, connection: Connection, request: Request) -> None:
        """Nothing more after the begin of the body."""
        connection.send(self.answer(request)[:-5])

    def overlong(self, connection: Connection, request: Request) -> None:
        """More than the length that was announced: what looks like another answer."""
        connection.send(self.answer(request) + BODY % (self._name, b"surplus"))

    def garbage(self, connection: Connection, request: Request) -> None:
        """No HTTP."""
        connection.send(bytes(range(128, 256)) + b"\r\n\r\n")

    def _begin(self, connection: Connection, part: bytes, then: Callable[[], None]) -> None:
        connection.send(part)
        asyncio.get_running_loop().call_later(PART_S, then)


BEHAVIOURS: dict[str, Behaviour] = {
    "well": Service.well, "status": Service.status, "after": Service.after, "limited": Service.limited,
    "silent": Service.silent, "drip": Service.drip, "reset": Service.reset, "reset-at-once": Service.reset,
    "reset-in-head": Service.reset_in_head, "reset-in-body": Service.reset_in_body, "cut": Service.cut,
    "stall": Service.stall, "overlong": Service.overlong, "garbage": Service.garbage,
    "full": Service.well,                       # … on connections that it has; nobody else gets in
}


class Door:
    """The listening socket; the queue of connections that wait for it can be filled, so that nobody gets in."""

    def __init__(self, service: Service, port: int) -> None:
        self._service = service
        self._listening = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
        self.port: int = self._listening.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._fillers: list[socket.socket] = []

    async def open(self) -> None:
        """Let those in that come."""
        while self._fillers:
            self._fillers.pop().close()
        self._listening.listen(BACKLOG)
        if self._server is None:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self._service), sock=self._listening.dup(), backlog=BACKLOG)

    def fill(self) -> None:
        """Let nobody in: the kernel's queue is of length 0, and full."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._listening.listen(0)
        while True:
            filler = socket.socket()
            filler.settimeout(0.1)
            self._fillers.append(filler)
            try:
                filler.connect(("127.0.0.1", self.port))
            except TimeoutError:
                return


async def serve(name: str, port: int, noted: str) -> None:
    """Serve as standard input says, until that ends."""
    service = Service(name.encode(), os.open(noted, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    door = Door(service, port)
    await door.open()
    print("ready", door.port, flush=True)
    told = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    while line := await told.readline():
        service.behave(line.decode())
        if line.split()[0] == b"full":
            door.fill()
        else:
            await door.open()
        print("so be it", flush=True)


def main() -> None:
    uvloop.run(serve(**json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
