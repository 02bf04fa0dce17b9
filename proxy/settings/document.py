"""A parsed file: its data, and the place of every value in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from proxy.settings.units import quote

Loc = tuple[str | int, ...]
Data = dict[str, Any] | list[Any] | str | None


@dataclass(frozen=True, slots=True)
class Place:
    """A position in the file, both numbers counted from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Node:
    """One value of the file. `content` of a mapping holds (place of the key, node) by key; `size` counts all below."""

    place: Place
    content: dict[str, tuple[Place, Node]] | list[Node] | str | None
    size: int = 1

    def data(self) -> Data:
        """The value without its places."""
        if isinstance(self.content, dict):
            return {key: node.data() for key, (_, node) in self.content.items()}
        if isinstance(self.content, list):
            return [node.data() for node in self.content]
        return self.content


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: its data, and where each value and key of it stands."""

    name: str
    root: Node
    data: dict[str, Any]

    def place(self, loc: Loc, *, of_key: bool = False) -> Place:
        """Where the value (or its key) at `loc` stands; for what is not in the file, what encloses it."""
        place, node = self.root.place, self.root
        for step in loc:
            found = _child(node, step)
            if found is None:
                return place
            key_place, node = found
            place = key_place if of_key else node.place
        return place

    def where(self, loc: Loc, *, of_key: bool = False) -> str:
        """`file:line:col` of the value (or its key) at `loc`."""
        place = self.place(loc, of_key=of_key)
        return f"{self.name}:{place.line}:{place.column}"


def dotted(loc: Loc) -> str:
    """A path as messages show it: `routes[0].split.new`."""
    return "".join(map(_step, loc)).removeprefix(".")


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if re.fullmatch(r"[\w.-]{1,60}", step, re.ASCII) else f"[{quote(step)}]"


def _child(node: Node, step: str | int) -> tuple[Place, Node] | None:
    if isinstance(node.content, dict) and isinstance(step, str):
        return node.content.get(step)
    if isinstance(node.content, list) and isinstance(step, int) and step < len(node.content):
        return node.content[step].place, node.content[step]
    return None
