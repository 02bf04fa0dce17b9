"""A reader of HTTP/1.1 that knows one spelling of everything: what it cannot read in exactly one way is a failure.

Written from the grammar alone, sharing nothing with the proxy. Each whole message is read by h11 as well, which must
agree: method, target, status, fields, body and where the message ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import h11

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(%b) ([!-\"$-~]+) HTTP/1\.1" % _TOKEN)
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
_FIELD = re.compile(rb"(%b):[ \t]*([!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?[ \t]*" % _TOKEN)
_LENGTH = re.compile(rb"[0-9]{1,19}")
_CHUNK = re.compile(rb"([1-9a-f][0-9a-f]{0,15}|0)\r\n")
_LIMIT = 1 << 20

Fields = tuple[tuple[bytes, bytes], ...]


class AmbiguousError(AssertionError):
    """The bytes are not the one canonical spelling of a message."""


@dataclass(frozen=True)
class Message:
    """One whole message. `start` is the method and target, or the status and reason; names are in lower case."""

    start: tuple[bytes, bytes]
    fields: Fields
    body: bytes = b""
    trailers: Fields = ()
    raw: bytes = b""
    interims: tuple[int, ...] = ()

    @property
    def method(self) -> bytes:
        return self.start[0]

    @property
    def target(self) -> bytes:
        return self.start[1]

    @property
    def status(self) -> int:
        return int(self.start[0])

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]

    def value(self, name: bytes) -> bytes | None:
        """The only value of a field, None where it is absent; several fail the test."""
        values = self.values(name)
        assert len(values) <= 1, f"{name!r} more than once: {values}"
        return values[0] if values else None


def take_request(data: bytes) -> Message | None:
    """The request that `data` begins with, None when it is not whole yet. Raises AmbiguousError."""
    head = _head(data)
    if head is None:
        return None
    matched = _REQUEST_LINE.fullmatch(head[0])
    if matched is None:
        raise AmbiguousError(f"not a canonical request line: {head[0]!r}")
    fields = _fields(head[1:])
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) != 1 or not hosts[0]:
        raise AmbiguousError(f"not exactly one Host: {hosts}")
    rest = _body(data, _head_size(data), fields, otherwise=0)
    if rest is None:
        return None
    body, trailers, end = rest
    message = Message((matched[1], matched[2]), fields, body, trailers, data[:end])
    _agrees(message, h11.Connection(h11.SERVER, max_incomplete_event_size=_LIMIT))
    return message


def take_response(data: bytes, method: bytes = b"GET", *, closed: bool = False) -> Message | None:
    """The final response that `data` begins with, after its interim ones. `closed`: nothing more will come."""
    interims: list[int] = []
    at = 0
    while True:
        head = _head(data[at:])
        if head is None:
            return None
        matched = _STATUS_LINE.fullmatch(head[0])
        if matched is None:
            raise AmbiguousError(f"not a canonical status line: {head[0]!r}")
        status, fields = int(matched[1]), _fields(head[1:])
        begin = at + _head_size(data[at:])
        if status >= 200 or status == 101:
            break
        _bodiless(fields)
        interims.append(status)
        at = begin
    if status in (101, 204):
        _bodiless(fields)
    if method == b"HEAD" or status in (101, 204, 304):
        rest: tuple[bytes, Fields, int] | None = (b"", (), begin)
    else:
        rest = _body(data, begin, fields, otherwise=None)
        if rest is None and closed and not {name for name, _ in fields} & {b"content-length", b"transfer-encoding"}:
            rest = (data[begin:], (), len(data))
    if rest is None:
        return None
    body, trailers, end = rest
    message = Message((matched[1], matched[2] or b""), fields, body, trailers, data[:end], tuple(interims))
    if status != 101:
        client = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LIMIT)
        client.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"h")]))
        client.send(h11.EndOfMessage())
        _agrees(message, client, closed=closed)
    return message


def _head(data: bytes) -> list[bytes] | None:
    end = data.find(b"\r\n\r\n")
    begun = data if end < 0 else data[:end]
    if not begun:
        return None
    lines = begun.split(b"\r\n")
    whole = lines if end >= 0 else lines[:-1]
    for line in whole:
        if b"\r" in line or b"\n" in line or b"\0" in line:
            raise AmbiguousError(f"a bare CR, LF or NUL in {line!r}")
    return None if end < 0 else lines


def _head_size(data: bytes) -> int:
    return data.index(b"\r\n\r\n") + 4


def _fields(lines: list[bytes]) -> Fields:
    fields = []
    for line in lines:
        matched = _FIELD.fullmatch(line)
        if matched is None:
            raise AmbiguousError(f"not a field: {line!r}")
        fields.append((matched[1].lower(), matched[2] or b""))
    return tuple(fields)


def _bodiless(fields: Fields) -> None:
    if {name for name, _ in fields} & {b"content-length", b"transfer-encoding"}:
        raise AmbiguousError("a message that has no body speaks of one")


def _body(data: bytes, begin: int, fields: Fields, *, otherwise: int | None) -> tuple[bytes, Fields, int] | None:
    """Body, trailers and end. `otherwise`: the length without framing fields, None for until close."""
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        raise AmbiguousError(f"framed more than once: {lengths} {codings}")
    if codings:
        if codings != [b"chunked"]:
            raise AmbiguousError(f"a coding other than chunked: {codings}")
        return _chunks(data, begin)
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        raise AmbiguousError(f"not a canonical length: {lengths}")
    length = int(lengths[0]) if lengths else otherwise
    if length is None or len(data) < begin + length:
        return None
    return data[begin:begin + length], (), begin + length


def _chunks(data: bytes, at: int) -> tuple[bytes, Fields, int] | None:
    payload = []
    while True:
        line = _CHUNK.match(data, at)
        if line is None:
            if b"\r\n" in data[at:at + 20] or len(data) - at > 18:
                raise AmbiguousError(f"not a canonical chunk line: {data[at:at + 20]!r}")
            return None
        size, at = int(line[1], 16), line.end()
        if size == 0:
            break
        if len(data) < at + size + 2:
            return None
        if data[at + size:at + size + 2] != b"\r\n":
            raise AmbiguousError("a chunk does not end where its size says")
        payload.append(data[at:at + size])
        at += size + 2
    if data.startswith(b"\r\n", at):
        return b"".join(payload), (), at + 2
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        return None
    return b"".join(payload), _fields(data[at:end].split(b"\r\n")), end + 4


def _agrees(message: Message, reader: h11.Connection, *, closed: bool = False) -> None:
    """That h11 reads the same out of the same bytes."""
    reader.receive_data(message.raw)
    if closed:
        reader.receive_data(b"")
    body, heads = [], []
    try:
        while True:
            match reader.next_event():
                case h11.Request() | h11.Response() as head:
                    heads.append(head)
                case h11.Data(data=data):
                    body.append(bytes(data))
                case h11.InformationalResponse():
                    pass
                case h11.EndOfMessage(headers=trailers):
                    break
                case event:
                    raise AmbiguousError(f"h11 does not see a whole message: {event!r}")
    except h11.RemoteProtocolError as error:
        raise AmbiguousError(f"h11 refuses it: {error}") from None
    head = heads[0]
    start = (head.method, head.target) if isinstance(head, h11.Request) else (b"%d" % head.status_code, head.reason)
    seen = (start, tuple(head.headers.raw_items()), b"".join(body), tuple(trailers), bytes(reader.trailing_data[0]))
    seen_fields = tuple((bytes(name).lower(), bytes(value)) for name, value in seen[1])
    if (start, seen_fields, seen[2], seen[3], seen[4]) != (
            message.start, message.fields, message.body, message.trailers, b""):
        raise AmbiguousError(f"h11 reads it otherwise: {seen!r} instead of {message!r}")


Take = Callable[[bytes], Message | None]
