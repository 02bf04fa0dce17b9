"""The rhythm of probes: who is asked when, how many at once, and what does not count."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from typing import Any, cast

import pytest
import structlog

from proxy.clock import monotonic
from proxy.controlplane.health.book import HealthBook
from proxy.controlplane.health.prober import Prober
from proxy.core.health.values import Health, Probe
from proxy.core.route import Server, Version
from proxy.core.snapshot import Snapshot
from tests.support.deadline import until

OFTEN = Probe(interval_s=0.02, timeout_s=10.0, rise=1, fall=1)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def snapshot(probe: Probe, *servers: Server) -> Snapshot:
    return Snapshot(1, (Version("new", servers, Health(probe=probe)),), ())


def scenario(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test to its end; whatever goes wrong unseen in the loop fails it."""

    @wraps(test)
    def run(**given: Any) -> None:
        unseen: list[dict[str, Any]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
            await test(**given)

        asyncio.run(main())
        assert unseen == []

    return run


class Silent:
    """A server at every address of this host that answers nobody before `speak` is called. `asked`: how often it was.
    """

    def __init__(self) -> None:
        self.port = self.asked = self.most = 0
        self.waiting: set[asyncio.Transport] = set()
        self.speaks = False

    def speak(self) -> None:
        """Answer those who wait, and everybody from now on."""
        self.speaks = True
        for transport in self.waiting:
            transport.write(OK)

    def servers(self, count: int) -> list[Server]:
        return [Server(f"127.1.{index // 250}.{index % 250 + 1}", self.port) for index in range(count)]


class Connection(asyncio.Protocol):
    """One probe at it."""

    def __init__(self, site: Silent) -> None:
        self.site = site

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.site.waiting.add(self.transport)
        self.site.asked += 1
        self.site.most = max(self.site.most, len(self.site.waiting))

    def data_received(self, data: bytes) -> None:
        if self.site.speaks:
            self.transport.write(OK)

    def connection_lost(self, exc: Exception | None) -> None:
        self.site.waiting.discard(self.transport)


@asynccontextmanager
async def silent() -> AsyncIterator[Silent]:
    it = Silent()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Connection(it), "0.0.0.0", 0, backlog=1024)
    it.port = listener.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        listener.close()
        await until(lambda: not it.waiting, "every probe is over")


@asynccontextmanager
async def probing(of: Snapshot, clock: Callable[[], float] | None = None,
                  **options: Any) -> AsyncIterator[tuple[HealthBook, Prober]]:
    book = HealthBook(clock or monotonic)
    prober = Prober(book, lambda: None, clock=clock or monotonic, **options)
    book.configure(of)
    prober.follow(of)
    try:
        yield book, prober
    finally:
        await prober.stop()


@scenario
async def test_only_so_many_probes_are_under_way_and_the_others_follow() -> None:
    async with silent() as site, probing(snapshot(OFTEN, *site.servers(10)), at_once=3) as (book, _):
        await until(lambda: len(site.waiting) == 3, "as many are asked as may be")
        site.speak()
        await until(lambda: len(book.probes) == 10, "all are asked")
        assert site.most == 3


@scenario
async def test_a_thousand_servers_are_probed() -> None:
    async with silent() as site:
        site.speak()
        async with probing(snapshot(Probe(timeout_s=10.0), *site.servers(1000))) as (book, _):
            await until(lambda: len(book.probes) == 1000, "all are asked")
            assert {outcome for _, _, outcome in book.probes} == {"ok"}


@scenario
async def test_a_server_is_never_asked_again_before_it_answered() -> None:
    async with silent() as site, silent() as other:  # the other one shows that time goes by
        other.speak()
        async with probing(snapshot(OFTEN, *site.servers(1), *other.servers(1))):
            await until(lambda: other.asked > 10, "the other one is asked again and again")
            assert site.asked == 1


@pytest.mark.parametrize(("paused_s", "state"), [(0.0, "out"), (5.0, "unknown")])
@scenario
async def test_a_time_out_during_a_pause_of_ours_does_not_count(paused_s: float, state: str) -> None:
    now = 100.0
    probe = Probe(interval_s=600.0, timeout_s=0.05, fall=1)
    async with silent() as site, probing(snapshot(probe, *site.servers(1)), lambda: now, draw=lambda: 0.0) as (book, _):
        await until(lambda: site.waiting, "it is asked")
        now += paused_s
        await until(lambda: book.probes, "the probe is over")
        assert book.probes == {("new", site.servers(1)[0].address, "timeout"): 1}
        assert [judge.state for _, judge in book.judges()] == [state]


@scenario
async def test_a_late_tick_moves_the_silence_of_everybody_on() -> None:
    now = 100.0
    async with silent() as site:
        site.speak()
        probe = Probe(interval_s=1.0, timeout_s=0.5, phi_out=8.0)
        given = snapshot(probe, *site.servers(1))
        async with probing(given, lambda: now, draw=lambda: 0.0) as (book, prober):
            await until(lambda: book.probes, "it has answered")
            now += 60.0
            prober.tick()
            assert book.out_by_probes() == ()


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as free:
        lowest = free.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@scenario
async def test_probes_that_cannot_be_made_put_nobody_out_and_are_complained_of_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        server = Server("127.0.0.1", taken.getsockname()[1])
        with structlog.testing.capture_logs() as logs, no_descriptors():
            async with probing(snapshot(OFTEN, server)) as (book, _):
                await until(lambda: logs, "it is complained of")
                still = book.servers("new")[0]
    assert (still.state, still.probe, book.probes) == ("up", None, {})
    assert [line["because"] for line in logs] == ["Too many open files"]


@scenario
async def test_who_is_configured_no_more_is_asked_no_more_even_while_it_waits() -> None:
    async with silent() as site, probing(snapshot(OFTEN, *site.servers(2))) as (book, prober):
        await until(lambda: len(site.waiting) == 2, "both are asked")
        after = snapshot(OFTEN, *site.servers(1))
        book.configure(after)
        prober.follow(after)
        await until(lambda: len(site.waiting) == 1, "one is given up")
        assert book.probes == {}
