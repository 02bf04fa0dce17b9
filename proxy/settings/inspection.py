"""A configuration looked at for somebody else: everything that is wrong with its text, and nothing read besides it.

Who sends a file to be checked may not be who may read this process's environment and files. So `${NAME}` is not looked
up and no file is opened: a value that has either in it is taken as it may be, and named in `unread`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from proxy.errors import ConfigError, Problem
from proxy.settings.crosscheck import cross_check
from proxy.settings.document import Loc
from proxy.settings.model import TokenSection
from proxy.settings.pieces import take_apart
from proxy.settings.report import FileSource, Report
from proxy.settings.shape import check_shape
from proxy.settings.strict_yaml import parse
from proxy.settings.tokens import read_tokens

_STAND_IN = "unread-environment-"
_HAS_VARIABLE = re.compile(r"""["']?[^\s,\]}]*\$\{""")


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found. `unread`: the variables and files that the configuration would be read with, by name."""

    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    unread: tuple[str, ...]


class _Unread(Mapping[str, str]):
    """An environment in which every variable is set, to a text of its own that no other has; notes which were asked.

    The text may be a name, a host or a secret, so that most of what it is put into can still be checked.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(f"${{{name}}}")
        return _STAND_IN + sha256(name.encode()).hexdigest()[:40]

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def inspect_bytes(raw: bytes, name: str) -> Inspection:
    """Check what a configuration file holds; `name` stands for it in problems (`name:line:col`)."""
    environ = _Unread()
    try:
        document, problems = parse(raw, name, environ)
    except ConfigError as error:
        return Inspection(tuple(error.problems), (), ())
    report = Report(FileSource(document))
    for problem in problems:
        line, column = problem.where.rsplit(":", 2)[1:]
        report.found(problem, (int(line), int(column)))
    check_shape(document.data, report)
    pieces = take_apart(document.data)
    cross_check(pieces, report)
    read_tokens([(loc, _unopened(loc, section, environ)) for loc, section in pieces.tokens], "", environ, report)
    lines = raw.decode("utf-8-sig", "replace").split("\n")
    told = [problem for problem in report.errors if not _about_unread(problem, lines)]
    return Inspection(tuple(told), report.warnings, tuple(sorted(environ.names)))


def _unopened(loc: Loc, section: TokenSection, environ: _Unread) -> TokenSection:
    """The same token as if its file held one: that two tokens name one file is still found."""
    del loc
    if section.token_file is None or section.token_env is not None or section.token_sha256 is not None:
        return section
    environ.names.add(section.token_file)
    stand_in = sha256(f"file {section.token_file}".encode()).digest()
    return section.model_copy(update={"token_file": None, "token_sha256": stand_in})


def _about_unread(problem: Problem, lines: list[str]) -> bool:
    """Whether a problem may be one of the stand-in and not of the file."""
    if _STAND_IN in problem.message:
        return True
    match = re.search(r":([0-9]+):([0-9]+)$", problem.where)
    if match is None or int(match[1]) > len(lines):
        return False
    return _HAS_VARIABLE.match(lines[int(match[1]) - 1], int(match[2]) - 1) is not None
