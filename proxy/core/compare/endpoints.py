"""The endpoint template of a request target: `/items/42` is `/items/{}`. Configured ones first, the rest learned.

Learned templates are a tree of path segments. A segment that looks like an identifier is `{}` at once; a position
that shows more than `distinct` other words becomes `{}` as a whole, with all that lies below merged.

Invariants: templates are a function of the targets so far, in their order. Two targets that once had one template have
one for ever (templates only become more general). Memory is bounded: at `most_templates` nothing new is learned any
more, ever, and what fits no known template is `other`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from proxy.core.compare.groups import OTHER
from proxy.core.compare.ids import looks_like_id

ANY = "{}"
DEEPEST = 16
"""Segments of a path that are looked at; what lies deeper is `…`."""
_LONGEST_TARGET = 8_192
_REST = "…"
_NUMBERED = re.compile(r"[A-Za-z]{1,12}[-_]?[0-9]{3,}|[A-Za-z]{1,12}[-_][0-9]+")      # order-1042, u1234, page-2


class _Node:
    """A segment in the tree. `ends`: targets ended here. `merged`: too many words were seen below, all are `{}` now."""

    __slots__ = ("children", "ends", "merged")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.ends = False
        self.merged = False


class Endpoints:
    """The templates of one route. `configured`: such as `/items/{}`, the most exact one wins."""

    __slots__ = ("_configured", "_distinct", "_full", "_most_nodes", "_most_templates", "_nodes", "_root", "_templates")

    def __init__(self, configured: Iterable[str] = (), distinct: int = 30, most_templates: int = 200) -> None:
        by_exactness = sorted(configured, key=lambda template: (template.count(ANY), template))
        self._configured = [(template, _segments(template)) for template in by_exactness]
        self._distinct = distinct
        self._most_templates = most_templates
        self._most_nodes = 8 * most_templates
        self._root = _Node()
        self._templates = 0
        self._nodes = 1
        self._full = False

    def template(self, target: bytes | str, *, learn: bool = True) -> str:
        """The template of a target, with or without query; `learn=False` for what may be nobody's path, such as a 404.

        `other`: it fits no template and no more are learned.
        """
        path = _path(target)
        segments = _segments(path)
        for template, pattern in self._configured:
            if _fits(segments, pattern):
                return template
        words = [ANY if _is_id(segment) else segment for segment in segments[:DEEPEST]]
        if len(segments) > DEEPEST:
            words.append(_REST)
        found = self._find(words)
        if found is None and learn and not self._full:
            self._insert(words)
            self._full = self._templates >= self._most_templates or self._nodes >= self._most_nodes
            found = self._find(words)
        return OTHER if found is None else "/" + "/".join(found)

    def current(self, template: str) -> str:
        """What a template given earlier is called by now: the same, or a more general one."""
        return template if template == OTHER else self.template(template, learn=False)

    def _find(self, words: Sequence[str]) -> list[str] | None:
        node, found = self._root, []
        for word in words:
            name = word
            below = node.children.get(word)
            if below is None and node.merged:
                name, below = ANY, node.children.get(ANY)
            if below is None:
                return None
            found.append(name)
            node = below
        return found if node.ends else None

    def _insert(self, words: Sequence[str]) -> None:
        node = self._root
        for word in words:
            name = ANY if node.merged and word != _REST else word
            below = node.children.get(name)
            if below is None:
                below = node.children[name] = _Node()
                self._nodes += 1
                self._merge_if_many(node)
                below = node.children.get(name) or node.children[ANY]
            node = below
        self._templates += not node.ends
        node.ends = True

    def _merge_if_many(self, node: _Node) -> None:
        """Too many words at one position: all of them, and what lies below them, become one."""
        words = [word for word in node.children if word not in (ANY, _REST)]
        if len(words) <= self._distinct:
            return
        node.merged = True
        into = node.children.get(ANY)
        if into is None:
            into = node.children[ANY] = _Node()
            self._nodes += 1
        for word in words:
            self._absorb(into, node.children.pop(word))

    def _absorb(self, into: _Node, other: _Node) -> None:
        self._nodes -= 1
        self._templates -= into.ends and other.ends
        into.ends = into.ends or other.ends
        for word, below in other.children.items():
            name = ANY if into.merged and word != _REST else word
            known = into.children.get(name)
            if known is None:
                into.children[name] = below
            else:
                self._absorb(known, below)
        if other.merged and not into.merged:
            into.merged = True
            for word in [word for word in into.children if word not in (ANY, _REST)]:
                self._absorb(into.children[ANY], into.children.pop(word))
        self._merge_if_many(into)


def _path(target: bytes | str) -> str:
    """The path of a target in origin or absolute form, without query, fragment and parameters; bounded."""
    text = (target[:_LONGEST_TARGET].decode("latin-1") if isinstance(target, bytes) else target[:_LONGEST_TARGET])
    text = text.partition("?")[0].partition("#")[0]
    if not text.startswith("/"):
        authority_and_path = text.partition("://")[2]
        text = "/" + authority_and_path.partition("/")[2] if authority_and_path else "/" + text
    return text


def _segments(path: str) -> list[str]:
    return [segment.partition(";")[0] for segment in path.split("/", DEEPEST + 2)[1:]]


def _fits(segments: Sequence[str], pattern: Sequence[str]) -> bool:
    return len(segments) == len(pattern) and all(
        word in (segment, ANY) for segment, word in zip(segments, pattern, strict=True))


def _is_id(segment: str) -> bool:
    return looks_like_id(segment) or _NUMBERED.fullmatch(segment) is not None
