"""What a body is, and its bytes without their content coding.

Invariant: whatever was received, nothing is raised and no more than the cap is ever held (a proxy does not decompress
on its data path; a comparison must, so it does it bounded in size and in ratio).
"""

from __future__ import annotations

import codecs
import re
import zlib
from dataclasses import dataclass
from typing import Literal

from proxy.core.compare.values import Answer, BodyMode

Shape = Literal["json", "text", "bytes", "none"]

_HIGHEST_RATIO = 250
"""Decompressed ÷ compressed. JSON of many like records reaches 100; a bomb of zeros 1,000."""
_FREE = 65_536
"""Bytes that any body may become, whatever its ratio."""
_MOST_MEMBERS = 64
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}      # RFC 9110 §8.4.1; zlib's numbers for these formats
_TEXT = re.compile(r"text/.*|application/(?:.*\+xml|xml|javascript|ecmascript|x-www-form-urlencoded|x-ndjson|graphql|"
                   r"yaml|x-yaml|toml|.*\+yaml)|image/svg\+xml")
_JSON = re.compile(r"application/(?:.*\+)?json|text/json|.*\+json")
_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why a body could not be compared: `cut`, `too-large`, `bomb`, `corrupt`, `coding`."""

    reason: str


def header(answer: Answer, name: bytes) -> bytes:
    """All values of a header, joined as one (RFC 9110 §5.3); empty when it is absent. `name` in lower case."""
    return b", ".join([value for field, value in answer.headers if field.lower() == name])


def coding(answer: Answer) -> str:
    """The content coding in lower case, `identity` for none; several are joined by commas in their order."""
    named = header(answer, b"content-encoding").decode("latin-1").lower()
    return ",".join([one for part in named.split(",") if (one := part.strip()) and one != "identity"]) or "identity"


def shape(answer: Answer, mode: BodyMode) -> Shape:
    """How a body is compared: as configured, or by its media type; without one, JSON is tried."""
    if mode != "auto":
        return mode
    media = header(answer, b"content-type").decode("latin-1").partition(";")[0].strip().lower()
    if _JSON.fullmatch(media):
        return "json"
    if _TEXT.fullmatch(media):
        return "text"
    return "bytes" if media else "json"


def charset(answer: Answer) -> str:
    """The charset that the media type names, if Python knows it as a text encoding; else UTF-8."""
    found = _CHARSET.search(header(answer, b"content-type").decode("latin-1"))
    if found is None:
        return "utf-8"
    try:
        known = codecs.lookup(found[1])
        "".encode(known.name)       # `hex`, `zip` and others are codecs, but of no text
    except (LookupError, ValueError):
        return "utf-8"
    return known.name


def text(answer: Answer, body: bytes) -> str:
    """The body as text; what its charset cannot read is replaced, alike for both answers."""
    try:
        return body.decode(charset(answer), "replace")
    except (ValueError, LookupError):
        return body.decode("utf-8", "replace")


def decoded(answer: Answer, most: int) -> bytes | Skipped:
    """The body without its content coding: at most `most` bytes, or why there is none."""
    if not answer.whole:
        return Skipped("cut")
    if len(answer.body) > most:
        return Skipped("too-large")
    named = coding(answer)
    if named == "identity" or not answer.body:
        return answer.body
    if named not in _WINDOWS:
        return Skipped("coding")
    ratio_cap = max(_FREE, len(answer.body) * _HIGHEST_RATIO)
    window = _WINDOWS[named]
    if window == 15 and not _is_zlib(answer.body):
        window = -15                # RFC 9110 §8.4.1.2: some send the deflate data without its zlib wrapper
    inflated = _inflated(answer.body, window, min(most, ratio_cap))
    if inflated is None:
        return Skipped("corrupt")
    if len(inflated) > most:
        return Skipped("too-large")
    return inflated if len(inflated) <= ratio_cap else Skipped("bomb")


def _is_zlib(body: bytes) -> bool:
    return len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0      # RFC 1950 §2.2


def _inflated(data: bytes, window: int, most: int) -> bytes | None:
    """All members of the data decompressed; one byte more than `most` stands for too much, None for no valid data."""
    parts: list[bytes] = []
    room = most + 1
    for _ in range(_MOST_MEMBERS):
        inflater = zlib.decompressobj(window)
        try:
            part = inflater.decompress(data, room)
        except zlib.error:
            return None
        parts.append(part)
        room -= len(part)
        if room <= 0:
            break
        if not inflater.eof:
            return None
        data = inflater.unused_data
        if not data.strip(b"\0") or window != 31:
            break
    else:
        return None                 # nobody sends so many members
    return b"".join(parts)
