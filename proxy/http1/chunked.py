"""Chunked bodies (RFC 9112 §7.1): read under bounds, written anew.

What arrives is decoded to its payload and framed again, never copied: an extension or an odd line ending cannot move
a boundary for whoever reads next. Work is bounded per call, so that a hundred thousand one-byte chunks take turns
with other connections.
"""

from __future__ import annotations

import re

from proxy.http1.fields import FIELD_VALUE, FORBIDDEN_IN_TRAILERS, TOKEN

CHUNKS_PER_FEED = 2048
"""About two milliseconds of work."""

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_BEGUN_SIZE_LINE = re.compile(rb"[0-9A-Fa-f]{0,16}(?:(?<=[0-9A-Fa-f])(?:;[\t\x20-\x7e\x80-\xff]*)?\r?)?")


class ChunkedError(ValueError):
    """The framing is broken or beyond its bounds: nothing after this point can be trusted."""


class ChunkedDecoder:
    """Decodes one body. All bounds in bytes but `trailer_fields`.

    `more` says that complete chunks wait for another `feed(b"")`; `done` that the body has ended, and then `rest` is
    what followed it and `trailers` its trailer fields that may go on, as lines.
    """

    __slots__ = ("_data", "_extensions", "_extensions_left", "_in_trailers", "_left", "_line", "_trailer_bytes",
                 "_trailer_fields", "done", "more", "rest", "trailers")

    def __init__(self, *, line: int, extensions: int, trailer_bytes: int, trailer_fields: int) -> None:
        self._line = line
        self._extensions = self._extensions_left = extensions
        self._trailer_bytes = trailer_bytes
        self._trailer_fields = trailer_fields
        self._data = b""
        self._left = 0  # bytes of the current chunk that have not come yet, its CRLF included
        self._in_trailers = False
        self.more = False
        self.done = False
        self.rest = b""
        self.trailers = b""

    def feed(self, data: bytes) -> bytes:
        """Take in what arrived and return the payload in it. Raises ChunkedError."""
        if self._data:
            data = self._data + data
            self._data = b""
        self.more = False
        payload: list[bytes] = []
        at = 0
        for _ in range(CHUNKS_PER_FEED):
            if self._in_trailers:
                self._end(data[at:])
                return b"".join(payload)
            if self._left:
                at = self._take(data, at, payload)
                if self._left:
                    self._data = data[at:]
                    return b"".join(payload)
            line = _SIZE_LINE.match(data, at)
            if line is None:
                self._wait_for_line(data[at:])
                return b"".join(payload)
            at = self._open_chunk(line)
        self._data = data[at:]
        self.more = bool(self._data) or self._in_trailers
        return b"".join(payload)

    def _open_chunk(self, line: re.Match[bytes]) -> int:
        """Begin the chunk that this line announces; returns where its data begins."""
        if line[2]:
            self._extensions_left -= len(line[2])
            if self._extensions_left < 0:
                raise ChunkedError(f"chunk extensions beyond {self._extensions} bytes")
        if line.end() - line.start() > self._line:
            raise ChunkedError(f"a chunk-size line beyond {self._line} bytes")
        size = int(line[1], 16)
        if size:
            self._left = size + 2
        else:
            self._in_trailers = True
        return line.end()

    def _take(self, data: bytes, at: int, payload: list[bytes]) -> int:
        """Take what has come of the current chunk; returns where the rest begins."""
        have = len(data) - at
        if have >= self._left:
            end = at + self._left
            if data[end - 2:end] != b"\r\n":
                raise ChunkedError("a chunk does not end where its size says")  # h11 CVE-2025-43859
            payload.append(data[at:end - 2])
            self._left = 0
            return end
        if have > 0 and self._left > 2:
            now = min(have, self._left - 2)
            payload.append(data[at:at + now])
            self._left -= now
            at += now
        if self._left <= 2 and not b"\r\n".startswith(data[at:]):
            raise ChunkedError("a chunk does not end where its size says")
        return at

    def _wait_for_line(self, begun: bytes) -> None:
        if not _BEGUN_SIZE_LINE.fullmatch(begun):
            raise ChunkedError("not a chunk-size line")
        if len(begun) > self._line:
            raise ChunkedError(f"a chunk-size line beyond {self._line} bytes")
        self._data = begun

    def _end(self, data: bytes) -> None:
        """Read the trailer section, which ends with an empty line."""
        end = 0 if data.startswith(b"\r\n") else data.find(b"\r\n\r\n") + 2
        if end == 1:
            if len(data) > self._trailer_bytes:
                raise ChunkedError(f"trailers beyond {self._trailer_bytes} bytes")
            if data.count(b"\n") != data.count(b"\r\n"):
                raise ChunkedError("a trailer is not a field")
            self._data = data
            return
        if end > self._trailer_bytes:
            raise ChunkedError(f"trailers beyond {self._trailer_bytes} bytes")
        lines = data[:end].split(b"\r\n")[:-1] if end else []
        if len(lines) > self._trailer_fields:
            raise ChunkedError(f"more than {self._trailer_fields} trailer fields")
        self.trailers = b"".join(line + b"\r\n" for line in lines if _may_go_on(line))
        self.rest = data[end + 2:]
        self.done = True


def _may_go_on(line: bytes) -> bool:
    """Whether this trailer may be forwarded. Raises ChunkedError when it is no field at all."""
    name, colon, value = line.partition(b":")
    if not colon or not TOKEN.fullmatch(name) or not FIELD_VALUE.fullmatch(value):
        raise ChunkedError("a trailer is not a field")
    name = name.lower().replace(b"_", b"-")
    return name not in FORBIDDEN_IN_TRAILERS and not name.startswith(b"x-forwarded-")


def chunk(payload: bytes) -> bytes:
    """One chunk that holds this payload, which must not be empty."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def last_chunk(trailers: bytes) -> bytes:
    """The end of a body: `trailers` as lines, each with its CRLF."""
    return b"0\r\n%b\r\n" % trailers
