"""What supervisor and comparer say to each other, as msgpack in frames (`channel.Line`).

Both are of the same release. What does not decode ends the line, and with it the comparer, which is started anew.
Answers are JSON-able data that the supervisor hands on, so that they are described in one place only, the API's.
"""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.ipc.frames import frame
from proxy.ipc.messages import HistogramSeries, Series


class Watched(msgspec.Struct, frozen=True, array_like=True):
    """A route whose answers are compared. `rules`: the text of `core.compare` rules, without `control`."""

    route: str
    to: str
    control: bool
    rules: str


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """Supervisor → comparer: watch these routes from now on, and only these.

    A route whose entry is as before goes on; one whose entry has changed begins afresh; one that is not here any more
    keeps its result for whoever asks, until it is cleared or comes back.
    """

    routes: tuple[Watched, ...]


class Question(msgspec.Struct, frozen=True, tag="question"):
    """Supervisor → comparer, answered with `Reply` of the same number.

    `about`: `report`, `differences`, `rules`, `clear`, `save` or `restore`; `options`: those of `comparison.telling`.
    """

    number: int
    about: str
    route: str
    options: dict[str, Any] = {}


class Record(msgspec.Struct, frozen=True, tag="record"):
    """Supervisor → comparer: from now on tell every pair of this route, or of a `sample` (0 to 1) of them."""

    stream: int
    route: str
    sample: float


class Unrecord(msgspec.Struct, frozen=True, tag="unrecord"):
    """Supervisor → comparer: nobody reads this stream any more."""

    stream: int


class Reply(msgspec.Struct, frozen=True, tag="reply"):
    """Comparer → supervisor: the answer; None where the route was never watched."""

    number: int
    found: dict[str, Any] | None


class Recorded(msgspec.Struct, frozen=True, tag="recorded"):
    """Comparer → supervisor: lines of a stream, each a JSON object; so many before them were `lost`."""

    stream: int
    lines: list[bytes]
    lost: int = 0


class Window(msgspec.Struct, frozen=True, array_like=True):
    """Of a route, in about the last minute: how many pairs were compared, and how many of them did not differ."""

    route: str
    compared: int
    matched: int


class Summary(msgspec.Struct, frozen=True, tag="summary"):
    """Comparer → supervisor, once a second: what happened since the one before, in the shape of `messages.Stats`.

    `windows`: of the routes that had pairs in the last minute.
    """

    counters: list[Series] = []
    gauges: list[Series] = []
    histograms: list[HistogramSeries] = []
    windows: list[Window] = []


ToComparer = Configure | Question | Record | Unrecord
FromComparer = Reply | Recorded | Summary

_encoder = msgspec.msgpack.Encoder()
_at_comparer: msgspec.msgpack.Decoder[ToComparer] = msgspec.msgpack.Decoder(ToComparer)
_at_supervisor: msgspec.msgpack.Decoder[FromComparer] = msgspec.msgpack.Decoder(FromComparer)
read_by_comparer = _at_comparer.decode
"""Makes a message of a payload that came to the comparer. Raises msgspec.DecodeError."""
read_by_supervisor = _at_supervisor.decode
"""The same at the other end."""


def framed(message: ToComparer | FromComparer) -> bytes:
    """Return the message as it is sent. Raises FrameError when it is too large for anybody."""
    return frame(_encoder.encode(message))
