"""The two ways to a configuration: a file, and the addresses of a command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from proxy.errors import ConfigError, Problem
from proxy.settings.build import build
from proxy.settings.crosscheck import cross_check
from proxy.settings.document import Loc
from proxy.settings.pieces import take_apart
from proxy.settings.report import FileSource, FlagSource, Report
from proxy.settings.shape import check_shape
from proxy.settings.strict_yaml import MAX_FILE_BYTES, parse
from proxy.settings.tokens import read_tokens
from proxy.settings.units import parse_percent
from proxy.settings.values import Settings


def load_file(path: str | os.PathLike[str], environ: Mapping[str, str] | None = None) -> Settings:
    """Read a configuration file; `environ` (default: the process's) is what `${NAME}` reads.

    Raises ConfigError with every problem, in the order of the file, each at `file:line:col`.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([Problem(name, "", f"cannot be read: {error.strerror}")]) from None
    except ValueError:          # a NUL in the path
        raise ConfigError([Problem(ascii(name), "", "is not the path of a file")]) from None
    return load_bytes(raw, name, environ)


def load_bytes(raw: bytes, name: str, environ: Mapping[str, str] | None = None) -> Settings:
    """Read what a configuration file holds; `name` stands for it in problems, and relative paths start beside it."""
    environ = os.environ if environ is None else environ
    document, problems = parse(raw, name, environ)
    report = Report(FileSource(document))
    for problem in problems:
        line, column = problem.where.rsplit(":", 2)[1:]
        report.found(problem, (int(line), int(column)))
    return _settle(document.data, report, name, environ)


def from_urls(old: str | Sequence[str], new: str | Sequence[str], weight: float | str, *,
              listen: str | Sequence[str] = "127.0.0.1:8080", admin: str = "127.0.0.1:9900",
              workers: int | str = "auto", sticky: str | None = "turnout", state_dir: str = "memory",
              environ: Mapping[str, str] | None = None) -> Settings:
    """A configuration without a file: one route `default` between the servers of `old` and `new`.

    `weight` is the share of `new` in percent (0 to 100). Clients stay with their version by a cookie called `sticky`
    (None: every request draws anew). No journal is kept unless `state_dir` names a folder. Raises ConfigError whose
    problems name the flags.
    """
    try:
        percent = parse_percent(weight)
    except ValueError as error:
        raise ConfigError([Problem("--weight", "", str(error))]) from None
    split = {"old": f"{100 - percent:.9f}", "new": f"{percent:.9f}"}
    route: dict[str, Any] = {"name": "default", "split": split}
    if sticky is not None:
        route["sticky"] = {"by": "cookie", "name": sticky}
    data = {
        "listen": listen if isinstance(listen, str) else list(listen), "workers": workers,
        "admin": {"listen": admin}, "state_dir": state_dir, "routes": [route],
        "versions": {"old": {"servers": _servers(old)}, "new": {"servers": _servers(new)}},
    }
    return _settle(data, Report(FlagSource(_FLAGS)), None, os.environ if environ is None else environ)


_FLAGS: dict[Loc, str] = {
    ("versions", "old"): "--old", ("versions", "new"): "--new", ("listen",): "--listen", ("admin",): "--admin",
    ("workers",): "--workers", ("state_dir",): "--state-dir", ("routes", 0, "sticky"): "--sticky",
    ("routes", 0, "split"): "--weight",
}


def _servers(urls: str | Sequence[str]) -> list[str]:
    return [urls] if isinstance(urls, str) else list(urls)


def _settle(data: dict[str, Any], report: Report, file: str | None, environ: Mapping[str, str]) -> Settings:
    """Check everything, then build or raise."""
    model = check_shape(data, report)
    pieces = take_apart(data)
    cross_check(pieces, report)
    folder = os.path.dirname(os.path.abspath(file)) if file else ""
    tokens = read_tokens(pieces.tokens, folder, environ, report)
    if model is None or report.errors:
        raise ConfigError(report.errors)
    return build(model, file, tokens, report.warnings)
