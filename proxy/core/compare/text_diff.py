"""Bodies that are not compared by structure: equal, or different from one place on."""

from __future__ import annotations

from proxy.core.compare.excerpts import printable
from proxy.core.compare.values import Difference, Kind

_AROUND = 60


def text_difference(primary: str, shadow: str) -> Difference | None:
    """The first place where two texts differ, as line and column (both from 1), with what stands there."""
    if primary == shadow:
        return None
    at = _first_difference(primary, shadow)
    line = primary.count("\n", 0, at) + 1
    start = primary.rfind("\n", 0, at) + 1
    where = f"line {line}, column {at - start + 1}: "
    return Difference("body", Kind.TEXT, where + _at(primary, start, at), where + _at(shadow, start, at))


def bytes_difference(primary: bytes, shadow: bytes) -> Difference | None:
    """The lengths of two bodies and the offset of the first byte that differs."""
    if primary == shadow:
        return None
    at = _first_difference(primary, shadow)
    return Difference("body", Kind.BYTES, _bytes_at(primary, at), _bytes_at(shadow, at))


def _first_difference(one: str | bytes, other: str | bytes) -> int:
    """Index of the first item that differs, or the length of the shorter one; by halves, so at the speed of memcmp."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _at(text: str, start: int, at: int) -> str:
    begin = max(start, at - _AROUND // 2)
    end = text.find("\n", at, at + _AROUND)
    return printable(text[begin: end if end != -1 else at + _AROUND], 150)


def _bytes_at(data: bytes, at: int) -> str:
    return f"{len(data)} bytes, at offset {at}: {data[at: at + 16].hex(' ') or 'the end'}"
