"""Whoever works unattended and fails is heard of; the rest of what ends is nothing to speak of."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from proxy.controlplane.tasks import reported


async def fails() -> None:
    raise ZeroDivisionError("a fault of ours")


async def works() -> int:
    return 7


def test_a_task_that_fails_is_logged_with_its_name_its_part_and_its_error() -> None:
    async def test() -> BaseException | None:
        task = reported(asyncio.create_task(fails(), name="file-watch"), "program")
        await asyncio.wait({task})
        return task.exception()

    with capture_logs() as logged:
        error = asyncio.run(test())
    assert isinstance(error, ZeroDivisionError)
    assert logged == [
        {"event": "a task failed", "log_level": "critical", "part": "program", "task": "file-watch", "exc_info": error}]


def test_a_task_that_is_through_or_was_told_to_end_is_not() -> None:
    async def test() -> None:
        through = reported(asyncio.create_task(works()), "program")
        told = reported(asyncio.create_task(asyncio.Event().wait()), "program")
        assert await through == 7
        told.cancel()
        await asyncio.wait({told})

    with capture_logs() as logged:
        asyncio.run(test())
    assert logged == []
