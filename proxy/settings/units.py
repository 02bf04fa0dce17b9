"""Values with their unit in the text: sizes, rates, frequencies, durations, percentages, counts and weights.

Invariant: a text is read in exactly one way or refused with the way to write it; nothing is guessed, so `10` is no
duration, `012` no number and `1:30` no time. What `format_*` writes, `parse_*` reads back.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_SIZES = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": 1024 * GIB, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_MICROSECONDS = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1000, "us": 1}
_NUMBER = r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,9})?"
_QUANTITY = re.compile(rf"({_NUMBER}) ?([A-Za-z]*)")
_DURATION = re.compile("".join(rf"(?:({_NUMBER}){unit})?" for unit in _MICROSECONDS))
_LEADING_ZERO = re.compile(r"0+[0-9]+(?:\.[0-9]+)?(?![0-9:.])")
_FREQUENCY = re.compile(rf"({_NUMBER}) ?/ ?([A-Za-z]*)")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_QUOTED_LENGTH = 60


def quote(value: object) -> str:
    """A value as messages show it: in backticks, on one line, printable, and short."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if value is None:
        return "nothing"
    text = str(value)
    if len(text) > _QUOTED_LENGTH:
        text = text[:_QUOTED_LENGTH] + "…"
    return "`" + "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text) + "`"


def text_of(value: object) -> str:
    """The text of a scalar: what was typed in a file, or a number of a JSON body. Raises ValueError for the rest."""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"must be a single value, not {quote(value)}")


def _refuse_leading_zero(text: str) -> None:
    """`012` is ten in YAML 1.1, twelve to a person: neither is taken."""
    if _LEADING_ZERO.match(text):
        raise ValueError(f"{quote(text)} has a leading zero: write `{text.lstrip('0') or '0'}`")


def parse_number(value: object) -> float:
    """A plain decimal number, at least 0: no sign, exponent, leading zero, `inf` or `nan`."""
    text = text_of(value)
    _refuse_leading_zero(text)
    if not re.fullmatch(_NUMBER, text):
        raise ValueError(f"{quote(text)} is not a number of at least 0, such as `5` or `12.5`")
    return float(text)


def parse_count(value: object) -> int:
    """A whole number, at least 0."""
    text = text_of(value)
    _refuse_leading_zero(text)
    if not re.fullmatch(r"0|[1-9][0-9]{0,14}", text):
        raise ValueError(f"{quote(text)} is not a whole number of at least 0")
    return int(text)


def parse_percent(value: object) -> float:
    """A percentage from 0 to 100, with or without its sign: `12.5%`, `12.5`."""
    text = text_of(value)
    percent = parse_number(text[:-1] if text.endswith("%") else text)
    if percent > 100:
        raise ValueError(f"{quote(text)} is more than 100%")
    return percent


def parse_weight(value: object) -> float:
    """A relative weight, at least 0; a `%` behind it is allowed (that all of a split then add up is checked there)."""
    text = text_of(value)
    if text.startswith("-"):
        raise ValueError(f"{quote(text)} is negative: a weight is at least 0")
    return parse_number(text[:-1] if text.endswith("%") else text)


def parse_size(value: object) -> int:
    """Bytes from `512B`, `32KiB`, `1.5MiB` (powers of 1024) or `64kB`, `2MB` (powers of 1000)."""
    text = text_of(value)
    _refuse_leading_zero(text)
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{quote(text)} is not a size, such as `512B`, `32KiB` or `2MiB`")
    number, unit = match.groups()
    if not unit:
        raise ValueError(f"{quote(text)} has no unit: write `{number}B`, `{number}KiB` or `{number}MiB`")
    if unit not in _SIZES:
        raise ValueError(f"{quote(unit)} is not a unit of size: {', '.join(_SIZES)}")
    size = Fraction(number) * _SIZES[unit]
    if size.denominator != 1:
        raise ValueError(f"{quote(text)} is not a whole number of bytes")
    return size.numerator


def parse_rate(value: object) -> int:
    """Bytes per second, from a size followed by `/s`: `500B/s`."""
    text = text_of(value)
    if not text.endswith("/s"):
        raise ValueError(f"{quote(text)} is not a rate, such as `500B/s` or `2KiB/s`")
    return parse_size(text.removesuffix("/s"))


def parse_frequency(value: object) -> float:
    """So many per second, from `100/s`, `6000/m` or `1/h`."""
    text = text_of(value)
    _refuse_leading_zero(text.partition("/")[0].rstrip())
    match = _FREQUENCY.fullmatch(text)
    if match is None or match[2] not in _SECONDS:
        hint = f" (how often? write `{text}/s`)" if re.fullmatch(_NUMBER, text) else ""
        raise ValueError(f"{quote(text)} is not a frequency, such as `100/s`, `90/m` or `10/h`{hint}")
    return float(Fraction(match[1]) / _SECONDS[match[2]])


def parse_duration(value: object) -> float:
    """Seconds from `50us`, `250ms`, `10s`, `5m`, `2h`, `30d`, or several of them from large to small: `1h30m`."""
    text = text_of(value)
    _refuse_leading_zero(text)
    if re.fullmatch(_NUMBER, text):
        raise ValueError(f"{quote(text)} has no unit: write `{text}s` or `{text}ms`")
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{quote(text)} is not a duration, such as `250ms`, `10s`, `1h30m` or `30d`")
    parts = zip(match.groups(), _MICROSECONDS.values(), strict=True)
    return float(sum(Fraction(number) * unit for number, unit in parts if number) / 1_000_000)


def format_size(size: int) -> str:
    """The shortest exact text in powers of 1024: 32768 → `32KiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _SIZES[unit] == 0:
            return f"{size // _SIZES[unit]}{unit}"
    return f"{size}B"


def format_frequency(rate: float) -> str:
    """The text in the shortest unit of time in which it is exact: 100.0 → `100/s`, 1.5 → `1.5/s`, 1 ÷ 60 → `1/m`."""
    exact = Decimal(rate)  # not its repr: what repr leaves out, times 3600, may reach the next number that is written
    texts = [f"{_plain(exact * seconds)}/{unit}" for unit, seconds in _SECONDS.items()]
    return next((text for text in texts if parse_frequency(text) == rate), texts[-1])


def _plain(number: Decimal) -> str:
    """With nine places at most, as numbers are read, and no needless ones."""
    text = f"{round(number, 9):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_duration(seconds: float) -> str:
    """The text in the largest unit that needs no fraction, 75.0 → `75s`, 3600.0 → `1h`; what needs one has it in
    seconds, or in the first unit below that reaches 1: 2.5 → `2.5s`, 0.0025 → `2.5ms`. Exact to the picosecond.
    """
    microseconds = Decimal(repr(float(seconds))) * 1_000_000
    if not microseconds:
        return "0s"
    unit, length = next(
        (unit, length) for unit, length in _MICROSECONDS.items()
        if microseconds % length == 0 or (microseconds >= length and length <= _MICROSECONDS["s"]) or unit == "us")
    return _plain(microseconds / length) + unit


def format_number(number: float) -> str:
    """A number without a needless fraction: 5.0 → `5`, 12.5 → `12.5`."""
    return str(int(number)) if number == int(number) else str(number)
