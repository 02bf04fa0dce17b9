"""Message bodies on their way through: framed as they came, framed anew as they leave.

Three ways to end a body, one interface: `feed` takes in what arrived and returns what to write; afterwards `done` says
whether the body has ended, `rest` is what came after it, `more` asks for another `feed(b"")` later, and `taken`
counts the payload so far in bytes. `payload` is that of the last piece, without any framing.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from proxy.http1.chunked import ChunkedDecoder, chunk, last_chunk
from proxy.http1.request import CHUNKED


class ChunkBounds(NamedTuple):
    """Bounds on the framing of a chunked body; see `ChunkedDecoder`."""

    line: int
    extensions: int
    trailer_bytes: int
    trailer_fields: int


class Body(Protocol):
    """A body under way."""

    done: bool
    more: bool
    payload: bytes
    rest: bytes
    taken: int

    def feed(self, data: bytes) -> bytes:
        """Take in `data`, return what to write. Raises ChunkedError when the framing is broken."""

    def close(self) -> bytes | None:
        """The connection has ended in order: what is left to write when that ends the body, None when it breaks it."""


class SizedBody:
    """A body of a known length: passed on as it is."""

    __slots__ = ("_left", "done", "more", "payload", "rest", "taken")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0
        self.more = False
        self.payload = self.rest = b""
        self.taken = 0

    def feed(self, data: bytes) -> bytes:
        """See `Body`."""
        size = len(data)
        left = self._left
        if size >= left:
            self.done = True
            if size > left:
                self.rest = data[left:]
                data = data[:left]
                size = left
        self._left = left - size
        self.taken += size
        self.payload = data
        return data

    def close(self) -> bytes | None:
        """See `Body`."""
        return b"" if self.done else None


class ChunkedBody:
    """A chunked body; `reframed` says whether it leaves in chunks, too, or as plain bytes (to an HTTP/1.0 client)."""

    __slots__ = ("_decoder", "_reframed", "done", "more", "payload", "rest", "taken")

    def __init__(self, bounds: ChunkBounds, *, reframed: bool) -> None:
        self._decoder = ChunkedDecoder(line=bounds.line, extensions=bounds.extensions,
                                       trailer_bytes=bounds.trailer_bytes, trailer_fields=bounds.trailer_fields)
        self._reframed = reframed
        self.done = self.more = False
        self.payload = self.rest = b""
        self.taken = 0

    def feed(self, data: bytes) -> bytes:
        """See `Body`."""
        decoder = self._decoder
        self.payload = payload = decoder.feed(data)
        self.taken += len(payload)
        self.more = decoder.more
        out = chunk(payload) if payload and self._reframed else payload
        if decoder.done:
            self.done = True
            self.rest = decoder.rest
            if self._reframed:
                out += last_chunk(decoder.trailers)
        return out

    def close(self) -> bytes | None:
        """See `Body`."""
        return b"" if self.done else None


class UnboundedBody:
    """A body that ends with the connection; `reframed` says whether it leaves in chunks."""

    __slots__ = ("_reframed", "done", "more", "payload", "rest", "taken")

    def __init__(self, *, reframed: bool) -> None:
        self._reframed = reframed
        self.done = self.more = False
        self.payload = self.rest = b""
        self.taken = 0

    def feed(self, data: bytes) -> bytes:
        """See `Body`."""
        self.taken += len(data)
        self.payload = data
        return chunk(data) if self._reframed and data else data

    def close(self) -> bytes | None:
        """See `Body`."""
        self.done = True
        return last_chunk(b"") if self._reframed else b""


def body_of(length: int, bounds: ChunkBounds, *, reframed: bool) -> Body:
    """The body that a head announces by its `length`: a number, CHUNKED or UNTIL_CLOSE."""
    if length >= 0:
        return SizedBody(length)
    return ChunkedBody(bounds, reframed=reframed) if length == CHUNKED else UnboundedBody(reframed=reframed)
