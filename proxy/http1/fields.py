"""Field names with a meaning for a proxy, and the scanner that finds them in a head in one pass.

A head of a browser has a dozen fields, and a proxy must look at three or four of them. The scanner is one compiled
expression that splits a head around exactly those, so that the others are never touched: `b"".join(parts)` is the
head again, byte for byte, and a field is removed by emptying its two parts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

HOP_BY_HOP = frozenset({
    # RFC 9110 §7.6.1, with the ones that older programs still send
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    b"http2-settings",
})
"""Fields that end at this proxy; what goes on is written anew."""

FRAMING = frozenset({b"content-length", b"transfer-encoding"})

PROTECTED = frozenset({
    # Taking one of these away would change who the client seems to be, or where its message ends
    # (Traefik CVE-2024-45410, Fabio CVE-2025-48865).
    b"host", b"content-length", b"transfer-encoding", b"cookie", b"authorization", b"expect", b"forwarded", b"via",
    b"x-request-id", b"x-real-ip",
})
"""Fields that `Connection` may name without effect; so may every `x-forwarded-…`."""

FORBIDDEN_IN_TRAILERS = HOP_BY_HOP | FRAMING | PROTECTED | frozenset({
    # RFC 9110 §6.5.1: framing, routing, authentication, request modifiers, response control, content format
    b"set-cookie", b"proxy-authorization", b"proxy-authenticate", b"www-authenticate", b"cache-control",
    b"max-forwards", b"age", b"date", b"expires", b"location", b"retry-after", b"vary", b"warning", b"range",
    b"content-encoding", b"content-type", b"content-range", b"pragma", b"if-match", b"if-none-match",
    b"if-modified-since", b"if-unmodified-since", b"if-range",
})

REQUEST_FIELDS = HOP_BY_HOP | FRAMING | frozenset({
    b"host", b"expect", b"forwarded", b"x-request-id", b"x-real-ip",
})
"""What the proxy itself must see of a request, besides `x-forwarded-…` and what the routes ask for."""

RESPONSE_FIELDS = HOP_BY_HOP | FRAMING

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""RFC 9110 §5.6.2."""

FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
"""RFC 9110 §5.5, with obs-text."""

Scanner = Callable[[bytes], list[bytes]]
"""head → [text, name, value, text, name, value, …, text]: a name is `\\nHost: `, a value ends with its `\\r`."""


EMPTY_LINE = b"\n\r"
"""What a name begins with where a head has an empty line before its end: it is more than one head."""


def scanner(names: Iterable[bytes], prefixes: Iterable[bytes] = ()) -> Scanner:
    """Compile a scanner for fields of these names (lower case), and for all whose names begin with a prefix.

    It looks at the first two letters only, in either case, and so finds a few fields nobody asked for; what their
    names mean is worked out once per combination (`shape`). That takes three quarters of the time of spelling every
    name out, and half of an alternation with `(?i)`. `_` stands for `-`, so that an alias is found, too. Joined, the
    parts always are the head.
    """
    wanted = [name.decode("ascii") for name in (*names, *prefixes)]
    first = _either_case({name[0] for name in wanted})
    if min(map(len, wanted)) > 1:
        second = _either_case({name[1] for name in wanted})
        begin = rf"[{first}\r][{second}\n]"
    else:
        begin = rf"[{first}\r]"
    return re.compile(rf"(\n{begin}[^:\r]*:?[ \t]*)([^\r]*\r)".encode("ascii")).split


def _either_case(letters: set[str]) -> str:
    """The inside of a character set that matches these letters in either case, and `_` where `-` is one."""
    either = letters | {letter.upper() for letter in letters} | ({"_"} if "-" in letters else set())
    return "".join(sorted(map(re.escape, either)))


def tokens(value: bytes) -> list[bytes]:
    """The members of a comma-separated list in lower case, empty ones left out (RFC 9110 §5.6.1)."""
    return [member for part in value.split(b",") if (member := part.strip(b" \t\r").lower())]


def without_fields(head: bytes, names: frozenset[bytes]) -> bytes:
    """The head without the lines of these fields (lower case), except the protected ones."""
    first, *lines = head.split(b"\r\n")
    kept = [line for line in lines if not _is_removable(line.partition(b":")[0].lower(), names)]
    return b"\r\n".join([first, *kept])


def _is_removable(name: bytes, names: frozenset[bytes]) -> bool:
    return name in names and name not in PROTECTED and not name.startswith(b"x-forwarded-")
