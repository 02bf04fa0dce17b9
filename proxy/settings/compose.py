"""From parser events to a tree, within bounds: what hides or multiplies the configuration is stopped here.

The tree is built from events, so that duplicate keys, tags and bombs are seen before anything is built from them.
Anchors and aliases work for whole values; merge keys (`<<`) and tags (`!!x`) are refused: they hide what is configured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from proxy.errors import ConfigError, Problem
from proxy.settings.document import Node, Place, dotted
from proxy.settings.environment import substitute
from proxy.settings.units import MIB, quote

MAX_DEPTH = 32                 # the model is six levels deep
MAX_NODES = 200_000            # after aliases are expanded: what a bomb multiplies
MAX_ALIASES = 1000
MAX_SUBSTITUTED = 4 * MIB      # all values together, after variables are put in
MAX_PROBLEMS = 200             # nobody reads more at once

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_NULLS = ("", "~", "null", "Null", "NULL")


@dataclass(slots=True)
class Composer:
    """Builds the tree from events, within bounds; collects what is wrong with single values."""

    name: str
    environ: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    path: list[str | int] = field(default_factory=list)
    anchors: dict[str, Node | None] = field(default_factory=dict)   # None: still being built
    aliases: int = 0
    substituted: int = 0

    def document(self, events: Iterator[yaml.Event]) -> Node | None:
        """The tree of the only document; None without one. Raises ConfigError for what must not be built."""
        root: Node | None = None
        seen = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                seen += 1
                if seen > 1:
                    raise self._stop(event, "a second document begins here: one file holds one")
                root = self._node(next(events), events, depth=0)
        return root

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if depth > MAX_DEPTH:
            raise self._stop(event, f"is nested more than {MAX_DEPTH} levels deep")
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self.anchors[anchor] = None
        if getattr(event, "tag", None) is not None:
            self._problem(event, "tags (`!x`, `!!x`) have no meaning here: write the value alone")
        node = Node(_place(event), None)
        if isinstance(event, yaml.MappingStartEvent):
            self._mapping(node, events, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._sequence(node, events, depth)
        else:
            node.content = self._scalar(event)
        if anchor is not None:
            self.anchors[anchor] = node
        return node

    def _mapping(self, node: Node, events: Iterator[yaml.Event], depth: int) -> None:
        content: dict[str, tuple[Place, Node]] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event, events, depth)
            self.path.append("?" if key is None else key)
            value = self._node(next(events), events, depth + 1)
            self._grow(node, value, event)
            self.path.pop()
            if key is None:
                continue
            if key in content:
                self._problem(event, f"{quote(key)} is given twice: first in line {content[key][0].line}")
            else:
                content[key] = (_place(event), value)
        node.content = content

    def _key(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> str | None:
        """The text of a key; None (and a problem) for what cannot be one."""
        if not isinstance(event, yaml.ScalarEvent):
            self._node(event, events, depth + 1)
            self._problem(event, "a key must be a single text")
            return None
        if event.anchor is not None or event.tag is not None:
            self._problem(event, "a key takes no anchor and no tag")
        if event.value == "<<" and not event.style:
            self._problem(event, "merge keys (`<<`) are not supported: write them out, or share whole values (`*name`)")
            return None
        return str(event.value)

    def _sequence(self, node: Node, events: Iterator[yaml.Event], depth: int) -> None:
        content: list[Node] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            self.path.append(len(content))
            value = self._node(event, events, depth + 1)
            self._grow(node, value, event)
            self.path.pop()
            content.append(value)
        node.content = content

    def _scalar(self, event: Any) -> str | None:
        text = str(event.value)
        if not event.style and text in _NULLS:
            return None
        if "$" in text:
            text = self._substitute(event, text)
        if bad := _CONTROL.search(text):
            self._problem(event, f"contains a control character (U+{ord(bad[0]):04X})")
            return ""
        return text

    def _substitute(self, event: yaml.Event, text: str) -> str:
        try:
            text = substitute(text, self.environ)
        except ValueError as error:
            self._problem(event, str(error))
            return text
        self.substituted += len(text)
        if self.substituted > MAX_SUBSTITUTED:
            raise self._stop(event, "environment variables make the file larger than 4 MiB")
        return text

    def _alias(self, event: Any) -> Node:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise self._stop(event, f"more than {MAX_ALIASES} aliases")
        if event.anchor not in self.anchors:
            raise self._stop(event, f"no anchor {quote('&' + event.anchor)} comes before this alias")
        node = self.anchors[event.anchor]
        if node is None:
            raise self._stop(event, f"{quote('*' + event.anchor)} contains itself")
        return node

    def _grow(self, node: Node, child: Node, event: yaml.Event) -> None:
        node.size += child.size
        if node.size > MAX_NODES:
            raise self._stop(event, f"more than {MAX_NODES} values once aliases are expanded")

    def _problem(self, event: yaml.Event, message: str) -> None:
        place = _place(event)
        if len(self.problems) >= MAX_PROBLEMS:
            raise ConfigError([*self.problems, Problem("", "", "… and more")])
        self.problems.append(Problem(f"{self.name}:{place.line}:{place.column}", dotted(tuple(self.path)), message))

    def _stop(self, event: yaml.Event, message: str) -> ConfigError:
        self._problem(event, message)
        return ConfigError(self.problems)


def _place(event: yaml.Event) -> Place:
    mark: Any = event.start_mark
    return Place(mark.line + 1, mark.column + 1)
