from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.controlplane.errors import StartError
from proxy.controlplane.supervisor import Patience, Supervisor
from proxy.controlplane.workers.lifecycle import State
from proxy.controlplane.workers.listeners import open_listeners
from proxy.core.listen import Listen
from tests.support.deadline import until
from tests.support.processes import stand_still
from tests.support.scripted_worker import command
from tests.support.snapshots import small_snapshot

QUICK = Patience(start_s=10.0, ack_s=0.5, silence_s=600.0, grace_s=0.3)


@asynccontextmanager
async def supervising(script: str, workers: int = 2, patience: Patience = QUICK) -> AsyncIterator[Supervisor]:
    listeners = open_listeners([Listen("127.0.0.1", 0)], workers)
    supervisor = Supervisor(small_snapshot(), listeners, workers, worker_command=command(script), patience=patience)
    try:
        yield supervisor
    finally:
        await supervisor.stop(1.0)


def scenario(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an async test to its end; whatever goes wrong unseen in the loop fails it."""

    def run() -> None:
        unseen: list[dict[str, Any]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
            await test()

        asyncio.run(main())
        assert unseen == []

    run.__name__ = test.__name__
    return run


def pids(supervisor: Supervisor) -> list[int]:
    return [slot.process.pid for slot in supervisor.slots if slot.process is not None]


@scenario
async def test_it_is_ready_when_every_worker_has_applied_the_snapshot() -> None:
    async with supervising("obeys", workers=3) as supervisor:
        before = supervisor.ready
        await supervisor.start()
        assert (before, supervisor.ready) == (False, True)
        assert supervisor.shortcomings() == []
        assert len(set(pids(supervisor))) == 3
        assert [slot.state for slot in supervisor.slots] == [State.SERVING] * 3


@scenario
async def test_a_change_is_reported_when_every_worker_has_acknowledged_it() -> None:
    async with supervising("obeys") as supervisor:
        await supervisor.start()
        change = await supervisor.apply(small_snapshot(revision=2))
        assert (change.revision, change.workers, change.of, change.replaced) == (2, 2, 2, ())
        assert 0 < change.took_s < QUICK.ack_s
        assert [slot.process.revision for slot in supervisor.slots if slot.process] == [2, 2]


@scenario
async def test_what_a_change_cuts_is_told_to_every_worker() -> None:
    async with supervising("obeys") as supervisor:
        await supervisor.start()
        await supervisor.apply(small_snapshot(revision=2), cut=[("shop", "new")])
        await until(lambda: supervisor.fold.counters("cut") == {("shop", "new"): 2}, "both have heard of it")


@scenario
async def test_a_replaced_worker_is_an_event_that_says_why() -> None:
    async with supervising("obeys") as supervisor:
        heard: list[tuple[str, dict[str, Any]]] = []
        supervisor.on_event = lambda verb, facts: heard.append((verb, facts))
        await supervisor.start()
        os.kill(supervisor.pids[1], signal.SIGKILL)
        await until(lambda: heard, "it is told")
        assert heard == [("worker-replaced", {"worker": 1, "because": "it was ended by signal 9", "restarts": 1,
                                              "in_s": 0.0})]


@scenario
async def test_an_older_snapshot_is_never_applied() -> None:
    async with supervising("obeys", workers=1) as supervisor:
        await supervisor.start()
        with pytest.raises(ValueError, match="does not follow"):
            await supervisor.apply(small_snapshot(revision=1))


@scenario
async def test_a_worker_that_does_not_acknowledge_is_replaced_and_the_answer_says_so() -> None:
    async with supervising("deaf-after-first") as supervisor:
        await supervisor.start()
        before = pids(supervisor)
        change = await supervisor.apply(small_snapshot(revision=2))
        assert (change.workers, change.of, change.replaced) == (0, 2, (0, 1))
        for pid in before:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        await until(lambda: supervisor.shortcomings() == [], "the successors serve by the new snapshot")
        assert [slot.process.revision for slot in supervisor.slots if slot.process] == [2, 2]


@scenario
async def test_a_worker_that_was_killed_is_replaced_and_the_others_are_not() -> None:
    async with supervising("obeys") as supervisor:
        await supervisor.start()
        victim, survivor = pids(supervisor)
        os.kill(victim, signal.SIGKILL)
        await until(lambda: supervisor.slots[0].restarts == 1 and not supervisor.shortcomings(), "it is replaced")
        assert supervisor.ready
        assert pids(supervisor)[1] == survivor
        assert victim not in pids(supervisor)
        assert supervisor.slots[0].last_end == "it was ended by signal 9"


@scenario
async def test_a_stopped_worker_is_found_by_its_silence_and_replaced() -> None:
    async with supervising("obeys", 1, replace(QUICK, silence_s=0.2)) as supervisor:
        await supervisor.start()
        stand_still(pids(supervisor)[0])
        await until(lambda: supervisor.restarts, "it is replaced")
        assert supervisor.slots[0].last_end == "it said nothing for 0.2 s"


def environment(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if entry)


def test_a_worker_keeps_freed_memory_unless_the_operator_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "0")

    async def test() -> None:
        async with supervising("obeys", 1) as supervisor:
            await supervisor.start()
            found = environment(pids(supervisor)[0])
            assert int(found["MALLOC_MMAP_THRESHOLD_"]) > 256_000
            assert found["MALLOC_TRIM_THRESHOLD_"] == "0"

    asyncio.run(test())


@pytest.mark.parametrize(
    ("script", "because"),
    [("babbles", "a message cannot be read"), ("commands", "it sent Drain, which is not a worker's to send")],
)
def test_a_worker_that_says_what_it_must_not_is_replaced(script: str, because: str) -> None:
    async def test() -> None:
        async with supervising(script, workers=1) as supervisor:
            await supervisor.start()
            await until(lambda: supervisor.restarts, "it is replaced")
            assert because in str(supervisor.slots[0].last_end)

    asyncio.run(test())


@scenario
async def test_workers_that_die_before_they_serve_end_the_start_with_a_reason() -> None:
    async with supervising("dies") as supervisor:
        with pytest.raises(StartError, match=r"worker [01] does not start: it ended with exit code 7"):
            await supervisor.start()


@scenario
async def test_a_command_that_does_not_exist_ends_the_start_with_a_reason() -> None:
    listeners = open_listeners([Listen("127.0.0.1", 0)], 1)
    supervisor = Supervisor(small_snapshot(), listeners, 1, worker_command=("/nonexistent/worker",), patience=QUICK)
    with pytest.raises(StartError, match="could not be started: No such file"):
        await supervisor.start()
    await supervisor.stop(1.0)


def test_one_early_death_is_forgiven(tmp_path: Path) -> None:
    async def test() -> None:
        async with supervising(f"dies-once:{tmp_path / 'died'}", workers=1) as supervisor:
            await supervisor.start()
            assert supervisor.restarts == 1

    asyncio.run(test())


@scenario
async def test_leaving_waits_for_the_last_words_of_every_worker() -> None:
    async with supervising("obeys") as supervisor:
        await supervisor.start()
        stopped = await supervisor.stop(5.0)
        assert (stopped.cut, stopped.killed) == (4, 0)
        # One request each when the snapshot was applied and ten while draining: the dead are remembered.
        assert supervisor.fold.counters("turnout_requests_total") == {("shop", "old", "200"): 22}
        assert supervisor.fold.gauges("turnout_connections") == {}
        assert not supervisor.ready
        assert supervisor.restarts == 0


@scenario
async def test_a_worker_that_does_not_leave_is_ended_after_the_deadline() -> None:
    async with supervising("silent") as supervisor:
        await supervisor.start()
        stopped = await supervisor.stop(0.1)
        assert (stopped.cut, stopped.killed) == (0, 2)
        assert pids(supervisor) == []


@scenario
async def test_cutting_ends_a_drain_at_once() -> None:
    async with supervising("silent") as supervisor:
        await supervisor.start()
        leaving = asyncio.create_task(supervisor.stop(600.0))
        await until(lambda: all(slot.state is State.DRAINING for slot in supervisor.slots), "they were told")
        assert supervisor.cut("told twice") == 2
        await leaving
        assert pids(supervisor) == []


@scenario
async def test_new_connections_are_refused_when_it_has_left() -> None:
    async with supervising("silent", workers=1) as supervisor:
        await supervisor.start()
        address, _, port = supervisor.listeners.addresses[0].rpartition(":")
        await supervisor.stop(0.0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(address, int(port))


@scenario
async def test_a_start_that_is_given_up_leaves_nothing_behind() -> None:
    async with supervising("mute") as supervisor:
        starting = asyncio.create_task(supervisor.start())
        await until(lambda: len(pids(supervisor)) == 2, "the workers were started")
        starting.cancel()
        assert not supervisor.ready
        stopped = await supervisor.stop(5.0)
        assert stopped.killed == 0
        assert pids(supervisor) == []


@scenario
async def test_a_worker_that_never_acknowledges_its_first_snapshot_is_replaced() -> None:
    async with supervising("mute", 1, replace(QUICK, start_s=0.2, early_deaths=2)) as supervisor:
        with pytest.raises(StartError, match=r"it said nothing for 0\.2 s"):
            await supervisor.start()
