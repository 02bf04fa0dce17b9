"""Pairs as JSON lines for whoever records them.

Invariant: nothing is kept for a reader that is slow: beyond `MOST_WAITING` bytes of a stream lines are lost and
counted.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from typing import Any

import msgspec

from proxy.comparison.answers import fields_of
from proxy.ipc.comparing import Record, Recorded
from proxy.ipc.pairs import Answered, Pair

MOST_WAITING = 1024 * 1024
Send = Callable[[Recorded], bool]
"""Sends lines to the supervisor if it takes them now."""


class Recording:
    """Every stream. `draw`: chance, 0 to 1."""

    def __init__(self, send: Send, draw: Callable[[], float] = random.random) -> None:
        self._send = send
        self._draw = draw
        self._streams: dict[int, _Stream] = {}

    @property
    def routes(self) -> tuple[str, ...]:
        """Those that are recorded by anybody."""
        return tuple(sorted({stream.route for stream in self._streams.values()}))

    def begin(self, record: Record) -> None:
        """Record for this stream from now on."""
        self._streams[record.stream] = _Stream(record.route, record.sample)

    def end(self, number: int) -> None:
        """Record no more for it."""
        self._streams.pop(number, None)

    def take(self, pair: Pair, endpoint: str) -> None:
        """Keep the pair for the streams of its route; one that came without its request is none of theirs."""
        if not pair.head:
            return
        line = b""
        for stream in self._streams.values():
            if stream.route == pair.route and (stream.sample >= 1 or self._draw() < stream.sample):
                line = line or line_of(pair, endpoint)
                stream.keep(line)

    def flush(self) -> None:
        """Send what was kept, as far as it is taken."""
        for number, stream in self._streams.items():
            if (stream.lines or stream.lost) and self._send(Recorded(number, stream.lines, stream.lost)):
                stream.lines, stream.bytes, stream.lost = [], 0, 0


class _Stream:
    __slots__ = ("bytes", "lines", "lost", "route", "sample")

    def __init__(self, route: str, sample: float) -> None:
        self.route = route
        self.sample = sample
        self.lines: list[bytes] = []
        self.bytes = 0
        self.lost = 0

    def keep(self, line: bytes) -> None:
        if self.bytes + len(line) > MOST_WAITING and self.lines:
            self.lost += 1
            return
        self.lines.append(line)
        self.bytes += len(line)


def line_of(pair: Pair, endpoint: str) -> bytes:
    """The pair as one line of JSON, without its end; docs/cli.md describes it. `endpoint` without the method."""
    left_out = pair.body_left_out
    return msgspec.json.encode({
        "at": pair.at, "id": pair.id.decode("latin-1"), "route": pair.route, "version": pair.version, "to": pair.to,
        "endpoint": endpoint, "method": pair.method.decode("latin-1"), "target": pair.target.decode("latin-1"),
        "head": _fields(pair.head), "body": {"left_out": left_out} if left_out else _body(pair.body),
        "primary": _answer(pair.primary), "shadow": _answer(pair.shadow),
    })


def _answer(answer: Answered) -> dict[str, Any]:
    body = answer.body if answer.whole or not answer.status else b""    # else it is the reason why it was not told
    return {"status": answer.status, "head": _fields(answer.head), "body": _body(body), "whole": answer.whole,
            "took_s": answer.took_s}


def _fields(head: bytes) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for name, value in fields_of(head):
        fields.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return fields


def _body(body: bytes) -> dict[str, str]:
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}
