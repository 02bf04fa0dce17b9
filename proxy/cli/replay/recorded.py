"""A recording, read line by line, and what of a recorded request can be sent again.

Invariant: no field leaves that belongs to the connection it came over, and no secret that is not there. What was
recorded byte for byte stands in JSON as one character for each byte (latin-1), and becomes the same bytes again.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from proxy.core.compare.values import Answer

_MARK = re.compile(r"<redacted [0-9a-f]{8}>|(?<=[=])redacted-[0-9a-f]{8}")
"""What `core.compare.redact` writes in place of a value: in heads and JSON, and in queries and forms."""
_ALIKE = "<redacted>"
_OF_THE_CONNECTION = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "content-length", "expect", "http2-settings",
})
_OF_A_COPY = frozenset({"x-turnout-shadow"})
_METHOD = re.compile(r"[A-Z][A-Z0-9!#$%&'*+.^_`|~-]*")
_TARGET = re.compile(r"/[!-~\x80-\xff]*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
"""What no server can take for the end of a line, or of the request (RFC 9110 §5.5)."""
_MISSING = "missing"
Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request and the answer that its client got. `left_out`: names of fields that held secrets.

    `is_redacted`: whether target or body hold marks in place of secrets, so that it is not the request it was.
    `body_left_out`: why its body is not in the recording; empty for one that is whole.
    """

    route: str
    version: str
    at: float
    id: str
    endpoint: str
    method: bytes
    target: bytes
    fields: Fields
    body: bytes
    primary: Answer
    left_out: tuple[str, ...]
    is_redacted: bool
    body_left_out: str = ""


def recorded(name: str, lines: Iterable[bytes]) -> Iterator[Recorded | str]:
    """Yield what the lines of a recording hold, in their order: requests, or for a line that is none what is wrong with
    it. `name`: of the recording. Raises OSError when `lines` does.
    """
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith(b'{"lost":'):
            try:
                yield _read(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
                yield f"{name}:{number}: is no recorded request ({type(error).__name__}: {error})"


def without_marks(text: bytes) -> bytes:
    """The same with every mark alike: two secrets are taken for equal, since neither is known."""
    return _MARK.sub(_ALIKE, text.decode("latin-1")).encode("latin-1")


def is_one_mark(body: bytes) -> bool:
    """Whether a body that went through `without_marks` was hidden as a whole: nothing of it is there to compare."""
    return body.strip().strip(b'"') == _ALIKE.encode()


def _read(line: dict[str, Any]) -> Recorded:
    method, target = str(line["method"]), str(line["target"])
    if not _METHOD.fullmatch(method) or not _TARGET.fullmatch(target):
        raise ValueError("its target or method is not one that can be sent")
    fields = [(str(name), str(value)) for name, values in line["head"].items() for value in values]
    for name, value in fields:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError("one of its header fields is not one that can be sent")
    body, body_left_out = _request_body(line["body"], fields)
    named = {option.strip().lower() for name, value in fields if name.lower() == "connection"
             for option in value.split(",")}
    # A body is recorded without its coding; recordings of earlier versions name it all the same.
    gone = _OF_THE_CONNECTION | _OF_A_COPY | named | ({"content-encoding"} if body else set())
    kept = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields
            if name.lower() not in gone and _MARK.search(value) is None]
    left_out = sorted({name.lower() for name, value in fields if _MARK.search(value)})
    redacted = _MARK.search(target) or _MARK.search(body.decode("latin-1"))
    return Recorded(
        str(line["route"]), str(line["version"]), float(line["at"]), str(line["id"]), f"{method} {line['endpoint']}",
        method.encode("latin-1"), target.encode("latin-1"), tuple(kept), body, _answer(line["primary"]),
        tuple(left_out), redacted is not None, body_left_out,
    )


def _request_body(body: dict[str, str], fields: list[tuple[str, str]]) -> tuple[bytes, str]:
    """The body, and why it is not there if it is not."""
    if "left_out" in body:
        return b"", str(body["left_out"]) or _MISSING
    found = _body(body)
    if not found and any(name.lower() == "content-length" and value.strip("0 ") for name, value in fields):
        return b"", _MISSING        # recorded by an earlier version, which did not say so
    return found, ""


def _answer(answer: dict[str, Any]) -> Answer:
    fields = tuple((str(name).encode("latin-1"), without_marks(str(value).encode("latin-1")))
                   for name, values in answer["head"].items() for value in values)
    return Answer(int(answer["status"]), fields, without_marks(_body(answer["body"])), bool(answer["whole"]),
                  float(answer["took_s"]))


def _body(body: dict[str, str]) -> bytes:
    if "base64" in body:
        return base64.b64decode(body["base64"], validate=True)
    return str(body["text"]).encode()
