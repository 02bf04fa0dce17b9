"""Answers on their way to the comparer: decoded and rid of what must not leave the worker.

Invariant: nothing gets into a pair that has not gone through `core.compare.redact`.
"""

from __future__ import annotations

import re
import time
from hashlib import blake2b
from typing import TYPE_CHECKING

from proxy.core.compare.content import Skipped, decoded
from proxy.core.compare.redact import is_kept, redacted_body, redacted_headers, redacted_target
from proxy.core.compare.values import Answer
from proxy.ipc.pairs import Answered, Pair

if TYPE_CHECKING:
    from proxy.dataplane.shadow.copied import Copied
    from proxy.dataplane.shadow.copy import Copy

_FIELD = re.compile(rb"(?<=\r\n)([!-9;-~]+):[ \t]*([^\r\n]*)")
_NAMES = re.compile(rb"\n([^:\r\n]*+):")
_MOST_NAMES = 4_096
_kept: set[bytes] = set()
"""Names of fields that are known to be left as they are: a head that has no others needs no second look."""
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
    """What the comparer is told of a request. Bodies that are all the same are left out: equal is equal.

    That is what most of them are, and cleaning and sending them is most of what a pair costs.
    """
    shadow = copied.shadow
    salt, most = shadow.salt, shadow.plan.capture
    wanted = shadow.route in shadow.line.requests_of
    answers: list[Captured | Copy] = [primary, copy] if control is None else [primary, copy, control]
    bodies = [_joined(answer.pieces) for answer in answers]
    if not wanted and all(body == bodies[0] for body in bodies) and _coding(primary.head) == _coding(copy.head):
        bodies = [b""] * len(bodies)
    told = [_answered(answer, body, salt, most) for answer, body in zip(answers, bodies, strict=True)]
    return Pair(
        shadow.route, shadow.version, shadow.plan.to, copied.method, redacted_target(copied.target, salt), copied.id,
        time.time(), told[0], told[1], told[2] if control is not None else None,
        _clean_request(copied.head, salt) if wanted else b"",
        _clean_body(copied.head, _joined(copied.body), salt) if wanted else b"")


def _joined(pieces: list[bytes]) -> bytes:
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _coding(head: bytes) -> bytes:
    found = _CODED.search(head)
    return b"" if found is None else found[1]


def _answered(answer: Captured | Copy, body: bytes, salt: bytes, most: int) -> Answered:
    head, whole = answer.head, answer.whole
    if body:
        coding = _coding(head)
        plain = decoded(Answer(answer.status, ((b"content-encoding", coding),), body), most) if coding else body
        if isinstance(plain, Skipped):
            body, whole = _stand_in(plain.reason, body, salt)
        else:
            head = _CODED.sub(b"", head) if coding else head
            body = _clean_body(head, plain, salt)
    return Answered(answer.status, _clean_head(head, salt), body, whole, answer.took_s)


def _stand_in(reason: str, body: bytes, salt: bytes) -> tuple[bytes, bool]:
    """What is told of a body that cannot be decoded, and so not be cleaned; whether it is to be compared.

    It shows the comparer the same as the body would, with the coding that the head still names: broken data for broken
    data, and for a coding that nobody here knows a keyed digest, which differs as the body does.
    """
    if reason in ("corrupt", "bomb"):
        return b"\0", True
    if reason == "coding":
        return blake2b(body, key=salt, digest_size=16).hexdigest().encode(), True
    return b"", False


def _clean_head(head: bytes, salt: bytes) -> bytes:
    if _kept.issuperset(_NAMES.findall(head)):
        return head

    def clean(found: re.Match[bytes]) -> bytes:
        if _is_kept(found[1]):
            return found[0]
        ((name, value),) = redacted_headers(((found[1], found[2]),), salt)
        return b"%b: %b" % (name, value)

    return _FIELD.sub(clean, head)


def _is_kept(name: bytes) -> bool:
    if name in _kept:
        return True
    if not is_kept(name):
        return False
    if len(_kept) >= _MOST_NAMES:       # somebody makes them up
        _kept.clear()
    _kept.add(name)
    return True


def _clean_request(head: bytes, salt: bytes) -> bytes:
    """The same for a request, whose first line holds a target."""
    line, rest = head.split(b"\r\n", 1)
    method, target, version = line.split(b" ", 2)
    return b"%b %b %b%b" % (method, redacted_target(target, salt), version, _clean_head(b"\r\n" + rest, salt))


def _clean_body(head: bytes, body: bytes, salt: bytes) -> bytes:
    if not body:
        return b""
    kind = _TYPE.search(head)
    return redacted_body(body, salt, b"" if kind is None else kind[1])
