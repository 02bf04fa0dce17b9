"""Reads a Dockerfile and a .dockerignore, as far as this project uses them: what is unknown is an error.

https://docs.docker.com/reference/dockerfile/ and https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

EXEC_FORM = frozenset({"RUN", "CMD", "ENTRYPOINT", "VOLUME", "HEALTHCHECK"})


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction. `flags`: `--from=build` → {"from": "build"}; `words`: the rest, of a JSON array its elements."""

    line: int
    name: str
    flags: dict[str, str]
    words: tuple[str, ...]
    exec_form: bool


@dataclass(slots=True)
class Stage:
    """What follows one FROM."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def of(self, name: str) -> list[Step]:
        """The steps of this name."""
        return [step for step in self.steps if step.name == name]

    @property
    def environ(self) -> dict[str, str]:
        """What its ENV steps set."""
        return dict(word.split("=", 1) for step in self.of("ENV") for word in step.words)


def read(path: Path) -> list[Stage]:
    """The stages, with the defaults of ARG put in."""
    stages: list[Stage] = []
    arguments: dict[str, str] = {}
    for line, text in _lines(path.read_text()):
        name, _, rest = text.partition(" ")
        for argument, value in arguments.items():
            rest = rest.replace(f"${{{argument}}}", value)
        if name == "ARG":
            key, _, value = rest.partition("=")
            arguments[key] = value
        elif name == "FROM":
            base, _, stage = rest.partition(" AS ")
            stages.append(Stage(base, stage))
        else:
            assert name.isupper(), f"{path.name}:{line}: {name} is no instruction"
            stages[-1].steps.append(_step(line, name, rest))
    return stages


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Instructions with the number of their first line: comments left out, continued lines joined."""
    begun = 0
    pieces: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or not line.strip():
            continue
        begun = begun if pieces else number
        pieces.append(line.strip().removesuffix("\\").strip())
        if not line.rstrip().endswith("\\"):
            yield begun, " ".join(pieces)
            pieces = []
    assert not pieces, "the last line is continued by nothing"


def _step(line: int, name: str, rest: str) -> Step:
    flags: dict[str, str] = {}
    while match := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
        flags[match[1]] = match[2]
        rest = rest[match.end():]
    if name == "HEALTHCHECK":
        rest = rest.removeprefix("CMD ")
    exec_form = rest.startswith("[")
    words = json.loads(rest) if exec_form else re.findall(r'(?:[^\s"]|"[^"]*")+', rest)
    return Step(line, name, flags, tuple(words), exec_form)


def is_ignored(path: str, dockerignore: str) -> bool:
    """Whether a path is kept from the builder: the last pattern that matches it, or a folder above it, wins."""
    ignored = False
    for line in dockerignore.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keep = pattern.startswith("!")
        if _pattern(pattern.removeprefix("!").strip("/")).fullmatch(path):
            ignored = not keep
    return ignored


def _pattern(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*|\?)", pattern)
    inner = "".join({"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part)) for part in parts)
    return re.compile(f"{inner}(?:/.*)?")
