"""Removes known-sensitive values from what was captured, before it leaves the worker: from headers, targets and raw
bodies, without parsing them.

A value is replaced by `<redacted 1a2b3c4d>`, a keyed digest: equal values stay equal and different ones differ, so that
they can be compared, but nobody can go back from the mark to the value without the salt.

One regular expression lists the member names of a body, and where all of them are known to be harmless that was all.
In others a name is found by its end, a quote and a colon: in valid JSON a quote behind a word and before a colon can
only close a member's name, so no tokenizer has to run from the start. Invariants: a sensitive name's value (text,
number, or all of an object or array) does not leave; valid JSON stays valid. Where that cannot be had (a body cut in
the middle, JSON inside a string), more is removed.

What is not recognised: a value whose name stands beside it (`{"name": "password", "value": …}`), and formats other than
JSON and forms. Compressed bodies must be decoded first (`content.decoded`).
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from hashlib import blake2b

_ANYWHERE = (r"pass[_\-. ]?(?:word|wd|phrase|code)|secret|credential|"
             r"(?:api|access|private|signing|encryption)[_\-. ]?key|authori[sz]ation|(?:credit|debit)[_\-. ]?card|"
             r"card[_\-. ]?(?:number|no|num)|account[_\-. ]?number|security[_\-. ]?code|set[_\-. ]?cookie|"
             r"session[_\-. ]?(?:id|key|token)")
"""Names that hold one of these are sensitive, whatever else they say: `old_password_2`, `clientSecret`."""
_AT_END = r"passwd|pwd|token|session|cookie|bearer|jwt|auth"
"""Names that end with one of these: `csrfToken`, not `token_count`."""
_WHOLE_WORD = r"ssn|cvv2?|cvc2?|iban|otp|pin|sid|pan"
"""Names that end with one of these as a word of its own: `user_ssn`, `cardPin`, not `shopping`."""
_NAME = (rf"(?:(?:{_ANYWHERE})[^\"\\\\&=:{{}},\r\n]{{0,64}}|(?:{_AT_END})s?[0-9]{{0,3}}"
         rf"|(?:(?<![A-Za-z])|(?-i:(?=[A-Z])))(?:{_WHOLE_WORD})s?[0-9]{{0,3}})")

_NAMES = re.compile(rb'"([^"]*+)"[ \t\r\n]*+:')      # possessive: a string that is no name is passed over once
_COLON = re.compile(rb'"[ \t\r\n]*:[ \t\r\n]*')
_CLEAR_NAME = re.compile(rb"[^\\,:{}\[\]]{0,64}")
"""A member's name that needs no second look: no escape, and not what stands between two strings."""
_LONGEST_NAME = 128
_MOST_NAMES = 4_096
_known_harmless: set[bytes] = set()
_PARAMETER = re.compile(rb"(?:^|[?&;#])([^?&;#=]*+)=")      # possessive: each byte is looked at once
_PARAMETER_VALUE = re.compile(rb"[^&;#]*+")
_LONGEST_PARAMETER = 3 * _LONGEST_NAME      # percent-encoded
_SENSITIVE = re.compile(rf"{_NAME}\Z".encode(), re.IGNORECASE)
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_REST_OF_STRING = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_BARE = re.compile(rb"[^,}\]\s\"]*")
_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]|"', re.DOTALL)
_NO_BLANKS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[^" \t\r\n]+|"', re.DOTALL)
_ESCAPED_ASCII = re.compile(rb"(?<!\\)((?:\\\\)*)\\u00([2-7][0-9A-Fa-f])")
_HARMLESS = frozenset({b"null", b"true", b"false", b'""'})

_WHOLE_HEADERS = frozenset({
    "authorization", "proxy-authorization", "authentication-info", "proxy-authentication-info", "x-api-key", "api-key",
    "apikey", "x-auth-token", "x-access-token", "x-csrf-token", "x-xsrf-token", "x-amz-security-token",
    "x-forwarded-authorization", "x-forwarded-access-token", "x-forwarded-email", "x-forwarded-user",
    "x-goog-iap-jwt-assertion", "cf-access-jwt-assertion", "sec-websocket-key", "x-client-cert", "ssl-client-cert",
})
_COOKIES = frozenset({"cookie", "set-cookie"})
_TARGETS = frozenset({"location", "content-location", "referer", "refresh", "link"})
_FORM = b"application/x-www-form-urlencoded"

Fields = tuple[tuple[bytes, bytes], ...]


def mark(value: bytes, salt: bytes) -> bytes:
    """What stands for a value: 32 bits of its keyed digest. `salt`: up to 64 secret bytes, best of this process."""
    return b"<redacted %s>" % blake2b(value, key=salt, digest_size=4).hexdigest().encode()


def redacted_body(body: bytes, salt: bytes, content_type: bytes = b"") -> bytes:
    """The raw, decoded body without the values of sensitive JSON members, or parameters where it is a form."""
    if content_type[:33].lower() == _FORM:
        return redacted_parameters(body, salt)
    if b"\0" in body[:4]:           # UTF-16 or UTF-32: names cannot be found by their bytes
        return b'"' + mark(body, salt) + b'"'
    names = _NAMES.findall(body)
    if _known_harmless.issuperset(names) or not any(map(_is_suspect, names)):
        return body
    return _without_members(_plain_escapes(body), salt)


def redacted_within(body: bytes, salt: bytes, content_type: bytes, most: int) -> bytes | None:
    """As `redacted_body`; None where that would take more than `most` steps, of up to a microsecond each.

    A body whose names are all known to be harmless takes none. Counting is a hundred times as fast as cleaning.
    """
    if sum(map(body.count, _STEPS)) <= most:
        return redacted_body(body, salt, content_type)
    if content_type[:33].lower() == _FORM or body.count(b'"') > _MOST_QUOTES:
        return None
    names = set(_NAMES.findall(body)) - _known_harmless
    return None if len(names) > _MOST_NEW_NAMES or any(map(_is_suspect, names)) else body


_STEPS = (b'"', b":", b"[", b"{", b"\\u00", b"=", b"&", b";", b"?", b"#")
_MOST_QUOTES = 65_536
_MOST_NEW_NAMES = 256


def redacted_target(target: bytes, salt: bytes) -> bytes:
    """A request target or a URL without the values of sensitive parameters."""
    return redacted_parameters(target, salt) if b"=" in target else target


def is_kept(name: bytes) -> bool:
    """Whether `redacted_headers` leaves every field of this name as it is, whatever its value."""
    return _how(name) == "keep"


def redacted_headers(fields: Fields, salt: bytes) -> Fields:
    """Header fields without the values of sensitive ones; of cookies the names and attributes stay."""
    return tuple([(name, value) if (how := _how(name)) == "keep" else (name, _redacted(how, name, value, salt))
                  for name, value in fields])


def redacted_parameters(text: bytes, salt: bytes) -> bytes:
    """`name=value` pairs of a form or query, sensitive ones as `name=redacted-1a2b3c4d`, which is valid in both.

    Names may be percent-encoded.
    """
    parts: list[bytes] = []
    at = 0
    for found in _PARAMETER.finditer(text):
        name = found[1]
        if found.start() < at or not _is_sensitive_parameter(name[-_LONGEST_PARAMETER:]):
            continue
        value = _PARAMETER_VALUE.match(text, found.end())
        if value is None or not value[0]:
            continue
        shown = name if len(name) > _LONGEST_PARAMETER else _PERCENT.sub(_plain, name)
        parts += (text[at:found.start(1)], shown, b"=", mark(value[0], salt)[1:-1].replace(b" ", b"-"))
        at = value.end()
    return b"".join(parts) + text[at:] if parts else text


_PERCENT = re.compile(rb"%([2-7][0-9A-Fa-f])")
_UNRESERVED = re.compile(rb"[A-Za-z0-9._~-]")      # RFC 3986 §2.3: means the same with and without encoding
_BRACKETS = b"[]"


def _plain(found: re.Match[bytes]) -> bytes:
    char = bytes([int(found[1], 16)])
    return char if _UNRESERVED.fullmatch(char) else found[0]


@lru_cache(maxsize=_MOST_NAMES)
def _is_sensitive_parameter(name: bytes) -> bool:
    """`user%5Bpass%77ord%5D` is `user[password]`, and means `password`."""
    if b"%" in name:
        name = _PERCENT.sub(lambda found: bytes([int(found[1], 16)]), name)
    return _SENSITIVE.search(name.rstrip(_BRACKETS)[-_LONGEST_NAME:]) is not None


def _is_suspect(name: bytes) -> bool:
    """Whether a name asks for a closer look; harmless ones are remembered, within a bound."""
    if name in _known_harmless:
        return False
    if not _CLEAR_NAME.fullmatch(name) or _SENSITIVE.search(name):
        return True
    if len(_known_harmless) >= _MOST_NAMES:
        _known_harmless.clear()
    _known_harmless.add(name)
    return False


def _plain_escapes(body: bytes) -> bytes:
    """Escapes of ASCII characters undone, as far as that changes nothing else: no name can hide behind them."""
    def plain(found: re.Match[bytes]) -> bytes:
        char = bytes([int(found[2], 16)])
        return found[0] if char in (b'"', b"\\") else found[1] + char

    return _ESCAPED_ASCII.sub(plain, body) if b"\\u00" in body else body


def _without_members(body: bytes, salt: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    found = _COLON.search(body)
    while found:
        start = found.end()
        before = body[max(at, found.start() - _LONGEST_NAME):found.start()]
        name = before.rstrip(b"\\")
        if _is_sensitive(name[name.rfind(b'"') + 1:]):
            inside = len(name) < len(before)
            end, replacement = _inside_string(body, start, salt) if inside else _value(body, start, salt)
            parts += (body[at:start], replacement)
            at = start = end
        found = _COLON.search(body, start)
    parts.append(body[at:])
    return b"".join(parts)


@lru_cache(maxsize=_MOST_NAMES)
def _is_sensitive(name: bytes) -> bool:
    return _SENSITIVE.search(name) is not None


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
    value = body[start:end]
    if not value or value in _HARMLESS:
        return end, value
    return end, b'"' + mark(_canonical(value), salt) + b'"'


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
    """The value as it is digested: the same for different escapes of a text and for different blanks in a container."""
    if value[:1] in b"{[":
        return b"".join(_NO_BLANKS.findall(value))
    if b"\\" in value:
        try:
            text: str = json.loads(value)
            return b'"' + text.encode("utf-8", "surrogatepass") + b'"'
        except (ValueError, AttributeError):
            return value
    return value


@lru_cache(maxsize=1_024)
def _how(name: bytes) -> str:
    """What happens to a header of this name: keep, whole, cookies, target."""
    lower = name.decode("latin-1").lower()
    if lower in _COOKIES:
        return "cookies"
    if lower in _TARGETS:
        return "target"
    if lower in _WHOLE_HEADERS or (_SENSITIVE.search(name) and lower != "www-authenticate"):
        return "whole"
    return "keep"


def _redacted(how: str, name: bytes, value: bytes, salt: bytes) -> bytes:
    if how == "target":
        return redacted_target(value, salt)
    if how == "whole":
        return mark(value, salt) if value else value
    pairs = value.split(b";")
    secret = pairs if name.lower() == b"cookie" else pairs[:1]
    shown = [_cookie(pair, salt) for pair in secret]
    return b";".join(shown + pairs[len(secret):])


def _cookie(pair: bytes, salt: bytes) -> bytes:
    name, equals, value = pair.partition(b"=")
    if not equals:                  # a cookie without a name: what stands there is its value
        return mark(pair, salt) if pair.strip() else pair
    return name + equals + (mark(value, salt) if value else b"")
