"""JSON paths of rules, compiled into one matcher, and the general path of every place in a document.

A pattern is the part of RFC 9535 that names places in general: `$.name`, `$['any name']`, `$.*` and `$[*]` (every
child), `$..name`, `$..*` (at any depth). There are no indices: differences are grouped over all elements.

A `Place` is a position in a document as the patterns see it. Its children are worked out on first use and remembered,
so that walking a document costs one dictionary look-up per container and none for a value that is equal.
Invariant: what is remembered is bounded by `PLACES`; beyond, places are worked out anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from proxy.core.compare.excerpts import printable
from proxy.core.compare.ids import looks_like_id

PLACES = 20_000
DEEPEST_NAMED = 24
"""Steps of a path that are written out; what lies deeper is named after its ancestor, with `…`."""

_STEP = re.compile(
    r"""(?P<deep>\.\.)?(?:
        (?P<any>(?:(?<=\.\.)|\.)\*|\[\*\])
      | (?:(?<=\.\.)|\.)(?P<name>[^.\[\]'"*\s]+)
      | \['(?P<single>(?:[^'\\]|\\.)*)'\]
      | \["(?P<double>(?:[^"\\]|\\.)*)"\]
    )""",
    re.VERBOSE,
)
_MOST_STEPS = 32
_ESCAPED = re.compile(r"\\(.)")
_SIMPLE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")

_Step = tuple[bool, str | None]
"""Whether it descends any number of levels first, and the name it asks for (None: any child)."""
_Positions = frozenset[tuple[int, int]]
"""(index of a pattern, how many of its steps are matched)."""


def parse(pattern: str) -> tuple[_Step, ...]:
    """The steps of a pattern. Raises ValueError saying where it cannot be read."""
    if not pattern.startswith("$"):
        raise ValueError(f"`{printable(pattern, 60)}` must begin with `$`, such as `$.items[*].id`")
    steps: list[_Step] = []
    at = 1
    while at < len(pattern):
        found = _STEP.match(pattern, at)
        if found is None:
            raise ValueError(f"`{printable(pattern, 60)}`: {_what_is_wrong(pattern[at:])}, at character {at + 1}")
        quoted = found["single"] if found["single"] is not None else found["double"]
        name = found["name"] if quoted is None else _ESCAPED.sub(r"\1", quoted)
        steps.append((found["deep"] is not None, None if found["any"] else name))
        at = found.end()
    if len(steps) > _MOST_STEPS:
        raise ValueError(f"`{printable(pattern, 60)}` has more than {_MOST_STEPS} steps")
    return tuple(steps)


def _what_is_wrong(rest: str) -> str:
    if re.match(r"(?:\.\.)?\[-?[0-9]", rest):
        return "elements have no numbers here, write `[*]`"
    if re.match(r"(?:\.\.)?\[[?(]", rest):
        return "there are no conditions here"
    return "expected `.name`, `['name']`, `.*`, `[*]` or `..name`"


class Place:
    """A position in a document. `ignored`: it and all below it are not compared. `unordered`: an array here is a set;
    `depth`: levels below the root."""

    __slots__ = ("_children", "_element", "_paths", "_positions", "depth", "ignored", "path", "unordered")

    def __init__(self, paths: Paths, positions: _Positions, path: str, depth: int, ignored: bool = False) -> None:
        self._paths = paths
        self._positions = positions
        self._children: dict[str, Place] = {}
        self._element: Place | None = None
        self.depth = depth
        self.path = path
        here, self.unordered = paths.verdict(positions)
        self.ignored = ignored or here

    def child(self, name: str) -> Place:
        """The member of that name."""
        place = self._children.get(name)
        if place is None:
            place = self._below(name, _step(name))
            if self._paths.remembers():
                self._children[name] = place
        return place

    def element(self) -> Place:
        """Any element."""
        if self._element is None:
            self._element = self._below(None, "[*]")
        return self._element

    def _below(self, name: str | None, step: str) -> Place:
        depth = self.depth + 1
        path = self.path + step if depth <= DEEPEST_NAMED else self.path.removesuffix("…") + "…"
        return Place(self._paths, self._paths.after(self._positions, name), path, depth, self.ignored)


class Paths:
    """The patterns of the rules, ready to be walked from `root()`. Raises ValueError for a pattern that is none."""

    __slots__ = ("_count", "_first", "_patterns", "_remembered", "_root", "has_sets")

    def __init__(self, ignore: Iterable[str] = (), unordered: Iterable[str] = ()) -> None:
        ignored = [parse(pattern) for pattern in ignore]
        self._count = len(ignored)
        self._patterns = ignored + [parse(pattern) for pattern in unordered]
        self.has_sets = len(self._patterns) > self._count
        self._first: _Positions = frozenset((index, 0) for index in range(len(self._patterns)))
        self._remembered = 0
        self._root = Place(self, self._first, "$", 0)

    def root(self) -> Place:
        """Where a walk begins; what earlier walks worked out is still known unless it became too much."""
        if self._remembered >= PLACES:
            self._remembered = 0
            self._root = Place(self, self._first, "$", 0)
        return self._root

    def remembers(self) -> bool:
        """Whether there is room for another place; counts it."""
        self._remembered += 1
        return self._remembered <= PLACES

    def verdict(self, positions: _Positions) -> tuple[bool, bool]:
        """Whether a place is ignored, and whether an array there is a set."""
        done = {index for index, at in positions if at == len(self._patterns[index])}
        return any(index < self._count for index in done), any(index >= self._count for index in done)

    def after(self, positions: _Positions, name: str | None) -> _Positions:
        """Where the patterns stand one step further down: to a member of that name, or (None) to an element."""
        reached = set()
        for index, at in positions:
            steps = self._patterns[index]
            if at == len(steps):
                continue
            deep, wanted = steps[at]
            if deep:
                reached.add((index, at))
            if wanted is None or wanted == name:
                reached.add((index, at + 1))
        return frozenset(reached)


def _step(name: str) -> str:
    """A member as a step of a general path, which is a pattern again; ids would make each path unique."""
    if looks_like_id(name):
        return ".*"
    if _SIMPLE.fullmatch(name):
        return f".{name}"
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"['{escaped}']"
