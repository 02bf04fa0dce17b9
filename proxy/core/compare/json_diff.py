"""Two parsed JSON documents compared by structure: what is missing, extra, of another type or value, and where.

The walk keeps its own stack, so depth cannot exhaust Python's. Where it stands (its `Place`: ignored? a set?) is worked
out only when something differs, since most values do not. Each (path, kind) is reported once per pair, because
differences are counted per comparison. Invariant: never raises, whatever two values `json` can have made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from math import isclose
from typing import Any, Optional

from proxy.core.compare import excerpts
from proxy.core.compare.arrays import gap_of, is_reordered, pairs_of_set
from proxy.core.compare.json_paths import Paths, Place
from proxy.core.compare.values import Difference, Kind

MOST_DIFFERENCES = 100
"""Per pair: beyond, an answer is simply another one, and the rest is cut off with `more`."""
_MOST_LOOKS = 20_000
"""Differing places looked at per pair, also those that were reported before: it bounds the work on hostile arrays."""
_DEEPEST_SET = 24
"""Levels on which order is looked at, as each may look at all below once more. Deeper, arrays are just arrays."""
_DEEPEST_TOLERANT_SET = 6
"""Levels on which elements of sets are paired within the tolerance: each may look at all below some dozens of times."""

_ABSENT = object()
_NUMBERS = frozenset({int, float, Decimal})
_NAMES = {str: "string", dict: "object", list: "array", bool: "boolean", type(None): "null",
          int: "number", float: "number", Decimal: "number"}

_Pair = tuple[Any, Any, Optional["_Pair"], str | None]
"""Two containers of one type, the pair they stand in (None: the root), and under which name (None: as an element)."""


class JsonDiff:
    """One comparison under way: `differences` so far, `more` where there were too many to list."""

    __slots__ = (
        "_looks", "_most", "_paths", "_reordered", "_root", "_seen", "_tolerance", "_waiting", "differences", "more")

    def __init__(
        self, paths: Paths, tolerance: float, root: Place | None = None, most: int = MOST_DIFFERENCES
    ) -> None:
        self._paths = paths
        self._root = root or paths.root()
        self._tolerance = tolerance
        self._seen: set[tuple[str, Kind]] = set()
        self._reordered: dict[int, bool] = {}
        self._waiting: list[_Pair] = []
        self._looks = 0
        self._most = most
        self.differences: list[Difference] = []
        self.more = False

    def run(self, primary: Any, shadow: Any) -> None:
        """Compare two values and everything below."""
        top: _Pair = (primary, shadow, None, None)
        if type(primary) is not type(shadow) or type(primary) not in (dict, list):
            self._scalars(primary, shadow, top, None, self._root)
            return
        waiting = self._waiting
        waiting.append(top)
        while waiting and not self.more:
            pair = waiting.pop()
            if type(pair[0]) is dict:
                self._members(pair)
            else:
                self._elements(pair)

    def _members(self, pair: _Pair) -> None:
        one, other = pair[0], pair[1]
        shared = len(one)
        for name, value in one.items():
            against = other.get(name, _ABSENT)
            if value is against:
                continue
            kind = type(value)
            if kind is type(against):
                if kind is dict or kind is list:
                    self._waiting.append((value, against, pair, name))
                elif value != against:
                    self._scalars(value, against, pair, name)
            elif against is _ABSENT:
                shared -= 1
                self._report(Kind.MISSING, value, _ABSENT, pair, self._place(pair).child(name))
            else:
                self._scalars(value, against, pair, name)
        if shared != len(other):
            for name, value in other.items():
                if name not in one:
                    self._report(Kind.EXTRA, _ABSENT, value, pair, self._place(pair).child(name))

    def _elements(self, pair: _Pair) -> None:
        one, other = pair[0], pair[1]
        if self._paths.has_sets and (place := self._place(pair)).unordered and place.depth <= _DEEPEST_SET:
            if not place.element().ignored:
                self._uneven(pair, *pairs_of_set(one, other, place.element(), self._same(place)))
        elif len(one) != len(other):
            self._uneven(pair, *_aligned(one, other))
        else:
            self._in_order(pair, zip(one, other, strict=True))

    def _uneven(self, pair: _Pair, pairs: Iterable[tuple[Any, Any]], lost: list[Any], new: list[Any]) -> None:
        if len(pair[0]) != len(pair[1]):
            self._report(Kind.LENGTH, f"{len(pair[0])} elements", f"{len(pair[1])} elements", pair, self._place(pair))
        self._in_order(pair, pairs)
        if lost:
            self._report(Kind.MISSING, lost[0], _ABSENT, pair, self._place(pair).element())
        if new:
            self._report(Kind.EXTRA, _ABSENT, new[0], pair, self._place(pair).element())

    def _in_order(self, pair: _Pair, pairs: Iterable[tuple[Any, Any]]) -> None:
        waiting = self._waiting
        for value, against in pairs:
            kind = type(value)
            if kind is type(against):
                if kind is dict or kind is list:
                    waiting.append((value, against, pair, None))
                    continue
                if value == against:
                    continue
            self._scalars(value, against, pair, None)
            if self.more:
                return

    def _scalars(self, one: Any, other: Any, pair: _Pair, name: str | None, place: Place | None = None) -> None:
        """Two values that are not both objects or both arrays, and not known to be equal."""
        kind = Kind.VALUE
        if type(one) in _NUMBERS and type(other) in _NUMBERS:
            if same_number(one, other, self._tolerance):
                return
        elif type(one) is not type(other):
            kind = Kind.TYPE
        elif one == other:
            return
        if place is None:
            within = self._place(pair)
            place = within.element() if name is None else within.child(name)
        self._report(kind, one, other, pair, place)

    def _place(self, pair: _Pair) -> Place:
        steps = []
        while pair[2] is not None:
            steps.append(pair[3])
            pair = pair[2]
        place = self._root
        for name in reversed(steps):
            place = place.element() if name is None else place.child(name)
        return place

    def _report(self, kind: Kind, one: Any, other: Any, pair: _Pair, place: Place) -> None:
        self._looks += 1
        self.more = self.more or self._looks > _MOST_LOOKS
        if place.ignored or self.more or (place.path, kind) in self._seen or self._is_within_reordered(pair, place):
            return
        self._list(place, kind, one, other)

    def _list(self, place: Place, kind: Kind, one: Any, other: Any) -> None:
        if (place.path, kind) in self._seen:
            return
        if len(self.differences) >= self._most:
            self.more = True
            return
        self._seen.add((place.path, kind))
        self.differences.append(Difference(place.path, kind, _shown(one, kind), _shown(other, kind)))

    def _is_within_reordered(self, pair: _Pair | None, place: Place) -> bool:
        """Whether a difference is nothing but a change of order of an array around it, which is reported instead."""
        around = []
        while pair is not None:
            around.append(pair)
            pair = pair[2]
        for pair in around[: -_DEEPEST_SET - 2: -1]:
            one, other, _, _ = pair
            if type(one) is list and type(other) is list and len(one) == len(other):
                known = self._reordered.get(id(one))
                if known is None:
                    known = self._reordered[id(one)] = self._is_reordered(pair)
                if known:
                    return True
        return False

    def _is_reordered(self, pair: _Pair) -> bool:
        place = self._place(pair)
        if place.unordered or not is_reordered(pair[0], pair[1], place.element()):
            return False
        self._list(place, Kind.ORDER, pair[0], pair[1])
        return True

    def _same(self, place: Place) -> Callable[[Any, Any], bool] | None:
        """Whether two elements of a set are equal within the tolerance; None where only equal ones belong together.

        Sets inside of such elements are not paired that way again: each level would double the work.
        """
        if self._tolerance == 0 or self._most == 1 or place.depth > _DEEPEST_TOLERANT_SET:
            return None

        def same(one: Any, other: Any) -> bool:
            inner = JsonDiff(self._paths, self._tolerance, place.element(), most=1)
            inner.run(one, other)
            return not inner.differences
        return same


def json_differences(primary: Any, shadow: Any, paths: Paths, tolerance: float = 0.0) -> tuple[list[Difference], bool]:
    """What differs between two parsed documents, and whether there is more than is listed."""
    diff = JsonDiff(paths, tolerance)
    diff.run(primary, shadow)
    return diff.differences, diff.more


def same_number(one: Any, other: Any, tolerance: float) -> bool:
    """Whether two numbers are equal, or within the tolerance; those beyond floats only when they are equal."""
    if one == other:
        return True
    if tolerance == 0 or Decimal in (type(one), type(other)):
        return False
    try:
        return isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:       # an integer that no float can hold
        return False


def _aligned(one: list[Any], other: list[Any]) -> tuple[list[tuple[Any, Any]], list[Any], list[Any]]:
    """Pairs of elements of arrays of different length: as if one run of elements was put in or taken out."""
    if len(one) < len(other):
        pairs, lost, new = _aligned(other, one)
        return [(b, a) for a, b in pairs], new, lost
    gap, width = gap_of(one, other), len(one) - len(other)
    kept = one[:gap] + one[gap + width:]
    return list(zip(kept, other, strict=True)), one[gap:gap + width], []


def _shown(value: Any, kind: Kind) -> str:
    if value is _ABSENT:
        return ""
    if kind is Kind.LENGTH:
        return str(value)
    if kind is Kind.TYPE:
        return f"{_NAMES[type(value)]}: {excerpts.of_json(value)}"[: excerpts.LONGEST]
    return excerpts.of_json(value)
