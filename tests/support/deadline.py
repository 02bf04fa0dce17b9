"""Waiting for something to become true, with an end: the only kind of waiting that tests do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from proxy.clock import monotonic

T = TypeVar("T")
WITHIN_S = 15.0
_LOOK_EVERY_S = 0.01


def wait_until(look: Callable[[], T | None], what: str, within_s: float = WITHIN_S) -> T:
    """Return the first true value of `look()`; fails naming `what` when there is none in time."""
    deadline = monotonic() + within_s
    pause = threading.Event()
    while not (value := look()):
        assert monotonic() < deadline, f"not within {within_s} s: {what}"
        pause.wait(_LOOK_EVERY_S)
    return value


async def until(look: Callable[[], T | None], what: str, within_s: float = WITHIN_S) -> T:
    """The same inside an event loop."""
    deadline = monotonic() + within_s
    while not (value := look()):
        assert monotonic() < deadline, f"not within {within_s} s: {what}"
        await asyncio.sleep(_LOOK_EVERY_S)
    return value
