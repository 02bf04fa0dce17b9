"""The program as it is put together, without the processes that it would start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.cli.program import Program
from proxy.controlplane.errors import HandingOver, NotJournaled
from proxy.controlplane.journal.errors import JournalError
from proxy.controlplane.workers.process import WORKER_COMMAND
from tests.support.commanding import Backends, backends, by_ann, scenario


@asynccontextmanager
async def program(servers: Backends, state_dir: str) -> AsyncIterator[Program]:
    it = Program(servers.settings(f"state_dir: {state_dir}\n"), WORKER_COMMAND, None)
    try:
        it.open()
        async with it.commands:
            await it.begin()
            yield it
    finally:
        await it.close()


@pytest.fixture
def servers() -> Iterator[Backends]:
    with backends() as made:
        yield made


@scenario
async def test_changes_wait_while_a_successor_takes_over_and_go_on_when_there_is_none(
    servers: Backends, tmp_path: Path,
) -> None:
    async with program(servers, str(tmp_path / "state")) as it:
        luggage = await it.freeze()
        assert (luggage["revision"], luggage["state_dir"]) == (1, str(tmp_path / "state"))
        with pytest.raises(HandingOver):
            await it.commands.split("shop", {"new": 1}, by_ann())
        with pytest.raises(HandingOver):
            await it.freeze()
        await it.thaw()
        assert (await it.commands.split("shop", {"new": 1}, by_ann(dry_run=True))).revision == 2


@scenario
async def test_where_nothing_can_be_handed_over_changes_go_on(servers: Backends) -> None:
    async with program(servers, "memory") as it:
        it.control.journal.close()
        for _ in range(2):
            with pytest.raises(JournalError):
                await it.freeze()
        with pytest.raises(NotJournaled):      # it is the journal that refuses, nobody else
            await it.commands.split("shop", {"new": 1}, by_ann())
