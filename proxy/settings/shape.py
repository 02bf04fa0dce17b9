"""Checks data against the model and says what is wrong in the operator's words."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from proxy.settings.document import Loc
from proxy.settings.model import FileSection
from proxy.settings.report import Report
from proxy.settings.section import keys_of
from proxy.settings.units import quote

_KINDS = {
    "model_type": "must be a mapping (`key: value`)", "model_attributes_type": "must be a mapping (`key: value`)",
    "dict_type": "must be a mapping (`key: value`)", "list_type": "must be a list (`[one, two]`, or lines with `- `)",
    "too_short": "must not be empty", "too_long": "has too many entries",
}


def check_shape(data: dict[str, Any], report: Report) -> FileSection | None:
    """The model of `data`, or None once everything that is wrong with its shape is in the report."""
    try:
        return FileSection.model_validate(data)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            _report(problem, report)
    return None


def _report(problem: Any, report: Report) -> None:
    loc: Loc = problem["loc"]
    kind: str = problem["type"]
    if kind == "extra_forbidden":
        report.error(loc, f"is not known{'' if report.full else _nearest(loc, report)}", of_key=True)
    elif kind == "missing":
        report.error(loc, "is missing")
    elif kind == "value_error" and loc[-1] == "[key]":
        report.error(loc[:-1], str(problem["ctx"]["error"]), of_key=True)
    elif kind == "value_error":
        report.error(loc, str(problem["ctx"]["error"]))
    else:
        given = "" if kind in ("too_short", "too_long") else f", not {_shown(loc, problem['input'])}"
        report.error(loc, _KINDS.get(kind, str(problem["msg"])) + given)


def _shown(loc: Loc, value: object) -> str:
    """What stands there instead. Never quoted where secrets are: somebody may have put one in the wrong place."""
    return "a single value" if loc[0] == "admin" and isinstance(value, str) else quote(value)


def _nearest(loc: Loc, report: Report) -> str:
    """What an unknown key may have meant: a similar key of its section, or the section where it belongs."""
    section = section_at(loc[:-1])
    key = str(loc[-1])
    if section is None:
        return ""
    if key in ("true", "True") and "on" in keys_of(section):
        return " (a tool made it of `on`, which is a word for true in YAML 1.1: put quotes around it there)"
    if near := report.near(key, keys_of(section)):
        return near
    homes = [dotted for dotted, other in sections() if key in keys_of(other) and other is not section]
    if len(homes) == 1:
        return f" here: it belongs to `{homes[0]}`" if homes[0] else " here: it belongs to the top level"
    return f" (known are: {', '.join(sorted(keys_of(section)))})"


def section_at(loc: Loc) -> type[BaseModel] | None:
    """The section of the model that describes the mapping at `loc`."""
    section: type[BaseModel] | None = FileSection
    for step in loc:
        if section is None:
            return None
        keys = keys_of(section)
        if isinstance(step, str) and step in keys and (inner := inner_section(section, step)):
            section = inner
        elif section is FileSection or (isinstance(step, str) and step in keys):
            return None
    return section


def inner_section(section: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The section that a key holds: itself, in a list or by name."""
    return _find_section(section.model_fields[keys_of(section)[key]].annotation)


def _find_section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_find_section, get_args(annotation))), None)


def sections(section: type[BaseModel] = FileSection, path: str = "") -> list[tuple[str, type[BaseModel]]]:
    """Every section with the path of it: ``, `limits`, `versions.NAME`, `routes[]`, `routes[].match`, …"""
    found: list[tuple[str, type[BaseModel]]] = [(path, section)]
    for key, attribute in keys_of(section).items():
        inner = inner_section(section, key)
        if inner is not None:
            outer = str(section.model_fields[attribute].annotation)
            mark = "[]" if outer.startswith("list") else ".NAME" if outer.startswith("dict") else ""
            found += sections(inner, f"{path}.{key}{mark}".removeprefix("."))
    return found
