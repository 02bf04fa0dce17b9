"""JSON from bytes, read in exactly one way or refused.

Python's reader takes what the next program reads differently: keys given twice, `NaN`, `1e999`, halves of surrogate
pairs, any encoding of Unicode, any depth. All of it is refused here (RFC 8259 §4, §6, §8; I-JSON, RFC 7493 §2).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from proxy.admin.problems import Fault, pointer
from proxy.settings.units import quote

MAX_DEPTH = 16
"""Deep enough for every body there is, twice over; Python's own reader ends in a RecursionError near a thousand."""

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.?)*+"?', re.DOTALL)
"""One that does not end matches up to the end, so that no input is looked through twice."""
_MAX_DIGITS = 20
_BRACKETS = re.compile(rb"[\[{\]}]")


class NotJson(ValueError):  # noqa: N818
    """What came is no JSON that can be used; `errors` has every reason found."""

    def __init__(self, errors: list[Fault]) -> None:
        super().__init__("; ".join(error["detail"] for error in errors))
        self.errors = errors


class _Object(dict[str, Any]):
    """An object and the keys that were given more than once in it."""

    doubled: tuple[str, ...] = ()


def parse(raw: bytes) -> Any:
    """The value that `raw` stands for. Raises NotJson."""
    if _depth(raw) > MAX_DEPTH:
        raise NotJson([_fault(f"is nested deeper than {MAX_DEPTH} levels")])
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_object, parse_constant=_constant, parse_float=_number,
                           parse_int=_whole)
        # What cannot be written as UTF-8 (half a surrogate pair) could be neither journaled nor shown.
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        detail = f"is not JSON: {error.msg.lower()} (line {error.lineno}, column {error.colno})"
        raise NotJson([_fault(detail)]) from None
    except UnicodeEncodeError:
        raise NotJson([_fault("contains half of a surrogate pair (RFC 7493 §2.1)")]) from None
    except UnicodeDecodeError as error:
        raise NotJson([_fault(f"is not UTF-8 text (byte {error.start + 1})")]) from None
    except ValueError as error:
        raise NotJson([_fault(str(error))]) from None
    if doubled := list(_doubled(value, ())):
        raise NotJson(doubled)
    return value


def _fault(detail: str) -> Fault:
    return {"pointer": "", "detail": detail}


def _depth(raw: bytes) -> int:
    """How deep objects and arrays are nested, whether or not the rest is JSON."""
    depth = deepest = 0
    for bracket in _BRACKETS.finditer(_STRINGS.sub(b"", raw)):
        depth += 1 if bracket[0] in b"[{" else -1
        deepest = max(deepest, depth)
        if deepest > MAX_DEPTH:
            break
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    read = _Object(pairs)
    if len(read) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        read.doubled = tuple(key for key, count in counts.items() if count > 1)
    return read


def _constant(word: str) -> Any:
    raise ValueError(f"{quote(word)} is not a number in JSON")


def _number(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{quote(text)} is too large a number")
    return number


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"{quote(text)} is too large a number")
    return int(text)


def _doubled(value: Any, path: tuple[str | int, ...]) -> Iterator[Fault]:
    if isinstance(value, _Object):
        for key in value.doubled:
            yield {"pointer": pointer((*path, key)), "detail": "is given twice"}
        for key, item in value.items():
            yield from _doubled(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _doubled(item, (*path, index))
