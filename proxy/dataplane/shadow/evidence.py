"""Answers on their way to the comparer: decoded and rid of what must not leave the worker.

Invariant: nothing gets into a pair that has not gone through `core.compare.redact`.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from proxy.core.compare.content import Skipped, decoded
from proxy.core.compare.redact import redacted_body, redacted_headers, redacted_target
from proxy.core.compare.values import Answer
from proxy.ipc.pairs import Answered, Pair

if TYPE_CHECKING:
    from proxy.dataplane.shadow.copied import Copied
    from proxy.dataplane.shadow.copy import Copy

_FIELD = re.compile(rb"(?<=\r\n)([!-9;-~]+):[ \t]*([^\r\n]*)")
_SUSPECT = re.compile(
    rb"auth|cookie|\r\n[^:\r\n]*(?:key|token|secret|cert|jwt|session|x-forwarded-)|location:|referer:|refresh:|\r\nlink:",
    re.IGNORECASE)
"""Finds a head that may hold something to be redacted: a superset of what `redact` looks at, in one pass."""
_CODED = re.compile(rb"\r\ncontent-encoding:[ \t]*([^\r\n]*)", re.IGNORECASE)
_TYPE = re.compile(rb"\r\ncontent-type:[ \t]*([^\r\n]*)", re.IGNORECASE)


class Captured:
    """What is kept of the client's answer. `whole`: whether that is all of its body."""

    __slots__ = ("head", "kept", "pieces", "status", "took_s", "whole")

    def __init__(self) -> None:
        self.status = 0
        self.head = b""
        self.pieces: list[bytes] = []
        self.kept = 0
        self.whole = True
        self.took_s = 0.0

    def cut(self) -> None:
        """More came than is kept: then nothing of it is worth keeping."""
        self.whole = False
        self.pieces.clear()


def pair_of(copied: Copied, primary: Captured, copy: Copy, control: Copy | None) -> Pair:
    """What the comparer is told of a request."""
    shadow = copied.shadow
    salt, most = shadow.salt, shadow.plan.capture
    wanted = shadow.route in shadow.line.requests_of
    return Pair(
        shadow.route, shadow.version, shadow.plan.to, copied.method, redacted_target(copied.target, salt), copied.id,
        time.time(), _answered(primary, salt, most), _answered(copy, salt, most),
        None if control is None else _answered(control, salt, most),
        _clean_head(copied.head, salt) if wanted else b"",
        _clean_body(copied.head, b"".join(copied.body), salt) if wanted else b"")


def _answered(answer: Captured | Copy, salt: bytes, most: int) -> Answered:
    head, whole = answer.head, answer.whole
    pieces = answer.pieces
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if body:
        coded = _CODED.search(head)
        if coded is not None:
            plain = decoded(Answer(answer.status, ((b"content-encoding", coded[1]),), body), most)
            body, whole = (b"", False) if isinstance(plain, Skipped) else (plain, whole)
            head = _CODED.sub(b"", head)
        body = _clean_body(head, body, salt)
    return Answered(answer.status, _clean_head(head, salt), body, whole, answer.took_s)


def _clean_head(head: bytes, salt: bytes) -> bytes:
    if _SUSPECT.search(head) is None:
        return head

    def clean(found: re.Match[bytes]) -> bytes:
        ((name, value),) = redacted_headers(((found[1], found[2]),), salt)
        return b"%b: %b" % (name, value)

    return _FIELD.sub(clean, head)


def _clean_body(head: bytes, body: bytes, salt: bytes) -> bytes:
    if not body:
        return b""
    kind = _TYPE.search(head)
    return redacted_body(body, salt, b"" if kind is None else kind[1])
