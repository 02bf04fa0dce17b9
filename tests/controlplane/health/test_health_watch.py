"""What probes and workers show, with everything in place: a supervisor, worker processes, servers on real sockets."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

from proxy.controlplane.health.watch import HealthWatch
from proxy.controlplane.supervisor import Supervisor
from proxy.controlplane.workers.listeners import open_listeners
from proxy.core.health.values import Health, Probe
from proxy.core.listen import Listen
from proxy.core.route import Match, Route, Server, Version
from proxy.core.snapshot import Snapshot
from tests.support.deadline import until
from tests.support.noticing_worker import command, heard

OFTEN = Probe(path="/healthz", interval_s=0.02, timeout_s=10.0, rise=2, fall=2)
OLD = Version("old", (Server("127.0.0.1", 9),))
NEW = Version("new", (Server("127.0.0.1", 9), Server("127.0.0.1", 10)))
UNPROBED = OLD, NEW
NOBODY = Server("", 0)
SPLIT = Route("shop", Match(), (("old", 75.0), ("new", 25.0)), "old")


@dataclass
class Backend:
    """A server whose probes are answered with `status`; `answered` counts them."""

    status: int = 200
    answered: int = 0
    server: Server = NOBODY

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % self.status)
            self.answered += 1
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # a probe that was given up
        finally:
            writer.close()


@asynccontextmanager
async def backend() -> AsyncIterator[Backend]:
    it = Backend()
    listener = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    it.server = Server("127.0.0.1", listener.sockets[0].getsockname()[1])
    try:
        yield it
    finally:
        listener.close()
        await listener.wait_closed()


def of(*versions: Version, revision: int = 1) -> Snapshot:
    return Snapshot(revision, versions, (SPLIT,), secret=b"s" * 32)


def version(*servers: Server, probe: Probe | None = OFTEN, name: str = "new") -> Version:
    return Version(name, servers, Health(probe=probe))


@dataclass
class Watched:
    """A supervisor whose servers are watched, and what there was to say."""

    supervisor: Supervisor
    health: HealthWatch
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def state(self, server: Server, name: str = "new") -> str:
        return next(it.state for it in self.health.book.servers(name) if it.address == server.address)

    def heard(self, index: int) -> list[tuple[str, ...]]:
        pid = self.supervisor.pids.get(index)
        return [] if pid is None else heard(self.supervisor.fold, pid)


@asynccontextmanager
async def watched(snapshot: Snapshot, script: str = "nothing") -> AsyncIterator[Watched]:
    listeners = open_listeners([Listen("127.0.0.1", 0)], 2)
    supervisor = Supervisor(snapshot, listeners, 2, worker_command=command(script))
    it = Watched(supervisor, HealthWatch(supervisor))
    supervisor.on_snapshot = it.health.configure
    supervisor.on_event = lambda verb, facts: it.events.append((verb, facts))
    try:
        await supervisor.start()
        yield it
    finally:
        await supervisor.stop(1.0)
        await it.health.stop()


def scenario(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an async test to its end; whatever goes wrong unseen in the loop fails it."""

    @wraps(test)
    def run() -> None:
        unseen: list[dict[str, Any]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
            await test()

        asyncio.run(main())
        assert unseen == []

    return run


@scenario
async def test_servers_that_fail_their_probes_are_out_for_all_workers_and_come_back() -> None:
    async with backend() as good, backend() as bad, watched(of(version(good.server, bad.server))) as it:
        address = bad.server.address
        bad.status = 503
        await until(lambda: ("probed", address) in it.heard(0) and ("probed", address) in it.heard(1), "both know it")
        assert (it.state(good.server), it.state(bad.server)) == ("up", "out")
        bad.status = 200
        await until(lambda: it.heard(0)[-1] == it.heard(1)[-1] == ("probed",), "both know that it is back")
        assert it.state(bad.server) == "up"


@scenario
async def test_a_worker_that_starts_later_is_told_what_is_out_right_after_its_first_snapshot() -> None:
    async with backend() as bad, watched(of(version(bad.server))) as it:
        bad.status = 503
        await until(lambda: it.heard(1)[1:], "it is out")
        first = it.supervisor.pids[1]
        os.kill(first, signal.SIGKILL)
        await until(lambda: it.supervisor.pids.get(1, first) != first and it.heard(1)[1:], "another one knows it")
        assert it.heard(1)[:2] == [("apply", "1"), ("probed", bad.server.address)]


@scenario
async def test_a_reload_probes_what_is_new_and_nothing_that_has_left() -> None:
    async with backend() as one, backend() as other, watched(of(version(one.server))) as it:
        await until(lambda: one.answered >= 2, "the first is probed")
        await it.supervisor.apply(of(version(other.server), revision=2))
        await until(lambda: other.answered >= 2, "the second is probed")
        so_far = one.answered
        await until(lambda: other.answered >= 12, "it is probed for a while")
        assert one.answered - so_far <= 1  # one may have been under way
        assert [it.address for it in it.health.book.servers("new")] == [other.server.address]


@scenario
async def test_a_reload_that_changes_nothing_for_a_server_keeps_it_out() -> None:
    async with backend() as bad, backend() as good, watched(of(version(bad.server))) as it:
        bad.status = 503
        await until(lambda: it.state(bad.server) == "out", "it is out")
        await it.supervisor.apply(of(version(bad.server, good.server), revision=2))
        assert it.state(bad.server) == "out"


@scenario
async def test_probes_that_are_switched_off_let_a_server_in_after_the_snapshot_that_says_so() -> None:
    async with backend() as bad, watched(of(version(bad.server))) as it:
        bad.status = 503
        await until(lambda: it.heard(0)[1:], "it is out")
        await it.supervisor.apply(of(version(bad.server, probe=None), revision=2))
        await until(lambda: it.heard(0)[-1] == ("probed",), "it is in")
        assert it.heard(0)[-2:] == [("apply", "2"), ("probed",)]


@scenario
async def test_a_version_that_is_down_is_an_event_after_those_of_its_servers() -> None:
    async with backend() as bad, watched(of(version(bad.server))) as it:
        bad.status = 503
        await until(lambda: len(it.events) > 1, "it is said")
        why = "answered with 503; 2 bad answers in a row"
        assert it.events == [
            ("server-out", {"version": "new", "server": bad.server.address, "by": "probe", "why": why}),
            ("version-down", {"version": "new", "why": "no server is in"})]


@scenario
async def test_what_one_worker_notices_the_others_are_told_and_it_is_not() -> None:
    async with watched(of(*UNPROBED), "all:0") as it:
        await it.supervisor.apply(of(*UNPROBED, revision=2))
        news = [("noticed", version.name, address, "out") for version in UNPROBED
                for address in (*(server.address for server in version.servers), "")]
        await until(lambda: len(it.heard(1)) == 2 + len(news), "the other knows it")
        assert it.heard(1) == [("apply", "1"), ("apply", "2"), *news]
        assert it.heard(0) == [("apply", "1"), ("apply", "2")]


@scenario
async def test_what_traffic_put_out_is_an_event_and_in_the_book() -> None:
    async with watched(of(*UNPROBED), "all:0") as it:
        await it.supervisor.apply(of(*UNPROBED, revision=2))
        await until(lambda: len(it.events) == 5, "all is said")
        verb, facts = it.events[0]
        assert (verb, facts.pop("until")[:2]) == ("server-out", "20")
        assert facts == {"version": "old", "server": "http://127.0.0.1:9", "by": "traffic", "why": "it said so"}
        assert [verb for verb, _ in it.events].count("version-down") == 2
        assert it.health.book.effective(SPLIT) == {"old": 0.75, "new": 0.25}


@scenario
async def test_a_worker_that_starts_later_is_told_what_the_others_noticed() -> None:
    async with watched(of(*UNPROBED), "all:0") as it:
        await it.supervisor.apply(of(*UNPROBED, revision=2))
        await until(lambda: len(it.heard(1)) == 7, "the other knows it")
        told, first = it.heard(1)[2:], it.supervisor.pids[1]
        os.kill(first, signal.SIGKILL)
        await until(lambda: it.supervisor.pids.get(1, first) != first and len(it.heard(1)) == 6, "its successor, too")
        assert it.heard(1) == [("apply", "2"), *told]


@scenario
async def test_news_of_what_the_snapshot_does_not_name_reach_nobody() -> None:
    async with watched(of(NEW, OLD), "all:0") as it:
        it.supervisor.on_snapshot = lambda snapshot: it.health.configure(replace(snapshot, versions=(OLD,)))
        await it.supervisor.apply(of(NEW, OLD, revision=2))
        await until(lambda: ("noticed", "old", "", "out") in it.heard(1), "what was noticed last is told")
        assert [words[1] for words in it.heard(1) if words[0] == "noticed"] == ["old", "old"]
