"""Comparison rules from what an operator wrote, and as the canonical JSON text that a route carries.

The file and the API share these checks. Every problem is found at once; `where` of a problem is a JSON pointer
(RFC 6901) into what was given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from difflib import get_close_matches
from typing import Any

from proxy.core.compare.excerpts import printable
from proxy.core.compare.json_paths import parse
from proxy.core.compare.values import Rules
from proxy.core.course import escape
from proxy.errors import Problem

_KEYS = tuple(field.name for field in fields(Rules))
_BODIES = ("auto", "json", "text", "bytes", "none")
_MOST_PATTERNS = 256
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")     # RFC 9110 §5.1
_TEMPLATE = re.compile(r"/[!-~]{0,1023}")
_SIZE = re.compile(r"([1-9][0-9]{0,9}) ?(B|KiB|MiB|kB|MB)")
_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "kB": 1000, "MB": 1000**2}
_PERCENT = re.compile(r"((?:0|[1-9][0-9]{0,5})(?:\.[0-9]{1,9})?) ?%")
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?(?:e-?[0-9]{1,2})?")
_MOST_BODY = 16 * 1024**2

_Reader = Callable[[object], Any]


def problems_of(mapping: Mapping[str, object]) -> list[Problem]:
    """Everything that is wrong with comparison settings as they were written; empty: `rules_of` takes them."""
    return _read(mapping)[1]


def rules_of(mapping: Mapping[str, object]) -> Rules:
    """The rules of settings that `problems_of` found nothing wrong with; what is left out is the default."""
    return Rules(**_read(mapping)[0])


def rules_from(text: str) -> Rules:
    """The rules of a route, from the JSON text it carries, which was checked when the route was made."""
    return rules_of(json.loads(text))


def to_text(rules: Rules) -> str:
    """The canonical JSON text of rules: keys sorted, defaults left out, so that equal rules are equal texts."""
    default = asdict(Rules())
    chosen = {name: value for name, value in asdict(rules).items() if value != default[name]}
    return json.dumps(chosen, sort_keys=True, separators=(",", ":"))


def _read(mapping: Mapping[str, object]) -> tuple[dict[str, Any], list[Problem]]:
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, value in mapping.items():
        pointer = f"/{escape(str(key))}"
        if key == "headers" and isinstance(value, str):
            value = [value]         # `*`, or a single name, may stand alone
        if key not in _READERS:
            problems.append(Problem(pointer, "", _unknown(str(key))))
        elif isinstance(value, (list, tuple)) and key in _LISTS:
            values[key], found = _listed(pointer, value, _READERS[key])
            problems += found
        elif key in _LISTS:
            problems.append(Problem(pointer, "", "must be a list"))
        else:
            try:
                values[key] = _READERS[key](value)
            except ValueError as wrong:
                problems.append(Problem(pointer, "", str(wrong)))
    return values, problems


def _listed(pointer: str, items: list[object] | tuple[object, ...], read: _Reader) -> tuple[Any, list[Problem]]:
    if len(items) > _MOST_PATTERNS:
        return (), [Problem(pointer, "", f"must have at most {_MOST_PATTERNS} entries")]
    values: list[str] = []
    problems = []
    for index, item in enumerate(items):
        try:
            value = read(item)
            if value in values:
                raise ValueError("is given twice")      # noqa: TRY301 one place turns what is wrong into a problem
            values.append(value)
        except ValueError as wrong:
            problems.append(Problem(f"{pointer}/{index}", "", str(wrong)))
    return tuple(values), problems


def _unknown(key: str) -> str:
    near = get_close_matches(key, _KEYS, n=1, cutoff=0.6)
    return "is not known: " + (f"did you mean `{near[0]}`?" if near else f"there are {', '.join(_KEYS)}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")  # noqa: TRY004 a problem of the operator's, not of the program
    return value


def _header(value: object) -> str:
    name = _text(value).lower()
    if not _HEADER.fullmatch(name):
        raise ValueError(f"`{printable(name, 60)}` is not the name of a header, nor `*` for all")
    return name


def _json_path(value: object) -> str:
    pattern = _text(value)
    if len(pattern) > 512:
        raise ValueError("must have at most 512 characters")
    parse(pattern)
    return pattern


def _ignore(value: object) -> str:
    pattern = _text(value)
    if pattern in ("status", "body"):
        return pattern
    if pattern.startswith("header:"):
        return "header:" + _header(pattern[7:].strip())
    if not pattern.startswith("$"):
        raise ValueError(f"`{printable(pattern, 60)}` is neither a JSON path (`$.items[*].id`), nor `header:NAME`, "
                         f"`status` or `body`")
    return _json_path(pattern)


def _template(value: object) -> str:
    template = _text(value)
    if not _TEMPLATE.fullmatch(template) or "?" in template or "#" in template:
        raise ValueError("must be a path such as `/items/{}`: `/` first, no blanks, no query")
    if any("{" in part and part != "{}" for part in template.split("/")):
        raise ValueError("may have `{}` only as a whole segment")
    return template


def _body(value: object) -> str:
    if value not in _BODIES:
        raise ValueError(f"must be one of {', '.join(_BODIES)}")
    return str(value)


def _fraction(value: object) -> float:
    if isinstance(value, str):
        percent = _PERCENT.fullmatch(value)
        if percent is None and not _NUMBER.fullmatch(value):
            raise ValueError("must be a number of at least 0, or a percentage such as `0.5%`")
        value = float(percent[1]) / 100 if percent else float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1e6:      # NaN is neither
        raise ValueError("must be a number from 0 to 1000000, or a percentage such as `0.5%`")
    return float(value)


def _count(least: int, most: int) -> _Reader:
    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"0|[1-9][0-9]{0,9}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return value
    return read


def _size(value: object) -> int:
    if isinstance(value, str) and (found := _SIZE.fullmatch(value)):
        value = int(found[1]) * _UNITS[found[2]]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_BODY:
        raise ValueError("must be a size from 1B to 16MiB, such as `256KiB`")
    return value


def _flag(value: object) -> bool:
    if value in ("true", "false"):
        return value == "true"
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 a problem of the operator's
    return value


_LISTS = frozenset({"headers", "ignore", "unordered", "endpoints"})
_READERS: dict[str, _Reader] = {
    "headers": _header, "ignore": _ignore, "unordered": _json_path, "tolerance": _fraction, "body": _body,
    "max_body": _size, "samples": _count(0, 20), "relative_margin": _fraction, "absolute_margin": _fraction,
    "minimum": _count(1, 10**9), "endpoints": _template, "control": _flag, "per_second": _count(1, 10**6),
}
