"""Numbers and times as a person reads them at a glance."""

from __future__ import annotations

import time

_UNITS = (("d", 86_400), ("h", 3600), ("min", 60))


def duration(seconds: float) -> str:
    """Return a time span in its largest unit of which there are at least two: `90 min`, `3 h`."""
    whole = int(seconds)
    for unit, size in _UNITS:
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def countdown(seconds: float) -> str:
    """Return the time that is left to the second: `9:05`, `1:02:03`; what is begun counts whole, so 0 is the end."""
    whole = -int(-seconds // 1)
    minutes, hours = whole // 60 % 60, whole // 3600
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def latency(seconds: float | None) -> str:
    """Return a short time in milliseconds or seconds; `-` where nothing was measured."""
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def moment(at: float) -> str:
    """Return seconds since the epoch as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def printable(text: str, keep: str = "") -> str:
    """Return text that cannot steer a terminal: what others wrote is shown, never obeyed. `keep`: what may stay."""
    return "".join(
        letter if letter.isprintable() or letter in keep else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
