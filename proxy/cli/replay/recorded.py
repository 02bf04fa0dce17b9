"""A recording, read line by line, and what of a recorded request can be sent again.

Invariant: no field leaves that belongs to the connection it came over, and no secret that is not there.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from proxy.core.compare.values import Answer

_MARK = re.compile(r"<redacted [0-9a-f]{8}>|(?<=[=])redacted-[0-9a-f]{8}")
"""What `core.compare.redact` writes in place of a value: in heads and JSON, and in queries and forms."""
_OF_THE_CONNECTION = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "content-length", "expect", "http2-settings",
})
_OF_A_COPY = frozenset({"x-turnout-shadow"})
Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request and the answer that its client got. `left_out`: names of fields that held secrets.

    `is_redacted`: whether target or body hold marks in place of secrets, so that it is not the request it was.
    """

    route: str
    version: str
    at: float
    id: str
    endpoint: str
    method: str
    target: str
    fields: Fields
    body: bytes
    primary: Answer
    left_out: tuple[str, ...]
    is_redacted: bool


def recorded(path: str) -> Iterator[Recorded | str]:
    """Yield what the file holds, in its order: requests, or for a line that is none what is wrong with it.

    Raises OSError.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip() and not line.startswith(b'{"lost":'):
                try:
                    yield _read(json.loads(line))
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                    yield f"{path}:{number}: is no recorded request ({type(error).__name__}: {error})"


def without_marks(text: bytes) -> bytes:
    """The same with every mark alike: two secrets are taken for equal, since neither is known."""
    return _MARK.sub("<redacted>", text.decode("latin-1")).encode("latin-1")


def _read(line: dict[str, Any]) -> Recorded:
    method, target, body = str(line["method"]), str(line["target"]), _body(line["body"])
    if not target.startswith("/") or not method.isascii() or not method.isupper():
        raise ValueError("its target or method is not one that can be sent")
    fields = [(str(name), str(value)) for name, values in line["head"].items() for value in values]
    named = {option.strip().lower() for name, value in fields if name.lower() == "connection"
             for option in value.split(",")}
    kept = [(name, value) for name, value in fields
            if name.lower() not in _OF_THE_CONNECTION | _OF_A_COPY | named and _MARK.search(value) is None]
    left_out = sorted({name.lower() for name, value in fields if _MARK.search(value)})
    redacted = _MARK.search(target) or _MARK.search(body.decode("latin-1"))
    return Recorded(
        str(line["route"]), str(line["version"]), float(line["at"]), str(line["id"]), f"{method} {line['endpoint']}",
        method, target, tuple(kept), body, _answer(line["primary"]), tuple(left_out), redacted is not None,
    )


def _answer(answer: dict[str, Any]) -> Answer:
    fields = tuple((str(name).encode("latin-1"), without_marks(str(value).encode("latin-1")))
                   for name, values in answer["head"].items() for value in values)
    return Answer(int(answer["status"]), fields, without_marks(_body(answer["body"])), bool(answer["whole"]),
                  float(answer["took_s"]))


def _body(body: dict[str, str]) -> bytes:
    if "base64" in body:
        return base64.b64decode(body["base64"], validate=True)
    return str(body["text"]).encode()
