"""Two answers to the same request compared: status, headers, body, in this order.

An answer of another status class is another answer: nothing else of it is listed. Invariant: never raises, whatever the
two servers sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxy.core.compare import content
from proxy.core.compare.excerpts import of_bytes, printable
from proxy.core.compare.json_diff import json_differences
from proxy.core.compare.json_paths import Paths
from proxy.core.compare.json_text import Parsed, parsed
from proxy.core.compare.text_diff import bytes_difference, text_difference
from proxy.core.compare.values import Answer, Difference, Kind, Rules

BUILT_IN_IGNORES = re.compile(
    r"date|age|expires|last-modified|etag|server|via|connection|keep-alive|transfer-encoding|content-length"
    r"|content-encoding|vary|trailer|upgrade|alt-svc|server-timing|x-runtime|x-response-time|x-process-time|x-served-by"
    r"|x-cache.*|x-timer|x-varnish|x-powered-by|x-envoy-.*|cf-ray|(?:x-)?request-?id|(?:x-)?correlation-?id"
    r"|(?:x-)?trace-?id|x-request-start|x-b3-.*|b3|traceparent|tracestate|x-amzn?-.*|x-cloud-trace-context|x-ratelimit-.*"
    r"|ratelimit.*|x-turnout-.*"
)
"""Header names that differ between any two answers, or between any two servers: left out where `headers` says `*`."""
_PASSING = frozenset({b"expires", b"max-age"})
"""Attributes of a cookie that say a moment: of two answers they differ, and only whether they are there is compared."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What two answers differ in; `skipped`: why their bodies were not compared; `more`: it was too much to list."""

    differences: tuple[Difference, ...]
    skipped: str | None = None
    more: bool = False


class CompiledRules:
    """Rules made ready once per change of the configuration, so that a comparison does no more than compare."""

    __slots__ = ("body", "every_header", "headers", "ignored_headers", "paths", "rules", "status")

    def __init__(self, rules: Rules) -> None:
        ignored = {pattern[7:].strip().lower() for pattern in rules.ignore if pattern.startswith("header:")}
        self.rules = rules
        self.status = "status" not in rules.ignore
        self.body = rules.body != "none" and not {"body", "$"} & set(rules.ignore)
        self.every_header = "*" in rules.headers
        self.ignored_headers = frozenset(name.encode() for name in ignored)
        self.headers = tuple(name.encode() for name in rules.headers if name != "*" and name not in ignored)
        self.paths = Paths([pattern for pattern in rules.ignore if pattern.startswith("$")], rules.unordered)


def compare(rules: CompiledRules, primary: Answer, shadow: Answer) -> Compared:
    """Everything in which two answers differ, as far as the rules ask for it."""
    if not shadow.status:       # also where the status is ignored: there is none
        failed = f"no answer: {printable(shadow.body.decode('latin-1'), 64)}"
        return Compared((Difference("status", Kind.NO_ANSWER, str(primary.status), failed),))
    found: list[Difference] = []
    if rules.status and primary.status != shadow.status:
        other_class = primary.status // 100 != shadow.status // 100
        kind = Kind.STATUS_CLASS if other_class else Kind.STATUS
        found.append(Difference("status", kind, str(primary.status), str(shadow.status)))
        if other_class:
            return Compared(tuple(found))
    if rules.headers or rules.every_header:
        found += _headers(rules, primary, shadow)
    if not rules.body or (primary.body == shadow.body and primary.whole and shadow.whole
                          and content.coding(primary) == content.coding(shadow)):
        return Compared(tuple(found))
    differences, skipped, more = _bodies(rules, primary, shadow)
    return Compared((*found, *differences), skipped, more)


def _headers(rules: CompiledRules, primary: Answer, shadow: Answer) -> list[Difference]:
    ours, theirs = _fields(primary), _fields(shadow)
    names = list(rules.headers)
    if rules.every_header:
        known = set(names) | rules.ignored_headers
        names += [name for name in sorted(ours.keys() | theirs.keys()) if name not in known
                  and not BUILT_IN_IGNORES.fullmatch(name.decode("latin-1"))]
    found = []
    for name in names:
        one, other = ours.get(name), theirs.get(name)
        if one == other:
            continue
        path = "header:" + printable(name.decode("latin-1"), 64)
        if other is None:
            found.append(Difference(path, Kind.HEADER_MISSING, _excerpt(name, one), ""))
        elif one is None:
            found.append(Difference(path, Kind.HEADER_EXTRA, "", _excerpt(name, other)))
        elif _plain(name, one) != _plain(name, other):
            found.append(Difference(path, Kind.HEADER_VALUE, _excerpt(name, one), _excerpt(name, other)))
    return found


def _fields(answer: Answer) -> dict[bytes, list[bytes]]:
    fields: dict[bytes, list[bytes]] = {}
    for name, value in answer.headers:
        fields.setdefault(name.lower(), []).append(value)
    return fields


def _plain(name: bytes, values: list[bytes]) -> object:
    """The values in the form in which they are compared: cookies without theirs, a media type without case and blanks.
    """
    if name == b"set-cookie":
        return sorted((cookie, sorted(attributes)) for cookie, attributes in map(_cookie, values))
    plain = b",".join([b",".join([part.strip() for part in value.split(b",")]) for value in values])
    if name == b"content-type":
        return plain.lower().replace(b"; ", b";").replace(b'"', b"")
    return plain


def _cookie(value: bytes) -> tuple[bytes, list[bytes]]:
    """The name of a cookie and its attributes (RFC 6265 §5.2), without its value."""
    pair, *attributes = value.split(b";")
    told = []
    for attribute in attributes:
        name, equals, setting = (part.strip() for part in attribute.partition(b"="))
        name = name.lower()
        if name:
            told.append(name if name in _PASSING or not equals else name + b"=" + setting)
    return pair.partition(b"=")[0].strip(), told


def _excerpt(name: bytes, values: list[bytes] | None) -> str:
    if name == b"set-cookie":
        values = [b"; ".join((cookie, *attributes)) for cookie, attributes in map(_cookie, values or ())]
    return of_bytes(b", ".join(values or ()))


def _bodies(
    rules: CompiledRules, primary: Answer, shadow: Answer
) -> tuple[list[Difference], str | None, bool]:
    """The differences of two bodies, why they were not compared, and whether there are more."""
    one, other = content.decoded(primary, rules.rules.max_body), content.decoded(shadow, rules.rules.max_body)
    if isinstance(one, content.Skipped) or isinstance(other, content.Skipped):
        return _skipped(primary, shadow, one, other)
    if one == other:
        return [], None, False
    shape = content.shape(primary, rules.rules.body)
    if shape == "json":
        ours, theirs = parsed(one), parsed(other)
        if isinstance(ours, Parsed) and isinstance(theirs, Parsed):
            found, more = json_differences(ours.value, theirs.value, rules.paths, rules.rules.tolerance)
            return found, None, more
        if isinstance(ours, Parsed) or isinstance(theirs, Parsed):
            return [Difference("body", Kind.UNPARSABLE, _state(ours, one), _state(theirs, other))], None, False
        shape = "text"
    if shape == "text":
        return _listed(text_difference(content.text(primary, one), content.text(shadow, other)))
    return _listed(bytes_difference(one, other))


def _skipped(
    primary: Answer, shadow: Answer, one: bytes | content.Skipped, other: bytes | content.Skipped
) -> tuple[list[Difference], str | None, bool]:
    """Bodies that cannot both be read: compared as they are if coded alike; a difference if only one is broken."""
    reasons = [side.reason for side in (one, other) if isinstance(side, content.Skipped)]
    if set(reasons) == {"coding"} and len(reasons) == 2 and content.coding(primary) == content.coding(shadow):
        if primary.body == shadow.body:
            return [], None, False
        shown = f"{printable(content.coding(primary), 64)}: not decoded"     # the bytes mean nothing to a reader
        return [Difference("body", Kind.BYTES, shown, shown)], None, False
    broken = [isinstance(side, content.Skipped) and side.reason in ("corrupt", "bomb") for side in (one, other)]
    if broken[0] != broken[1] and len(reasons) == 1:
        told = [f"{content.coding(answer)}: {side.reason if isinstance(side, content.Skipped) else 'readable'}"
                for answer, side in ((primary, one), (shadow, other))]
        return [Difference("body", Kind.ENCODING, printable(told[0]), printable(told[1]))], None, False
    return [], reasons[0], False


def _listed(found: Difference | None) -> tuple[list[Difference], str | None, bool]:
    return [found] if found else [], None, False


def _state(side: Parsed | str, body: bytes) -> str:
    return printable(side if isinstance(side, str) else "JSON: " + of_bytes(body))
