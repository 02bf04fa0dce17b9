"""One life of a comparer, as its owner sees it: what it says last, and when it is taken for stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from proxy.controlplane.child import LOOK_EVERY_S
from proxy.controlplane.comparer import comparer
from proxy.controlplane.comparer.door import open_door
from proxy.controlplane.comparer.process import ComparerProcess
from proxy.ipc.comparing import Configure, FromComparer
from tests.support.comparing import Bench, shadowed
from tests.support.deadline import until
from tests.support.scripted_comparer import LAST, command

ALLOWED_S = 30.0


class Life:
    """A scripted comparer at a time that stands still unless it is moved, and all that it said."""

    def __init__(self) -> None:
        self.now = 100.0
        self.said: list[FromComparer] = []
        self.process = ComparerProcess(1, lambda: self.now, self.said.append)

    def look(self, after_s: float = LOOK_EVERY_S) -> None:
        self.now += after_s
        self.process.end_if_silent(ALLOWED_S)


def run(script: str, test: Callable[[Life], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        it = Life()
        door, _ = open_door()
        with door:
            await it.process.start(command(script), door)
            try:
                await test(it)
            finally:
                it.process.kill("the test is over")

    asyncio.run(main())


def test_what_it_says_last_is_heard_though_it_has_ended_by_then() -> None:
    async def test(it: Life) -> None:
        assert await it.process.exited() == "it ended with exit code 7"
        assert it.said[-1] == LAST

    run("ends", test)


def test_one_that_says_nothing_is_ended() -> None:
    async def test(it: Life) -> None:
        while it.now <= 100.0 + ALLOWED_S:
            it.look()
        assert await it.process.exited() == "it said nothing for 30 s"

    run("silent", test)


def test_after_a_pause_of_ours_what_it_said_meanwhile_is_read_before_it_is_judged() -> None:
    async def test(it: Life) -> None:
        it.look(after_s=3_600.0)
        it.process.send(Configure(()))
        await until(lambda: it.said, "it is heard")
        it.look()
        it.process.leave()
        assert await it.process.exited() == "it ended with exit code 0"

    run("answers", test)


def test_its_owner_looks_whether_it_says_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparer, "_SILENT_S", 0.1)

    async def main() -> None:
        it = Bench(command("silent"))
        it.configure(shadowed())
        try:
            await until(lambda: it.comparer.restarts, "it is replaced")
            assert it.comparer.last_end == "it said nothing for 0.1 s"
        finally:
            await it.stop()

    asyncio.run(main())
