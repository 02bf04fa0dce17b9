"""The kinds of value that health, attempts and overload have: how each is read, and how its schema tells an editor."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from proxy.settings import fields, grammar, units

_TARGET = r'/[!"$-~]{0,2047}'         # visible ASCII without a fragment (RFC 9112 §3.2)
_STATUS = r"[2-5][0-9]{2}"              # final ones: an interim answer says nothing about health
_CAUSES = ("connect", "reset", "timeout", "502", "503", "504")
_PRIORITIES = ("low", "normal", "high")


def count_or_none(low: int, high: int) -> fields.Kind:
    """A whole number within bounds, or `none` for unbounded."""
    kind = fields.count(low, high)
    return fields.Kind(lambda value: None if value == "none" else kind.parse(value),
                       {"anyOf": [{"const": "none"}, *kind.schema["anyOf"]]},
                       lambda count: "none" if count is None else count)


def size_or_auto(low: int, high: int) -> fields.Kind:
    """Bytes within bounds, or `auto` for what the machine says."""
    kind = fields.size(low, high)

    def parse(value: Any) -> object:
        if value == "none":
            raise ValueError(f"`none` is not a size: write `auto`, or more than there is: `{units.format_size(high)}`")
        return None if value == "auto" else kind.parse(value)
    return fields.Kind(parse, {"anyOf": [{"const": "auto"}, kind.schema]},
                       lambda size: "auto" if size is None else kind.show(size))


def part(low: float, high: float) -> fields.Kind:
    """A percentage within bounds, both in percent; its value is the fraction. The sign is needed: `0.5` would be half
    of everything to some, and one in two hundred to others.
    """
    def parse(value: Any) -> float:
        text = units.text_of(value)
        if not text.endswith("%"):
            raise ValueError(f"{units.quote(text)} is not a percentage, such as `20%`")
        _within(text, units.parse_number(text[:-1]), low, high, _show_percent)
        return float(Fraction(text[:-1]) / 100)
    return fields.Kind(parse, fields.pattern(rf"{fields.DECIMAL}%"), _show_part)


def _show_part(fraction: float) -> str:
    return _show_percent(round(fraction * 100, 9))


def _show_percent(percent: float) -> str:
    return f"{units.format_number(percent)}%"


def frequency_or_none(low: float, high: float) -> fields.Kind:
    """So many per second, within bounds; `none` for unbounded."""
    def parse(value: Any) -> float | None:
        return None if value == "none" else _within(
            value, units.parse_frequency(value), low, high, units.format_frequency)
    return fields.Kind(parse, fields.pattern(rf"none|{fields.DECIMAL}/[smh]"),
                       lambda rate: "none" if rate is None else units.format_frequency(rate))


def _within(value: Any, number: float, low: float, high: float, show: Callable[[float], str]) -> float:
    if not low <= number <= high:
        bound = f"less than {show(low)}" if number < low else f"more than {show(high)}"
        raise ValueError(f"{units.quote(value)} is {bound}")
    return number


def _floor(value: Any) -> float:
    """So many per second; the unit may be left out, since nobody gives a floor in another."""
    text = units.text_of(value)
    rate = units.parse_frequency(text) if "/" in text else units.parse_number(text)
    return _within(text, rate, 0, 100_000, units.format_frequency)


def _cause(value: Any) -> str:
    """The nearest word is of no help where a status is meant: `504` is nothing that a `500` may have meant."""
    text = units.text_of(value)
    if text.isdigit() and text not in _CAUSES:
        raise ValueError(f"{units.quote(text)}: of the statuses, only 502, 503 and 504 say that a retry may help")
    return grammar.parse_choice(text, _CAUSES)


def _target(value: Any) -> str:
    text = units.text_of(value)
    if not text.startswith("/"):
        raise ValueError(f"{units.quote(text)} must begin with `/`")
    if not re.fullmatch(_TARGET, text):
        raise ValueError(f"{units.quote(text)} is not what a request can ask for: visible ASCII without blanks or `#`, "
                         "2048 at most")
    return text


def _statuses(value: Any) -> tuple[int, int]:
    text = units.text_of(value)
    match = re.fullmatch(rf"({_STATUS})(?:-({_STATUS}))?", text)
    if match is None:
        raise ValueError(f"{units.quote(text)} is not a status or a range of them, such as `204` or `200-299`")
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        raise ValueError(f"{units.quote(text)} runs backwards: write `{last}-{first}`")
    return first, last


def _show_statuses(statuses: tuple[int, int]) -> str:
    first, last = statuses
    return str(first) if first == last else f"{first}-{last}"


def _expected_text(value: Any) -> str:
    text = units.text_of(value)
    if not 1 <= len(text) <= 1024:
        raise ValueError(f"has {len(text)} characters: 1 to 1024 are looked for (leave it out for any body)")
    return text


def _probe_header(value: Any) -> str:
    text = units.text_of(value)
    if text.lower() == "host":
        raise ValueError("`Host` is what `probe.host` is for")
    return grammar.parse_header_name(text)


def _suspicion(value: Any) -> float | None:
    if value == "none":
        return None
    return _within(value, units.parse_number(value), 0.1, 1000, units.format_number)


def _show_suspicion(phi: float | None) -> float | str:
    return "none" if phi is None else int(phi) if phi == int(phi) else phi


def _slow_start(value: Any) -> float:
    return 0.0 if value == "none" else float(_FROM_NOW.parse(value))    # type: ignore[arg-type]  # a duration


_FROM_NOW = fields.duration(0, 3600)

TARGET = fields.Kind(_target, fields.pattern(_TARGET))
STATUSES = fields.Kind(_statuses, {"anyOf": [{"type": "integer", "minimum": 200, "maximum": 599},
                                             fields.pattern(rf"{_STATUS}(?:-{_STATUS})?")]}, _show_statuses)
EXPECTED_TEXT = fields.Kind(_expected_text, {"type": ["string", "number"]})
PROBE_HEADER = fields.Kind(_probe_header, fields.pattern(fields.WORD_PATTERN))
SUSPICION = fields.Kind(_suspicion, {"anyOf": [{"type": "number", "minimum": 0.1, "maximum": 1000},
                                               fields.pattern(rf"none|{fields.DECIMAL}")]}, _show_suspicion)
SLOW_START = fields.Kind(_slow_start, fields.pattern(rf"none|{fields.DURATION_PATTERN}"),
                         lambda seconds: units.format_duration(seconds) if seconds else "none")
FLOOR = fields.Kind(_floor, {"anyOf": [{"type": "number", "minimum": 0, "maximum": 100_000},
                                       fields.pattern(rf"{fields.DECIMAL}(?:/[smh])?")]}, units.format_frequency)
CAUSE = fields.Kind(_cause, {"enum": [*_CAUSES, 502, 503, 504]})
PRIORITY = fields.Kind(lambda value: _PRIORITIES.index(grammar.parse_choice(value, _PRIORITIES)),
                       {"enum": list(_PRIORITIES)}, lambda priority: _PRIORITIES[priority])
