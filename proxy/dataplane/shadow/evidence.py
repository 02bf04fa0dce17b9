"""Answers on their way to the comparer: decoded and rid of what must not leave the worker.

Invariant: nothing gets into a pair that has not gone through `core.compare.redact`.
"""

from __future__ import annotations

import re
import time
from hashlib import blake2b
from typing import TYPE_CHECKING

from proxy.core.compare.content import Skipped, decoded
from proxy.core.compare.redact import is_kept, redacted_headers, redacted_target, redacted_within
from proxy.core.compare.sensitive import mark
from proxy.core.compare.values import Answer
from proxy.http1.body import body_of
from proxy.http1.chunked import ChunkedError
from proxy.http1.request import CHUNKED
from proxy.ipc.pairs import Answered, Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.dataplane.shadow.copied import Copied
    from proxy.dataplane.shadow.copy import Copy

_FIELD = re.compile(rb"(?<=\r\n)([!-9;-~]+):[ \t]*([^\r\n]*)")
_NAMES = re.compile(rb"\n([^:\r\n]*+):")
_MOST_NAMES = 4_096
_kept: set[bytes] = set()
"""Names of fields that are known to be left as they are: a head that has no others needs no second look."""
_CODED = re.compile(rb"\r\ncontent-encoding:[ \t]*([^\r\n]*)", re.IGNORECASE)
_UNPACKED = 64 * 1024
"""What a request's body may grow by when it is decoded."""
_TYPE = re.compile(rb"\r\ncontent-type:[ \t]*([^\r\n]*)", re.IGNORECASE)

_JSON = re.compile(rb"json", re.IGNORECASE)
_MULTIPART = re.compile(rb"multipart/", re.IGNORECASE)

STEPS = 5_000
"""What cleaning one body may cost, in steps of up to a microsecond; of what would cost more only that is told."""
LONGEST = 256 * 1024
"""Bytes of a body that may be cleaned: only to look at so many takes milliseconds, and clients wait meanwhile."""
SHORT = 4 * 1024
"""Bytes that cost little, whatever they are."""
COSTLY = b"too-costly"
"""Told in place of a body that is left out because cleaning it would take too long."""


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


def pair_of(copied: Copied, primary: Captured, copy: Copy, control: Copy | None) -> Iterator[Pair | None]:
    """What the comparer is told of a request, at the end; None after each step of work that another may come between.

    Bodies that are all the same are left out: equal is equal. That is what most of them are, and cleaning and sending
    them is most of what a pair costs.
    """
    shadow = copied.shadow
    salt, most = shadow.salt, shadow.plan.capture
    wanted = shadow.route in shadow.line.requests_of
    answers: list[Captured | Copy] = [answer for answer in (primary, copy, control)
                                      if answer is not None and answer.status]
    bodies = [_joined(answer.pieces) for answer in answers]
    coded = _coding(primary.head)
    if not wanted and all(body == bodies[0] for body in bodies) \
            and all(_coding(each.head) == coded for each in answers):
        bodies = [b""] * len(bodies)
    told = []
    for answer, body in zip(answers, bodies, strict=True):
        coding = _coding(answer.head) if body else b""
        plain = decoded(_coded(coding, body), min(most, LONGEST)) if coding else body
        if coding:
            yield None
        if isinstance(plain, Skipped) and plain.reason == "too-large" and most > LONGEST:
            plain = Skipped("too-costly")
        told.append(_answered(answer, body, plain, salt))
        if body:
            yield None
    if not copy.status:
        told.insert(1, Answered(0, b"", copy.failure.encode(), True, 0.0))
    head, request_body, left_out = _request(copied, salt) if wanted else (b"", b"", "")
    yield Pair(
        shadow.route, shadow.version, shadow.plan.to, copied.method, redacted_target(copied.target, salt), copied.id,
        time.time(), told[0], told[1], told[2] if control is not None else None, head, request_body, left_out)


def _joined(pieces: list[bytes]) -> bytes:
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _coding(head: bytes) -> bytes:
    """The content codings of all its fields (RFC 9110 §5.3)."""
    return b", ".join(_CODED.findall(head))


def _coded(coding: bytes, body: bytes) -> Answer:
    return Answer(0, ((b"content-encoding", coding),), body)


def _answered(answer: Captured | Copy, body: bytes, plain: bytes | Skipped, salt: bytes) -> Answered:
    """`plain`: the body without its content coding."""
    head, whole = answer.head, answer.whole
    if isinstance(plain, Skipped):
        body, whole = _stand_in(plain.reason, body, salt)
    elif body:
        head = _CODED.sub(b"", head)
        cleaned = _clean_body(head, plain, salt)
        body, whole = (COSTLY, False) if cleaned is None else (cleaned, whole)
    return Answered(answer.status, _clean_head(head, salt), body, whole, answer.took_s)


def _stand_in(reason: str, body: bytes, salt: bytes) -> tuple[bytes, bool]:
    """What is told of a body that cannot be decoded, and so not be cleaned; whether it is to be compared.

    It shows the comparer the same as the body would, with the coding that the head still names: broken data for broken
    data, and for a coding that nobody here knows a keyed digest, which differs as the body does.
    """
    if reason in ("corrupt", "bomb"):
        return b"\0", True
    if reason == "coding" and len(body) <= LONGEST:
        return blake2b(body, key=salt, digest_size=16).hexdigest().encode(), True
    return b"too-large" if reason == "too-large" else COSTLY, False


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


def _clean_request(head: bytes, salt: bytes, given: frozenset[bytes]) -> bytes:
    """The same for a request, whose first line holds a target. `given`: fields whose values are nobody's business."""
    def clean(found: re.Match[bytes]) -> bytes:
        return b"%b: %b" % (found[1], mark(found[2], salt)) if found[1].lower() in given else found[0]

    line, rest = head.split(b"\r\n", 1)
    method, target, version = line.split(b" ", 2)
    rest = _FIELD.sub(clean, b"\r\n" + rest) if given else b"\r\n" + rest
    return b"%b %b %b%b" % (method, redacted_target(target, salt), version, _clean_head(rest, salt))


def _request(copied: Copied, salt: bytes) -> tuple[bytes, bytes, str]:
    """Head and body of the request as they are told, and why its body is left out."""
    body, left_out = _request_body(copied, salt)
    head = _CODED.sub(b"", copied.head) if body else copied.head
    return _clean_request(head, salt, copied.shadow.plan.given), body, left_out


def _request_body(copied: Copied, salt: bytes) -> tuple[bytes, str]:
    """The request's body without framing and content coding; empty where there is none, or with the reason why it
    cannot be had or cleaned."""
    if copied.is_streamed:
        return b"", "streamed"
    body = _joined(copied.body)
    if not body:
        return b"", ""
    if copied.is_chunked:
        decoder = body_of(CHUNKED, copied.bounds, reframed=False)
        try:
            body = decoder.feed(body)
        except ChunkedError:
            return b"", "framing"
        if not decoder.done:        # chunks so small are not worth the time
            return b"", "framing"
    coding = _coding(copied.head)
    plain = decoded(_coded(coding, body), len(body) + _UNPACKED) if coding else body
    if isinstance(plain, Skipped):
        return b"", "costly" if plain.reason in ("too-large", "bomb") else "coding"
    cleaned = _clean_body(copied.head, plain, salt)
    return (b"", "costly") if cleaned is None else (cleaned, "")


def _clean_body(head: bytes, body: bytes, salt: bytes) -> bytes | None:
    """None where that would take too long."""
    found = _TYPE.search(head)
    kind = b"" if found is None else found[1]
    return None if _is_costly(kind, body) else redacted_within(body, salt, kind, STEPS)


def _is_costly(kind: bytes, body: bytes) -> bool:
    """Whether a body is too long to be looked at, or holds too much of what cleaning stops at, measured in steps."""
    if len(body) > LONGEST:
        return True
    if len(body) <= SHORT:
        return False
    steps = 2 * body.count(b"://") + body.count(b"<") // 10
    if _MULTIPART.match(kind):
        steps += 3 * body.count(b"--")
    elif not _JSON.search(kind):
        pairs = body.count(b":") + body.count(b"=")
        steps += 3 * min(body.count(b"\n"), pairs)
        if not kind:                        # a form, say
            steps += pairs // 2 if body[:1] not in b"{[\"<" else 0
    return steps > STEPS
