"""The kinds of value that only `shadow` has: how each is read, and how its JSON Schema tells an editor.

What stands in `compare` is read by `core.compare`, so that the file, the API and a recording have one grammar.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.core.compare.rules import problems_of, rules_of
from proxy.core.course import PERCENT_STEPS, is_percentage
from proxy.settings import fields, grammar, units


def _compared(key: str, *, one_of_several: bool = False) -> Callable[[Any], Any]:
    """Reads a value of `compare` as `core.compare` does; `one_of_several`: it is an entry of a list."""
    def parse(value: Any) -> Any:
        settings = {key: [value] if one_of_several else value}
        if problems := problems_of(settings):
            raise ValueError(problems[0].message)
        found = getattr(rules_of(settings), key)
        return found[0] if one_of_several else found
    return parse


def compared(key: str, schema: fields.Schema, show: Callable[[Any], Any] = lambda value: value) -> fields.Kind:
    """A value of `compare`."""
    return fields.Kind(_compared(key), schema, show)


def compared_entry(key: str) -> fields.Kind:
    """An entry of one of the lists of `compare`."""
    return fields.Kind(_compared(key, one_of_several=True), dict(fields.TEXT))


def _copied_percent(value: Any) -> float:
    percent = units.parse_percent(value)
    if not is_percentage(percent):
        raise ValueError(f"{units.quote(value)}: {PERCENT_STEPS}")
    return percent


def _rate_or_none(value: Any) -> float | None:
    """The sign is needed: `0.99` would be one in a hundred to some, and nearly all to others."""
    if value == "none":
        return None
    text = units.text_of(value)
    if not text.endswith("%"):
        raise ValueError(f"{units.quote(text)} is not a percentage, such as `99%` or `99.9%`, and not `none`")
    return units.parse_percent(text) / 100


def _show_rate(rate: float | None) -> str:
    return "none" if rate is None else f"{units.format_number(round(rate * 100, 9))}%"


_OF_EVERY_COPY = ("x-turnout-shadow", "x-request-id")


def _copy_header(value: Any) -> str:
    """A field that a copy may lose or get. What tells copies apart, and what ends loops, is not the operator's."""
    text = units.text_of(value)
    if text.lower() == "host":
        raise ValueError("`Host` is what `shadow.host` is for")
    if text.lower() in _OF_EVERY_COPY:
        raise ValueError(f"{units.quote(text)} is on every copy: by it a copy is told from a request")
    return grammar.parse_header_name(text)


COPIED_PERCENT = fields.Kind(
    _copied_percent, {"anyOf": [{"type": "number", "minimum": 0, "maximum": 100}, fields.PERCENT_TEXT]})
COPY_HEADER = fields.Kind(_copy_header, fields.pattern(fields.WORD_PATTERN))
RATE_OR_NONE = fields.Kind(_rate_or_none, fields.pattern(rf"none|{fields.DECIMAL}%"), _show_rate)
