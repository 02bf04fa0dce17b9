"""Strict YAML: bytes in, a document out, or what is wrong with them.

Every scalar stays the text that was typed (`no`, `012` and `1:30` included) and the model says what it means; only a
plain `null`, `~` or nothing at all is None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from proxy.errors import ConfigError, Problem
from proxy.settings.compose import Composer
from proxy.settings.document import Document
from proxy.settings.units import MIB

MAX_FILE_BYTES = 1 * MIB       # a thousand routes take 300 KiB

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser in C where PyYAML was built with it: ten times as fast, the same events."""


def parse(raw: bytes, name: str, environ: Mapping[str, str]) -> tuple[Document, list[Problem]]:
    """Read a file's bytes. Problems that leave the rest readable are returned; others raise ConfigError."""
    text = _decode(raw, name)
    composer = Composer(name, environ)
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
