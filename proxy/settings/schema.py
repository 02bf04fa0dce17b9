"""The file's JSON Schema for editors, and the list of its keys for the documentation.

Both come from the model, so neither can know a key that the reader does not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from proxy.settings.model import FileSection
from proxy.settings.section import keys_of
from proxy.settings.shape import inner_section, sections

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ANNOTATIONS = ("description", "default", "examples")


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the file. It checks shapes; what must agree between values is `check`'s."""
    schema = FileSection.model_json_schema()
    for section in [schema, *schema["$defs"].values()]:
        _prepare(section)
    return {"$schema": _DIALECT, "title": "Turnout configuration", **schema}


def _prepare(section: dict[str, Any]) -> None:
    """Drop the titles that only repeat names, and let every optional key be null: that is how it is left out."""
    section.pop("title", None)
    required = section.get("required", [])
    for key, entry in section.get("properties", {}).items():
        entry.pop("title", None)
        if entry.get("default", ...) is None:
            del entry["default"]
        if "patternProperties" in entry:
            entry["additionalProperties"] = False
        if key not in required:
            section["properties"][key] = _or_null(entry)


def _or_null(entry: dict[str, Any]) -> dict[str, Any]:
    shape = {word: value for word, value in entry.items() if word not in _ANNOTATIONS}
    choices = shape["anyOf"] if set(shape) == {"anyOf"} else [shape]
    if {"type": "null"} not in choices:
        choices = [*choices, {"type": "null"}]
    return {**{word: entry[word] for word in _ANNOTATIONS if word in entry}, "anyOf": choices}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the file: its path (`routes[].match.host`), its default as one would write it, and what it means."""

    path: str
    default: str
    description: str


def keys() -> list[Key]:
    """Every key that holds a value, in the order of the model. The default is `required` or empty if there is none."""
    found: list[Key] = []
    for path, section in sections():
        for key, attribute in keys_of(section).items():
            info = section.model_fields[attribute]
            if inner_section(section, key) is None:
                found.append(Key(f"{path}.{key}".removeprefix("."), _default(section, info), info.description or ""))
    return found


def _default(section: type[BaseModel], info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    default: Any = extra.get("default", info.default)
    if isinstance(default, list):
        return f"[{', '.join(map(str, default))}]" if default else ""
    if default in (None, {}):
        return ""
    return default if isinstance(default, str) else json.dumps(default)
