"""Tasks that work on their own, with nobody who waits for how they end.

Invariant: a fault that ends one is in the log at once, not when the garbage collector comes by.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

import structlog

T = TypeVar("T")

log = structlog.get_logger("tasks")


def reported(task: asyncio.Task[T], part: str) -> asyncio.Task[T]:
    """Return the task; should it fail, the log says so, with its name and the `part` of the program that it is of.

    Such a task ends when it is told to: anything else is a fault of ours. One that was cancelled has not failed.
    """

    def report(ended: asyncio.Task[T]) -> None:
        if not ended.cancelled() and (error := ended.exception()) is not None:
            log.critical("a task failed", part=part, task=ended.get_name(), exc_info=error)

    task.add_done_callback(report)
    return task
