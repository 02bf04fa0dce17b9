"""What one real worker finds out by its traffic, the other one goes by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.controlplane.health.watch import HealthWatch
from proxy.controlplane.supervisor import Supervisor
from proxy.controlplane.workers.listeners import open_listeners
from proxy.core.health.values import Ejection, Health
from proxy.core.listen import Listen
from proxy.core.route import Match, Route, Server, Version
from proxy.core.snapshot import Snapshot

RULE = Ejection(failures=3, first_s=600.0, most_s=600.0)
REQUEST = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Site(asyncio.Protocol):
    """One connection to a server that answers well, or that closes it unanswered; `asked` keeps all requests."""

    def __init__(self, asked: list[bytes], *, well: bool) -> None:
        self.asked, self.well = asked, well

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.asked.append(data)
        assert isinstance(self.transport, asyncio.Transport)
        if self.well:
            self.transport.write(OK)
        else:
            self.transport.close()


@asynccontextmanager
async def site(asked: list[bytes], *, well: bool) -> AsyncIterator[Server]:
    listener = await asyncio.get_running_loop().create_server(lambda: Site(asked, well=well), "127.0.0.1", 0)
    try:
        yield Server("127.0.0.1", listener.sockets[0].getsockname()[1])
    finally:
        listener.close()


@asynccontextmanager
async def client(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def ask(to: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bytes:
    """Send a request and read its answer; the status line."""
    reader, writer = to
    writer.write(REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(2) == b"ok"
    return head.split(b"\r\n")[0]


def of(*servers: Server, revision: int = 1) -> Snapshot:
    shop = Version("shop", servers, Health(ejection=RULE))
    return Snapshot(revision, (shop,), (Route("shop", Match(), (("shop", 1.0),), "shop"),), secret=b"s" * 32)


async def share() -> None:
    failed: list[bytes] = []
    async with site(failed, well=False) as bad, site([], well=True) as good:
        supervisor = Supervisor(of(bad, good), open_listeners([Listen("127.0.0.1", 0)], 2), 2)
        port = int(supervisor.listeners.addresses[0].rpartition(":")[2])
        health = HealthWatch(supervisor)
        supervisor.on_snapshot = health.configure
        try:
            await supervisor.start()
            async with client(port) as one:  # a connection stays with its worker: only that one sees failures
                while not health.book.ejections:
                    assert await ask(one) == b"HTTP/1.1 200 OK"
            await supervisor.apply(of(bad, good, revision=2))  # what was told before is known when this is
            failures = len(failed)
            for _ in range(40):
                async with client(port) as another:
                    assert await ask(another) == b"HTTP/1.1 200 OK"
            assert (failures, len(failed)) == (RULE.failures, RULE.failures)
        finally:
            await supervisor.stop(1.0)
            await health.stop()


def test_a_server_that_one_worker_ejects_gets_nothing_from_the_other_one() -> None:
    asyncio.run(share())
