"""What a body is, and its bytes without their content coding.

Invariant: whatever was received, nothing is raised and no more than the cap is ever held (a proxy does not decompress
on its data path; a comparison must, so it does it bounded in size and in ratio).
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Literal

from proxy.core.compare.codings import DECODERS
from proxy.core.compare.values import Answer, BodyMode

Shape = Literal["json", "text", "bytes", "none"]

_HIGHEST_RATIO = 250
"""Decompressed ÷ compressed. JSON of many like records reaches 100; a bomb of zeros 1,000."""
_FREE = 65_536
"""Bytes that any body may become, whatever its ratio."""
_TEXT = re.compile(r"text/.*|application/(?:.*\+xml|xml|javascript|ecmascript|x-www-form-urlencoded|x-ndjson|graphql|"
                   r"yaml|x-yaml|toml|.*\+yaml)|image/svg\+xml")
_JSON = re.compile(r"application/(?:.*\+)?json|text/json|.*\+json")
_LEFT_OUT = {b"too-costly": "too-costly", b"too-large": "too-large"}
"""What stands in place of a body that is not there."""
_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why a body could not be compared: `cut`, `too-costly`, `too-large`, `bomb`, `corrupt`, `coding`."""

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
        return Skipped(_LEFT_OUT.get(answer.body, "cut"))
    if len(answer.body) > most:
        return Skipped("too-large")
    named = coding(answer)
    if named == "identity" or not answer.body:
        return answer.body
    if named not in DECODERS:
        return Skipped("coding")
    ratio_cap = max(_FREE, len(answer.body) * _HIGHEST_RATIO)
    inflated = DECODERS[named](answer.body, min(most, ratio_cap))
    if inflated is None:
        return Skipped("corrupt")
    if len(inflated) > most:
        return Skipped("too-large")
    return inflated if len(inflated) <= ratio_cap else Skipped("bomb")
