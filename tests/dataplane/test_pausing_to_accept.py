"""No room for more: connections wait in the queue, those that are there go on, and the reason is told."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from proxy.core.overload.room import SMALL_CROWD
from proxy.core.snapshot import Snapshot
from proxy.dataplane.worker import Worker
from tests.support.faults import descriptors, memory, settled_memory
from tests.support.origins import ok
from tests.support.shadowing import shadow_snapshot, shadowed
from tests.support.shop import servers
from tests.support.story import Story, WatchedWorker, get
from tests.support.strict import Message
from tests.support.wire import Wire
from tests.support.worker import a_snapshot

ROOT = Path(__file__).parents[2]


def paused(worker: WatchedWorker) -> dict[str, float]:
    """The gauge, by reason."""
    gauges = worker.call(lambda w: w.counters.collect().gauges)
    return {labels[0]: value for name, labels, value in gauges if name == "turnout_accept_paused"}


def say(reason: str) -> dict[str, int]:
    return {each: int(each == reason) for each in ("connections", "descriptors", "memory")}


def apply_with_descriptors(worker: WatchedWorker, snapshot: Snapshot, most: int) -> None:
    """Apply this while the process may open so many files; none are opened meanwhile."""
    def apply(w: Worker) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        try:
            w.apply(snapshot)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    worker.call(apply)


def test_while_there_is_room_nothing_is_paused(story: Story) -> None:
    worker = story.worker(story.strict(), limits={"memory": 1 << 50})
    assert story.client(worker).ask(get()).status == 200
    worker.pass_time(1)
    assert paused(worker) == say("")


def test_as_many_as_may_be_is_told_as_the_reason_until_one_leaves(story: Story) -> None:
    worker = story.worker(story.strict(), limits={"connections": 2})
    here = [story.client(worker) for _ in range(2)]
    assert [client.ask(get()).status for client in here] == [200, 200]
    assert paused(worker) == say("connections")
    here[0].close()
    worker.wait_until(lambda w: len(w.clients) == 1)
    assert paused(worker) == say("")


def test_connections_leave_as_many_descriptors_for_those_to_servers(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin)
    apply_with_descriptors(worker, a_snapshot(origin, revision=2), 64 + 2 * 5 + 1)
    clients = [story.client(worker) for _ in range(8)]
    for client in clients[:5]:
        assert client.ask(get()).status == 200
    assert worker.call(lambda w: len(w.clients)) == 5
    assert paused(worker) == say("descriptors")
    for client in clients[:5]:
        client.close()
    assert clients[7].ask(get()).status == 200


def test_a_limit_of_descriptors_that_was_raised_holds_with_the_next_snapshot(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin)
    apply_with_descriptors(worker, a_snapshot(origin, revision=2), 10)
    first, second = story.client(worker), story.client(worker)
    assert first.ask(get()).status == 200
    assert worker.call(lambda w: len(w.clients)) == 1
    worker.apply(a_snapshot(origin, revision=3))
    assert second.ask(get()).status == 200


def test_idle_connections_to_servers_give_way_where_descriptors_are_few(story: Story) -> None:
    all_here = threading.Barrier(6)

    def answer(message: Message) -> bytes:
        if message.target == b"/together":
            all_here.wait(15)
        return ok(message.target)

    origin = story.strict(answer)
    worker = story.worker(origin)
    clients = [story.client(worker) for _ in range(6)]
    for client in clients:
        client.send(get("/together"))
    assert {client.response().status for client in clients} == {200}
    assert worker.call(lambda _: len(worker.pool(origin).idle)) == 6
    apply_with_descriptors(worker, a_snapshot(origin, limits={"connections": 1}, revision=2), 64 + 1 + 2)
    worker.wait_until(lambda _: len(worker.pool(origin).connections) == 2)
    assert {client.ask(get()).status for client in clients} == {200}


def swept(worker: WatchedWorker) -> float:
    """The open connections to servers, as they are counted in a sweep."""
    worker.leap(0.1)
    return worker.call(lambda w: w.counters.upstream_connections)


def test_idle_connections_to_shadows_count_and_give_way_first(story: Story) -> None:
    all_here = {name: threading.Barrier(6) for name in ("old", "new")}

    def answer_of(name: str) -> Callable[[Message], bytes]:
        def answer(message: Message) -> bytes:
            all_here[name].wait(15)
            return ok(message.target)
        return answer

    old, new = story.strict(answer_of("old")), story.strict(answer_of("new"))
    worker = shadowed(story, old, new)
    clients = [story.client(worker) for _ in range(6)]
    for client in clients:
        client.send(get("/together"))
    assert {client.response().status for client in clients} == {200}
    worker.wait_until(lambda w: w.shadows.is_quiet)
    assert swept(worker) == 12
    few = shadow_snapshot(old, new, revision=2)
    few = replace(few, policy=replace(few.policy, limits=replace(few.policy.limits, connections=1)))
    apply_with_descriptors(worker, few, 64 + 1 + 8)
    worker.wait_until(lambda w: sum(len(pool.connections) for pool in w.shadows.pools) == 2)
    assert swept(worker) == 8
    assert worker.call(lambda _: len(worker.pool(old).idle)) == 6


def test_connections_to_servers_that_are_no_more_count_until_they_end(story: Story) -> None:
    (old,), (new,) = servers(story, "hold"), servers(story, "well", name=b"new")
    worker = story.worker(old, timeouts={"connect": 1.0})
    client = story.client(worker)
    client.send(get())
    old.wait_heads(1)
    worker.apply(a_snapshot(new, revision=2))
    assert swept(worker) == 1
    worker.leap(3)      # no connection can still be under way to it
    assert swept(worker) == 1
    old.go_on()
    assert client.response().status == 200
    worker.wait_until(lambda w: w.counters.upstream_connections == 0)


def test_a_worker_that_leaves_accepts_no_more_of_the_queue_than_descriptors_allow(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin)
    apply_with_descriptors(worker, a_snapshot(origin, limits={"connections": 1}, revision=2), 64 + 2 * 3 + 1)
    assert story.client(worker).ask(get()).status == 200
    queued = [story.client(worker) for _ in range(4)]
    draining: list[asyncio.Task[int]] = []
    worker.call(lambda w: draining.append(w.loop.create_task(w.drain(10.0))))
    worker.wait_until(lambda w: all(client.last_one for client in w.clients))
    assert worker.call(lambda w: w.counters.accepted) == 3
    for client in queued:
        client.close()
    worker.wait_until(lambda _: draining[0].done())


def is_large(worker: Worker) -> bool:
    return worker.admission.most == SMALL_CROWD


def test_a_worker_above_its_memory_lets_no_crowd_in_and_serves_those_who_are_there(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin)
    here = [story.client(worker) for _ in range(SMALL_CROWD + 4)]
    assert {client.ask(get()).status for client in here} == {200}
    worker.apply(a_snapshot(origin, limits={"memory": 1 << 20}, revision=2))
    worker.wait_until(is_large)
    late = story.client(worker)
    late.send(get("/late"))
    assert {client.ask(get()).status for client in here} == {200}
    assert worker.call(lambda w: len(w.clients)) == len(here)
    worker.wait_until(lambda w: w.counters.accept_paused == "memory")
    assert paused(worker) == say("memory")
    for client in here[:5]:
        client.close()
    assert late.response().body == b"GET /late 0"


def test_who_waits_for_memory_is_let_in_when_there_is_enough(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin, limits={"memory": 1 << 20})
    worker.wait_until(is_large)
    clients = [story.client(worker) for _ in range(SMALL_CROWD + 3)]
    for client in clients:
        client.send(get())
    worker.wait_until(lambda w: len(w.clients) == SMALL_CROWD)
    assert {client.response().status for client in clients[:SMALL_CROWD]} == {200}
    worker.apply(a_snapshot(origin, limits={"memory": 1 << 50}, revision=2))
    assert {client.response().status for client in clients[SMALL_CROWD:]} == {200}
    assert paused(worker) == say("")


def test_without_a_limit_of_memory_a_worker_that_was_too_large_is_so_no_more(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin, limits={"memory": 1 << 20})
    worker.wait_until(is_large)
    worker.apply(a_snapshot(origin, revision=2))
    worker.wait_until(lambda w: not is_large(w))


PROGRAM = """
    import asyncio, socket, sys, uvloop
    from proxy.dataplane.footprint import resident_memory
    from proxy.dataplane.worker import Worker
    from tests.support.worker import a_snapshot
    async def main():
        limits = {"memory": resident_memory() + int(sys.argv[2])}
        worker = Worker(a_snapshot(("127.0.0.1", int(sys.argv[1])), limits=limits))
        listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
        worker.listen(listening)
        print(listening.getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        worker.close()
    uvloop.run(main())
"""


def test_a_crowd_that_takes_memory_is_let_in_as_far_as_there_is_some_and_the_next_when_it_has_left(
    story: Story,
) -> None:
    origin = story.strict()
    assert not isinstance(origin.address, str)
    may_grow = 32 << 20
    program = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PROGRAM), str(origin.address[1]), str(may_grow)],
                               cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    large_head = get("/", *(f"X-{number}: {'x' * 1000}" for number in range(28)))[:-2]
    try:
        address = ("127.0.0.1", int(program.stdout.readline()))
        with Wire(address) as early, ExitStack() as ends:
            assert early.ask(get()).status == 200
            before = memory(program.pid)
            crowd = []
            for _ in range(3000):
                crowd.append(ends.enter_context(Wire(address)))
                crowd[-1].send(large_head)
            last = settled_memory(program.pid)
            assert early.ask(get()).status == 200
            assert may_grow / 2 < last - before < 2 * may_grow
            assert descriptors(program.pid) < 2500
            for wire in crowd[:-1]:
                wire.close()
            crowd[-1].send(b"\r\n")
            assert crowd[-1].response().status == 200
    finally:
        program.communicate("", timeout=15)
    assert program.returncode == 0


def test_workers_share_the_memory(story: Story) -> None:
    own = story.serving(a_snapshot(story.strict(), limits={"memory": 1 << 30}), workers=1024)
    own.wait_until(is_large)
