"""Strict YAML: text in, plain data and the place of every value out.

Every scalar stays the text that was typed (`no`, `012` and `1:30` included) and the model says what it means; only a
plain `null`, `~` or nothing at all is None. The tree is built from parser events, so that duplicate keys, tags and
bombs are seen before anything is built from them. Anchors and aliases work for whole values, within bounds; merge
keys (`<<`) and tags (`!!x`) are refused: they hide what is configured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from proxy.errors import ConfigError, Problem
from proxy.settings.environment import substitute
from proxy.settings.units import MIB, quote

MAX_FILE_BYTES = 1 * MIB       # a thousand routes take 300 KiB
MAX_DEPTH = 32                 # the model is six levels deep
MAX_NODES = 200_000            # after aliases are expanded: what a bomb multiplies
MAX_ALIASES = 1000
MAX_SUBSTITUTED = 4 * MIB      # all values together, after variables are put in

Loc = tuple[str | int, ...]
Data = dict[str, Any] | list[Any] | str | None

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_NULLS = ("", "~", "null", "Null", "NULL")

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser in C where PyYAML was built with it: ten times as fast, the same events."""


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


def parse(raw: bytes, name: str, environ: Mapping[str, str]) -> tuple[Document, list[Problem]]:
    """Read a file's bytes. Problems that leave the rest readable are returned; others raise ConfigError."""
    text = _decode(raw, name)
    composer = _Composer(name, environ)
    try:
        root = composer.document(yaml.parse(text, Loader=Loader))
    except yaml.MarkedYAMLError as error:
        raise ConfigError([*composer.problems, _syntax_problem(name, text, error)]) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the parser in Python lets some of these through
        raise ConfigError([Problem(name, "", f"is not YAML: {error}")]) from None
    if root is None or root.content is None:
        raise ConfigError([Problem(name, "", "is empty: `versions` and `routes` are needed")])
    data = root.data()
    if not isinstance(data, dict):
        kind = "a list" if isinstance(data, list) else "a single value"
        raise ConfigError([Problem(f"{name}:{root.place.line}:{root.place.column}", "",
                                   f"must be a mapping (`key: value`), not {kind}")])
    return Document(name, root, data), composer.problems


def _decode(raw: bytes, name: str) -> str:
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError([Problem(name, "", "is larger than 1 MiB")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        raise ConfigError([Problem(f"{name}:{line}:{column}", "", "is not UTF-8 text")]) from None
    if bad := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, bad.start()) + 1
        column = bad.start() - text.rfind("\n", 0, bad.start())
        message = f"contains a control character (U+{ord(bad[0]):04X})"
        raise ConfigError([Problem(f"{name}:{line}:{column}", "", message)])
    return text


def _syntax_problem(name: str, text: str, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem(name, "", f"is not YAML: {error.problem}")
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    before, at = line[:mark.column], line[mark.column:mark.column + 1]
    if at == "\t" or (before.isspace() and "\t" in before):
        message = "a tab cannot indent YAML: use spaces"
    else:
        begun = error.context
        if error.context_mark is not None:
            begun = f"{begun} (begun in line {error.context_mark.line + 1})"
        message = "is not YAML: " + ", ".join(filter(None, (begun, error.problem)))
    if "::" in line:
        message += " (put quotes around IPv6 addresses)"
    elif "${" in before + at:
        message += " (inside `{}` and `[]`, put quotes around `${…}`)"
    return Problem(f"{name}:{mark.line + 1}:{mark.column + 1}", "", message)


@dataclass(slots=True)
class _Composer:
    """Builds the tree from events, within bounds; collects what is wrong with single values."""

    name: str
    environ: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    path: list[str | int] = field(default_factory=list)
    anchors: dict[str, Node | None] = field(default_factory=dict)   # None: still being built
    aliases: int = 0
    substituted: int = 0

    def document(self, events: Iterator[yaml.Event]) -> Node | None:
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
        self.problems.append(Problem(f"{self.name}:{place.line}:{place.column}", dotted(tuple(self.path)), message))

    def _stop(self, event: yaml.Event, message: str) -> ConfigError:
        self._problem(event, message)
        return ConfigError(self.problems)


def _place(event: yaml.Event) -> Place:
    mark: Any = event.start_mark
    return Place(mark.line + 1, mark.column + 1)
