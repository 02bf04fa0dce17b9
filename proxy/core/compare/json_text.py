"""JSON as it came, read strictly: a body is either exactly one document or none.

Invariant: whatever the bytes, nothing is raised: depth beyond what Python's parser takes and numbers beyond what it
converts are told apart from values.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_SAFE_DIGITS = 4_000       # below what Python refuses to convert (4,300)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A body that is valid JSON."""

    value: Any


def parsed(body: bytes) -> Parsed | str:
    """The body as JSON (RFC 8259: UTF-8, no NaN), or why it is none. Of members of one name the last counts (§4)."""
    try:
        document = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "not UTF-8"
    try:
        return Parsed(_JSON.decode(document))
    except json.JSONDecodeError as wrong:
        return f"{wrong.msg} at character {wrong.pos + 1}"
    except RecursionError:
        return "nested too deeply"
    except ValueError as wrong:
        if isinstance(wrong, _NoNumberError):
            return "not a number"
    try:
        return Parsed(_JSON_OF_LONG_NUMBERS.decode(document))
    except (ValueError, RecursionError):
        return "not valid"


class _NoNumberError(ValueError):
    pass


def _refuse(name: str) -> Any:
    raise _NoNumberError(name)


def _long_integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) < _SAFE_DIGITS else Decimal(digits)


_JSON = json.JSONDecoder(parse_constant=_refuse)
_JSON_OF_LONG_NUMBERS = json.JSONDecoder(parse_constant=_refuse, parse_int=_long_integer)
