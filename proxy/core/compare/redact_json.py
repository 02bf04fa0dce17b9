"""Removes the values of sensitive members from raw JSON, without parsing it.

One regular expression lists the members' names, and where all of them are known to be harmless that was all. In others
a name is found by its end, a quote and a colon: in valid JSON a quote behind a word and before a colon can only close a
member's name, so no tokenizer has to run from the start. A value whose name is itself a value beside it
(`{"name": "password", "value": …}`) is found by a tokenizer, which runs only where such a name is sensitive.

Invariants: a sensitive name's value (text, number, or all of an object or array) does not stay; valid JSON stays valid.
Where that cannot be had (a body cut in the middle, JSON inside a string), more is removed.
"""

from __future__ import annotations

import json
import re

from proxy.core.compare.sensitive import (
    LONGEST_NAME,
    VALUE_NAMES,
    is_sensitive,
    is_suspect,
    mark,
    new_among,
)

_NAMES = re.compile(rb'"([^"]*+)"[ \t\r\n]*+:')      # possessive: a string that is no name is passed over once
_COLON = re.compile(rb'"[ \t\r\n]*:[ \t\r\n]*')
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_REST_OF_STRING = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_BARE = re.compile(rb"[^,}\]\s\"]*")
_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]|"', re.DOTALL)
_NO_BLANKS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[^" \t\r\n]+|"', re.DOTALL)
_ESCAPED_ASCII = re.compile(rb"(?<!\\)((?:\\\\)*)\\u00([2-7][0-9A-Fa-f])")
_HARMLESS = frozenset({b"null", b"true", b"false", b'""'})
_MOST_QUOTES = 65_536
_MOST_NEW_NAMES = 256

_NAME_NAMES = rb"(?i:name|key|field|param(?:eter)?|header|attribute|property|label|variable|type|id|k)"
_NAME_NAME = re.compile(_NAME_NAMES)
_NAMED = re.compile(rb'"' + _NAME_NAMES + rb'"[ \t\r\n]*+:[ \t\r\n]*+"([^"\\]{1,128}+)"')
_NAMED_ESCAPED = re.compile(rb'"' + _NAME_NAMES + rb'"[ \t\r\n]*+:[ \t\r\n]*+"[^"\\]{0,128}\\u00')
_NAMED_INSIDE = re.compile(rb'\\"' + _NAME_NAMES + rb'\\+"[ \t\r\n]*+:[ \t\r\n]*+\\+"([^"\\]{1,128}+)\\')
_STRING_OR_REST = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}:]|"', re.DOTALL)
_FIRST = rb'\[[ \t\r\n]*+"([^"\\]{1,128}+)"[ \t\r\n]*+,[ \t\r\n]*+'
_FIRST_OF_TWO_NAMES = re.compile(_FIRST + rb'"')
_FIRST_OF_TWO = re.compile(rb"(" + _FIRST + rb")(" + _STRING_OR_REST.pattern + rb")", re.DOTALL)
_SCALAR = re.compile(rb"[^,}\]\s\"{\[]++")
_BLANKS = re.compile(rb"[ \t\r\n]*+")


def redacted_json(body: bytes, salt: bytes) -> bytes:
    """The body without the values of sensitive members; any other body as it is."""
    if b"\\u0022" in body:
        body = _plain_escapes(body)         # a quote, as some write it within a string
    new = new_among(_NAMES.findall(body))
    if b'","' in body or b'", "' in body:
        body = _FIRST_OF_TWO.sub(lambda found: _without_second(found, salt), body)
    if not new:
        return body
    suspect = any(map(is_suspect, new - VALUE_NAMES))
    if _names_a_secret(body, new):
        body = _without_named_values(_plain_escapes(body), salt)
    return _without_members(_plain_escapes(body), salt) if suspect else body


def needs_no_redaction(body: bytes) -> bool:
    """Whether `redacted_json` would leave the body as it is, found out without cleaning it. May say no of one it would.

    For bodies so large that cleaning takes long: this is a hundred times as fast.
    """
    if body.count(b'"') > _MOST_QUOTES or b"\\u0022" in body:
        return False
    if any(map(is_sensitive, set(_FIRST_OF_TWO_NAMES.findall(body)))):
        return False
    new = new_among(_NAMES.findall(body))
    if len(new) > _MOST_NEW_NAMES or any(map(is_suspect, new - VALUE_NAMES)):
        return False
    return not _names_a_secret(body, new)


def _names_a_secret(body: bytes, names: set[bytes]) -> bool:
    """Whether a member such as `name` says that another holds a secret. `names`: of the members that may."""
    named: set[bytes] = set()
    if not VALUE_NAMES.isdisjoint(names):
        if b"\\u00" in body and _NAMED_ESCAPED.search(body):
            return True
        named.update(_NAMED.findall(body))
    if b'\\"' in body:
        named.update(_NAMED_INSIDE.findall(body))
    return any(map(is_sensitive, named))


def _plain_escapes(body: bytes) -> bytes:
    """Escapes of ASCII characters undone, as far as that changes nothing else: no name can hide behind them."""
    def plain(found: re.Match[bytes]) -> bytes:
        char = bytes([int(found[2], 16)])
        return found[1] + (b'\\"' if char == b'"' else found[0][len(found[1]):] if char == b"\\" else char)

    return _ESCAPED_ASCII.sub(plain, body) if b"\\u00" in body else body


def _without_members(body: bytes, salt: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    found = _COLON.search(body)
    while found:
        start = found.end()
        before = body[max(at, found.start() - LONGEST_NAME):found.start()]
        name = before.rstrip(b"\\")
        if is_sensitive(name[name.rfind(b'"') + 1:]):
            inside = len(name) < len(before)
            end, replacement = _inside_string(body, start, salt) if inside else _value(body, start, salt)
            parts += (body[at:start], replacement)
            at = start = end
        found = _COLON.search(body, start)
    parts.append(body[at:])
    return b"".join(parts)


def _without_second(found: re.Match[bytes], salt: bytes) -> bytes:
    """Of a pair such as `["Authorization", "Bearer …"]` the second, where the first names a secret."""
    return found[1] + _replacement(found[3], salt) if is_sensitive(found[2]) else found[0]


class _Level:
    """An object or array that is not closed yet. `value_from`: where it begins, if it is a value that may be secret."""

    __slots__ = ("is_secret", "value_from", "values")

    def __init__(self, value_from: int = -1) -> None:
        self.is_secret = False
        self.value_from = value_from
        self.values: list[tuple[int, int]] = []


def _without_named_values(body: bytes, salt: bytes) -> bytes:
    """Of every object in which a name is a sensitive one, the values."""
    body = _STRING_OR_REST.sub(lambda found: _without_inner(found[0], salt), body)
    levels = [_Level()]
    secret: list[tuple[int, int]] = []
    string, value_at = b"", -1
    for token in _TOKEN.finditer(body):
        what = token[0]
        if what in (b"{", b"["):
            levels.append(_Level(token.start() if token.start() == value_at else -1))
        elif what in (b"}", b"]"):
            if len(levels) > 1:
                _close(levels, token.end(), secret)
        elif what == b":":
            at = _BLANKS.match(body, token.end()).end()  # type: ignore[union-attr]  # it matches nothing, too
            if string in VALUE_NAMES:
                value_at = at
                scalar = _STRING_OR_REST.match(body, at) or _SCALAR.match(body, at)
                if scalar is not None:
                    levels[-1].values.append(scalar.span())
            elif _NAME_NAME.fullmatch(string):
                name = _STRING.match(body, at)
                if name is not None and is_sensitive(name[0][1:-1]):
                    levels[-1].is_secret = True
        else:
            string = what[1:-1]
    while levels:
        _close(levels, len(body), secret)
    parts: list[bytes] = []
    done = 0
    for start, end in sorted(secret):
        if start >= done:               # else it is within one that is taken away
            parts += (body[done:start], _replacement(body[start:end], salt))
            done = end
    return b"".join(parts) + body[done:]


def _close(levels: list[_Level], end: int, secret: list[tuple[int, int]]) -> None:
    level = levels.pop()
    if level.is_secret:
        secret += level.values
    if level.value_from >= 0 and levels:
        levels[-1].values.append((level.value_from, end))


def _without_inner(string: bytes, salt: bytes) -> bytes:
    """A string that holds JSON which names a secret is taken away as a whole."""
    if b'\\"' in string and any(map(is_sensitive, _NAMED_INSIDE.findall(string))):
        return b'"' + mark(string, salt) + b'"'
    return string


def _value(body: bytes, start: int, salt: bytes) -> tuple[int, bytes]:
    """Where the value that begins at `start` ends, and what to write instead; to the end where it is not complete."""
    first = body[start:start + 1]
    if first == b'"':
        string = _STRING.match(body, start)
        end = string.end() if string else len(body)
    elif first in (b"{", b"["):
        end = _end_of_container(body, start)
    else:
        bare = _BARE.match(body, start)
        end = bare.end() if bare else start
    return end, _replacement(body[start:end], salt)


def _replacement(value: bytes, salt: bytes) -> bytes:
    if not value or value in _HARMLESS:
        return value
    return b'"' + mark(_canonical(value), salt) + b'"'


def _end_of_container(body: bytes, start: int) -> int:
    depth = 0
    for token in _BRACKET.finditer(body, start):
        if token[0] in (b"{", b"["):
            depth += 1
        elif token[0] in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return token.end()
        elif token[0] == b'"':      # a string without an end
            break
    return len(body)


def _inside_string(body: bytes, start: int, salt: bytes) -> tuple[int, bytes]:
    """JSON inside a JSON string: everything up to the end of that string is taken away."""
    rest = _REST_OF_STRING.match(body, start)
    end = rest.end() if rest else len(body)
    return end, mark(body[start:end], salt)


def _canonical(value: bytes) -> bytes:
    """The value as it is digested: the same however blanks, escapes, numbers and the order of members are written."""
    if len(value) > _LONGEST_CANONICAL:
        return b"".join(_NO_BLANKS.findall(value))
    try:
        plain = json.loads(value, parse_float=_number)
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return value


_LONGEST_CANONICAL = 16 * 1024


def _number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 1e15 else number
