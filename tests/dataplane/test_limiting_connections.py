"""More connections than may be, and more than the process has descriptors for."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.support.story import Story, get
from tests.support.wire import Wire

ROOT = Path(__file__).parents[2]


def test_connections_beyond_the_limit_wait_and_are_served_when_one_leaves(story: Story) -> None:
    worker = story.worker(story.strict(), limits={"connections": 2})
    clients = [story.client(worker) for _ in range(5)]
    for client in clients:
        client.send(get("/mine"))
    for place, client in enumerate(clients):
        if place >= 2:
            assert worker.call(lambda w: len(w.clients)) == 2
            clients[place - 2].close()
        assert client.response().body == b"GET /mine 0"


def test_the_limit_is_exact_even_when_all_come_at_once(story: Story) -> None:
    worker = story.worker(story.strict(), limits={"connections": 10})

    def crowd(_: object) -> list[socket.socket]:
        """While the worker's loop stands still, forty queue up."""
        return [socket.create_connection(worker.address) for _ in range(40)]  # type: ignore[arg-type]

    crowded = worker.call(crowd)
    worker.wait_until(lambda w: len(w.clients) == 10)
    most = worker.call(lambda w: len(w.clients))
    for sock in crowded:
        sock.close()
    assert most == 10
    worker.wait_until(lambda w: not w.clients)
    assert worker.ask(get("/after")).status == 200


def test_a_place_that_becomes_free_is_taken_at_once(story: Story) -> None:
    import time

    worker = story.worker(story.strict(), limits={"connections": 1})
    first = story.client(worker)
    assert first.ask(get()).status == 200
    begun = time.monotonic()
    for _ in range(20):
        waiting = story.client(worker)
        waiting.send(get())
        first.close()
        assert waiting.response().status == 200
        first = waiting
    assert time.monotonic() - begun < 2.0


def test_raising_the_limit_lets_the_waiting_in(story: Story) -> None:
    from tests.support.worker import a_snapshot

    origin = story.strict()
    worker = story.worker(origin, limits={"connections": 1})
    first, second = story.client(worker), story.client(worker)
    assert first.ask(get()).status == 200
    second.send(get())
    worker.apply(a_snapshot(origin, limits={"connections": 2}, revision=2))
    assert second.response().status == 200


PROGRAM = """
    import asyncio, socket, sys, uvloop
    from proxy.dataplane.worker import Worker
    from tests.support.worker import a_snapshot
    async def main():
        worker = Worker(a_snapshot(("127.0.0.1", int(sys.argv[1]))))
        listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        worker.listen(listening)
        print(listening.getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        worker.close()
    uvloop.run(main())
"""


def test_running_out_of_descriptors_is_survived(story: Story) -> None:
    origin = story.strict()
    assert not isinstance(origin.address, str)
    program = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PROGRAM), str(origin.address[1])], cwd=ROOT,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert program.stdout is not None
    try:
        address = ("127.0.0.1", int(program.stdout.readline()))
        with Wire(address) as early:
            assert early.ask(get()).status == 200
            resource.prlimit(program.pid, resource.RLIMIT_NOFILE, (64, 64))
            crowd = [Wire(address) for _ in range(120)]
            spent = processor_time(program.pid)
            assert early.ask(get()).status == 200  # whoever is there is served on the warm connection
            crowd[-1].send(get())
            crowd[-1].sock.settimeout(0.7)
            assert not has_answer_within(crowd[-1])
            assert processor_time(program.pid) - spent < 0.35, "it spins while it waits for descriptors"
            for wire in crowd[:-1]:
                wire.close()
            crowd[-1].sock.settimeout(2.0)
            assert crowd[-1].response().status == 200
            crowd[-1].close()
    finally:
        _, complaints = program.communicate("", timeout=10)
    assert program.returncode == 0
    assert complaints == ""


def has_answer_within(client: Wire) -> bool:
    try:
        return bool(client.sock.recv(1))
    except TimeoutError:
        return False


def processor_time(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_lack_of_descriptors_for_servers_is_not_called_their_fault(story: Story) -> None:
    import json
    import os

    origin = story.strict()
    worker = story.worker(origin)
    client = story.client(worker)
    worker.wait_until(lambda w: len(w.clients) == 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = os.dup(0)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken, hard))
        refused = client.ask(get())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(taken)
    assert refused.status == 503
    assert json.loads(refused.body)["culprit"] == "proxy"
    assert client.ask(get()).status == 200
