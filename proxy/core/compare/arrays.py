"""Which elements of two arrays belong together: as sets, after a change of order, or around a gap.

Everything is bounded: arrays are hashed once, similarities are looked at for a limited number of elements.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from proxy.core.compare.json_paths import Place

_DEEPEST = 64
"""Levels an element may have to be hashed. Arrays of deeper ones are compared in order: nothing is overlooked."""
_MOST_ALIGNED = 2_000
"""Elements for which a gap is looked for; longer arrays are aligned at their beginning."""
_MOST_MATCHED = 24
"""Elements of either side, left over when equal ones are gone, that are paired by similarity."""

_Pairs = Sequence[tuple[Any, Any]]


class _TooDeep(Exception):  # noqa: N818 it never leaves this module
    pass


def pairs_of_set(
    one: list[Any], other: list[Any], element: Place, same: Callable[[Any, Any], bool] | None
) -> tuple[_Pairs, list[Any], list[Any]]:
    """Two arrays as multisets: pairs left to be compared, elements only in `one`, elements only in `other`.

    Equal elements are gone. Of the rest, containers are paired with the most similar one, so that one changed member
    is reported as that; scalars are not paired, since a set has no third element that became another. `same`: whether
    two elements are as good as equal.
    """
    try:
        left, right = _without_equal(one, other, element)
    except _TooDeep:
        shared = min(len(one), len(other))
        return list(zip(one, other, strict=False)), one[shared:], other[shared:]
    if same is not None and len(left) <= _MOST_MATCHED and len(right) <= _MOST_MATCHED:
        left, right = _without_same(left, right, same)
    pairs: list[tuple[Any, Any]] = []
    lost = []
    for value in left:
        index = _most_similar(value, right)
        if index is None:
            lost.append(value)
        else:
            pairs.append((value, right.pop(index)))
    return pairs, lost, right


def is_reordered(one: list[Any], other: list[Any], element: Place) -> bool:
    """Whether two arrays of the same length, in which something differs, hold the same elements in another order.

    Looked at closely only where the first element that differs is somewhere else, too, or unlike its counterpart.
    """
    try:
        at = next((index for index, value in enumerate(one) if value != other[index]), None)
        if at is None or (one[at] not in other and _similarity(one[at], other[at]) >= 0.5):
            return False
        ours = [_key(value, element, 0) for value in one]
        theirs = [_key(value, element, 0) for value in other]
    except (_TooDeep, RecursionError):
        return False
    return ours != theirs and Counter(ours) == Counter(theirs)


def gap_of(longer: list[Any], shorter: list[Any]) -> int:
    """Where the run of elements begins that `longer` has and `shorter` has not: where the others agree most.

    Elements before the gap stand at the same index in both, those behind it are shifted; one pass over the agreement
    of each with its counterpart on either assumption finds the best place, also where each element differs a little.
    """
    count, width = len(shorter), len(longer) - len(shorter)
    if count > _MOST_ALIGNED:
        return count
    score = sum(_similarity(longer[index + width], shorter[index]) for index in range(count))
    best, at = score, 0
    for index in range(count):
        score += _similarity(longer[index], shorter[index])
        score -= _similarity(longer[index + width], shorter[index])
        if score >= best + 1e-9:
            best, at = score, index + 1
    return at


def _without_equal(one: list[Any], other: list[Any], element: Place) -> tuple[list[Any], list[Any]]:
    spare: dict[Hashable, list[Any]] = {}
    for value in other:
        spare.setdefault(_key(value, element, 0), []).append(value)
    left = []
    for value in one:
        same = spare.get(_key(value, element, 0))
        if same:
            same.pop()
        else:
            left.append(value)
    return left, [value for values in spare.values() for value in values]


def _without_same(
    left: list[Any], right: list[Any], same: Callable[[Any, Any], bool]
) -> tuple[list[Any], list[Any]]:
    right = list(right)
    rest = []
    for value in left:
        index = next((index for index, against in enumerate(right) if same(value, against)), None)
        if index is None:
            rest.append(value)
        else:
            right.pop(index)
    return rest, right


def _most_similar(value: Any, others: list[Any]) -> int | None:
    """The container most like this one among the first few; None where there is none of its type."""
    if type(value) not in (dict, list):
        return None
    best, found = -1.0, None
    for index, other in enumerate(others[:_MOST_MATCHED]):
        if type(other) is type(value):
            score = _similarity(value, other)
            if score > best:
                best, found = score, index
    return found


def _similarity(one: Any, other: Any) -> float:
    """From 0 to 1: how many members two values share. Containers below count by their type and size alone."""
    if type(one) is not type(other):
        return 0.0
    if type(one) is dict:
        if not one and not other:
            return 1.0
        same = sum(1 for name, value in one.items() if name in other and _alike(value, other[name]))
        return same / max(len(one), len(other))
    return 1.0 if _alike(one, other) else 0.0


def _alike(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if type(one) is dict or type(one) is list:
        return len(one) == len(other)
    return bool(one == other)


def _key(value: Any, place: Place, depth: int) -> Hashable:
    """A hashable that is equal for values that are equal under the rules (numbers exactly: 1 and 1.0 are one)."""
    kind = type(value)
    if kind is str or value is None:
        text: str | None = value
        return text
    if kind is bool:
        return (bool, value)
    if kind is not dict and kind is not list:
        number: Hashable = value
        return number
    if depth >= _DEEPEST:
        raise _TooDeep
    if kind is dict:
        members = []
        for name, one in value.items():
            below = place.child(name)
            if not below.ignored:
                members.append((name, _key(one, below, depth + 1)))
        return (dict, frozenset(members))
    element = place.element()
    if element.ignored:
        return (list, len(value))
    keys = [_key(one, element, depth + 1) for one in value]
    return (set, frozenset(Counter(keys).items())) if place.unordered else (list, *keys)
