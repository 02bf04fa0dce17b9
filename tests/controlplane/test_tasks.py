"""Whoever works unattended and fails is heard of; the rest of what ends is nothing to speak of."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from proxy.controlplane.tasks import reported
from tests.support.commanding import Time, backends, by_ann, desk


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


class TimeWithAFault(Time):
    """A time of day that the timer of pending changes cannot read."""

    def __call__(self) -> float:
        task = asyncio.current_task()
        if task is not None and task.get_name() == "confirm-timer":
            raise ZeroDivisionError("a fault of ours")
        return super().__call__()


def test_a_fault_of_what_works_beside_changes_is_heard_of_and_changes_go_on() -> None:
    async def test() -> None:
        with backends() as servers:
            async with desk(servers.settings(), time=TimeWithAFault()) as it:
                await it.commands.split("shop", {"new": 1}, by_ann(within_s=60))
                await it.commands.confirm("shop", by_ann())

    with capture_logs() as logged:
        asyncio.run(test())
    failed = [line for line in logged if line["log_level"] == "critical"]
    assert [(line["part"], line["task"]) for line in failed] == [("commands", "confirm-timer")]
