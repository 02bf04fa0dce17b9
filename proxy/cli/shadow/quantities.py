"""Quantities on the command line, written as in the file: `10%`, `10m`, `64MiB`.

The file's grammar is imported when one is given: it brings the whole reader of files along.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


class Quantity(click.ParamType[Any]):
    """A value that `parse` reads from text, and refuses with ValueError."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value; a usage error for what it is not."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _portion(text: str) -> float:
    from proxy.settings.units import parse_percent

    percent = parse_percent(text)
    if not percent:
        raise ValueError(f"`{text}` of the requests are none")
    return percent / 100


def _span(text: str) -> float:
    from proxy.settings.units import parse_duration

    seconds = parse_duration(text)
    if not seconds:
        raise ValueError(f"`{text}` is no time at all")
    return seconds


def _size(text: str) -> int:
    from proxy.settings.units import parse_size

    size = parse_size(text)
    if size < 64 * 1024:
        raise ValueError(f"`{text}` is less than 64KiB, too little for a few requests")
    return size


PORTION = Quantity("percent", _portion)
"""More than 0 to 1, from a percentage."""
SPAN = Quantity("time", _span)
"""Seconds, more than 0."""
SIZE = Quantity("size", _size)
"""Bytes of a file, at least 64 KiB."""
