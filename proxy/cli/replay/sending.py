"""Sends requests as the bytes they were, and reads the answers: HTTP/1.1 over TCP, TLS or a Unix socket.

A client library would write targets and fields its own way (`/a?` as `/a`, a byte of Latin-1 as two of UTF-8), and what
is sent again would not be what was recorded. Answers are read by the same rules as everywhere in Turnout.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from proxy.errors import RefusedError, TurnoutError
from proxy.http1.body import ChunkBounds, body_of
from proxy.http1.chunked import ChunkedError
from proxy.http1.response import Response, ResponseParser

_READ = 64 * 1024
_HEAD = 256 * 1024
_FIELDS = 1_000
_BOUNDS = ChunkBounds(line=4096, extensions=16 * 1024, trailer_bytes=64 * 1024, trailer_fields=100)
_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})
_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
"""May be sent again when a kept connection turns out to have ended (RFC 9110 §9.2.2)."""
_HOST = re.compile(r"[!-~]+")

Fields = tuple[tuple[bytes, bytes], ...]


class Unreachable(TurnoutError):  # noqa: N818  the word of the exit codes
    """Nobody took the connection."""


class BrokenOff(TurnoutError):  # noqa: N818  the same
    """There is no answer, or none that can be read to its end."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where requests go. `path`: of a Unix socket; then `host` and `port` mean nothing. `name`: for a request that was
    recorded without a Host.
    """

    host: str = ""
    port: int = 80
    is_tls: bool = False
    path: str | None = None
    name: str = "localhost"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `body`: without transfer coding; `whole`: False where it was longer than asked for."""

    status: int
    fields: Fields
    body: bytes
    whole: bool


def place_of(url: str) -> Place:
    """Where an address leads: `http://host:port`, `https://host:port` or `unix:/path`. Raises ValueError."""
    if url.startswith("unix:/"):
        return Place(path=url.removeprefix("unix:"))
    parts = urlsplit(url)       # ValueError: brackets that do not fit
    port = parts.port           # ValueError: no number, or too large a one
    host = (parts.hostname or "").encode("idna").decode("ascii")        # UnicodeError is a ValueError
    if (parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or parts.path not in ("", "/") or parts.query
            or parts.fragment or "@" in url or port == 0):
        raise ValueError("it has another form")
    is_tls = parts.scheme == "https"
    name = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    return Place(host, port or (443 if is_tls else 80), is_tls, name=name)


def message(method: bytes, target: bytes, fields: Fields, body: bytes) -> bytes:
    """The request as it is sent. `fields` say nothing of the connection, nor of framing."""
    lines = [b"%b %b HTTP/1.1" % (method, target), *(name + b": " + value for name, value in fields)]
    if body or method in _WITH_BODY:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


class Client:
    """Keeps connections for further requests. `most`: bytes of an answer's body that are read."""

    def __init__(self, place: Place, most: int) -> None:
        self._place = place
        self._most = most
        self._tls = ssl.create_default_context() if place.is_tls else None
        self._parser = ResponseParser(head=_HEAD, fields=_FIELDS)
        self._idle: list[_Connection] = []

    async def ask(self, method: bytes, sent: bytes) -> Reply:
        """Send a `message` and return its answer. Raises Unreachable and BrokenOff."""
        while self._idle:
            kept = self._idle.pop()
            if kept.is_ended:
                kept.close()
                continue
            try:
                return await self._ask_over(kept, method, sent)
            except BrokenOff:
                if kept.has_heard or method not in _IDEMPOTENT:
                    raise
            break
        return await self._ask_over(await self._connect(), method, sent)

    def close(self) -> None:
        """Close what is kept."""
        for connection in self._idle:
            connection.close()

    async def _connect(self) -> _Connection:
        place = self._place
        try:
            if place.path is not None:
                return _Connection(*await asyncio.open_unix_connection(place.path))
            return _Connection(*await asyncio.open_connection(place.host, place.port, ssl=self._tls))
        except (OSError, UnicodeError) as error:        # UnicodeError: a name that IDNA does not allow
            raise Unreachable(str(error)) from error

    async def _ask_over(self, connection: _Connection, method: bytes, sent: bytes) -> Reply:
        is_kept = False
        try:
            connection.has_heard = False
            connection.writer.write(sent)
            reply, is_kept = await self._read(connection, method)
        except (OSError, EOFError, RefusedError, ChunkedError) as error:
            raise BrokenOff(str(error)) from error
        else:
            return reply
        finally:            # also of one that was given up
            if is_kept:
                self._idle.append(connection)
            else:
                connection.close()

    async def _read(self, connection: _Connection, method: bytes) -> tuple[Reply, bool]:
        """The answer, and whether the connection may carry another request."""
        unread = b""
        while True:
            head, unread = await self._read_head(connection, unread)
            response = self._parser.parse(head, len(head), method)
            if response.status >= 200 or response.status == 101:
                break       # others only say that the answer is to come
        if response.status == 101:
            raise EOFError("it has switched to another protocol, which nobody asked for")
        body, whole, rest = await self._read_body(connection, response, unread)
        fields = tuple((name, value.strip(b" \t")) for name, _, value in
                       (line.partition(b":") for line in head.split(b"\r\n")[1:-2]))
        return Reply(response.status, fields, body, whole), whole and response.keep_alive and not rest

    async def _read_head(self, connection: _Connection, data: bytes) -> tuple[bytes, bytes]:
        while (end := data.find(b"\r\n\r\n")) < 0:
            if data:
                self._parser.check_begun(data)
            if not (piece := await connection.read()):
                raise EOFError("the connection has ended before the answer's head")
            data += piece
        return data[:end + 4], data[end + 4:]

    async def _read_body(self, connection: _Connection, response: Response, data: bytes) -> tuple[bytes, bool, bytes]:
        """The body, whether it is whole, and what came after it."""
        body = body_of(response.length, _BOUNDS, reframed=False)
        found = bytearray(body.feed(data))
        while len(found) <= self._most and not body.done:
            if body.more:
                found += body.feed(b"")
            elif piece := await connection.read():
                found += body.feed(piece)
            elif body.close() is None:
                raise EOFError("the connection has ended before the answer")
        return bytes(found[:self._most]), len(found) <= self._most, body.rest


class _Connection:
    """`has_heard`: whether anything of the present answer has come."""

    __slots__ = ("_reader", "has_heard", "writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.has_heard = False

    @property
    def is_ended(self) -> bool:
        return self._reader.at_eof() or self._reader.exception() is not None

    async def read(self) -> bytes:
        data = await self._reader.read(_READ)
        self.has_heard = self.has_heard or bool(data)
        return data

    def close(self) -> None:
        self.writer.close()
