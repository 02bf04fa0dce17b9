"""Collects what is wrong, each problem with its place, and puts it in the order of the file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from proxy.errors import Problem
from proxy.settings.document import Document, Loc, Place, dotted
from proxy.settings.grammar import suggest

MAX_PROBLEMS = 200
"""Nobody reads more at once; and looking for what each of 100,000 unknown words may have meant takes minutes."""


class Source(Protocol):
    """Where a configuration came from: knows the place of each value."""

    def where(self, loc: Loc, *, of_key: bool = False) -> str:
        """The place as a problem begins with it."""

    def spot(self, loc: Loc) -> str:
        """The place as another problem's message names it."""

    def order(self, loc: Loc, *, of_key: bool = False) -> tuple[int, int]:
        """What problems are sorted by."""

    def path(self, loc: Loc) -> str:
        """The value's path."""


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file: `file:line:col`."""

    document: Document

    def where(self, loc: Loc, *, of_key: bool = False) -> str:
        """`file:line:col`."""
        return self.document.where(loc, of_key=of_key)

    def spot(self, loc: Loc) -> str:
        """`line N`."""
        return f"line {self.document.place(loc).line}"

    def order(self, loc: Loc, *, of_key: bool = False) -> tuple[int, int]:
        """Line and column."""
        place: Place = self.document.place(loc, of_key=of_key)
        return place.line, place.column

    def path(self, loc: Loc) -> str:
        """`routes[0].split.new`."""
        return dotted(loc)


@dataclass(frozen=True, slots=True)
class FlagSource:
    """The flags of a command line: each stands for a part of the configuration, by the start of its path."""

    flags: Mapping[Loc, str]

    def _flag(self, loc: Loc) -> str:
        known = [self.flags[loc[:length]] for length in range(len(loc), -1, -1) if loc[:length] in self.flags]
        return known[0] if known else ""

    def where(self, loc: Loc, *, of_key: bool = False) -> str:
        """The flag."""
        return self._flag(loc)

    def spot(self, loc: Loc) -> str:
        """The flag."""
        return self._flag(loc)

    def order(self, loc: Loc, *, of_key: bool = False) -> tuple[int, int]:
        """As found."""
        return 0, 0

    def path(self, loc: Loc) -> str:
        """Nothing: the flag says it."""
        return "" if self._flag(loc) else dotted(loc)


@dataclass(slots=True)
class Report:
    """Errors and warnings about one source."""

    source: Source
    _errors: list[tuple[tuple[int, int], Problem]] = field(default_factory=list)
    _warnings: list[tuple[tuple[int, int], Problem]] = field(default_factory=list)
    _seen: set[tuple[Loc, bool] | tuple[str, str]] = field(default_factory=set)
    _untold: int = 0

    def error(self, loc: Loc, message: str, *, of_key: bool = False) -> None:
        """Something that must be put right first. Of two problems at one value, the first one says it."""
        if self.full:
            self._untold += 1
            return
        problem = self._problem(loc, message, of_key)
        if (loc, of_key) not in self._seen and (problem.where, problem.path) not in self._seen:
            self._errors.append((self.source.order(loc, of_key=of_key), problem))
        self._seen.add((loc, of_key))

    @property
    def full(self) -> bool:
        """Whether further errors are only counted."""
        return len(self._errors) >= MAX_PROBLEMS

    def near(self, word: str, known: Collection[str]) -> str:
        """` (did you mean …?)`, as long as somebody will read it."""
        return "" if self.full or len(known) > MAX_PROBLEMS else suggest(word, list(known))

    def warning(self, loc: Loc, message: str, *, of_key: bool = False) -> None:
        """Something that works, but probably not as meant."""
        if len(self._warnings) < MAX_PROBLEMS:
            self._warnings.append((self.source.order(loc, of_key=of_key), self._problem(loc, message, of_key)))

    def found(self, problem: Problem, order: tuple[int, int]) -> None:
        """An error that already knows its place."""
        self._errors.append((order, problem))
        self._seen.add((problem.where, problem.path))

    def _problem(self, loc: Loc, message: str, of_key: bool) -> Problem:
        return Problem(self.source.where(loc, of_key=of_key), self.source.path(loc), message)

    @property
    def errors(self) -> list[Problem]:
        """Every error, in the order of the file."""
        told = [problem for _, problem in sorted(self._errors, key=lambda entry: entry[0])]
        return told + ([Problem("", "", f"… and {self._untold} more")] if self._untold else [])

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Every warning, in the order of the file."""
        return tuple(problem for _, problem in sorted(self._warnings, key=lambda entry: entry[0]))
