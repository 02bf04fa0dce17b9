"""Clients that leave while a connection to a server is being made: nothing of it stays behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from proxy.dataplane.worker import Worker
from tests.support.stage import Stage, a_request


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


def test_a_connect_given_up_at_any_moment_leaves_no_connection_behind(stage: Stage) -> None:
    async def give_up_after(turns: int, worker: Worker) -> None:
        pool = next(iter(worker.site.pools.values()))
        task = asyncio.get_running_loop().create_task(pool.connect(2.0))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            (await task).transport.abort()
        except asyncio.CancelledError:
            pass

    for turns in range(30):
        asyncio.run_coroutine_threadsafe(give_up_after(turns, stage.worker.worker), stage.worker._loop).result(15)
    stage.worker.wait_until(lambda worker: not any(pool.connections for pool in worker.site.pools.values()))
    stage.clean()


def test_a_storm_of_clients_that_reset_at_once_leaves_nothing_behind(stage: Stage) -> None:
    before = 0
    for number in range(400):
        if number == 100:
            stage.worker.wait_until(lambda worker: not worker.clients)
            before = len(os.listdir("/proc/self/fd"))
        with stage.connect() as wire:
            wire.send(a_request(b"/vanish", method=(b"GET", b"POST")[number % 2], body=b"x" * (number % 3)))
            wire.reset()
    stage.worker.wait_until(lambda worker: not worker.clients and not worker.uploads)
    lent = stage.worker.call(lambda worker: [c for pool in worker.site.pools.values() for c in pool.connections
                                             if c not in pool.idle])
    assert lent == []
    assert stage.ask(b"/after").body == b"GET /after 0"
    stage.origin.wait_ended(stage.origin.connections - 3)
    assert len(os.listdir("/proc/self/fd")) <= before + 4
