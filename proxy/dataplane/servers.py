"""Connections to servers: made, lent to one exchange at a time, taken back, closed when idle too long.

Invariant: a connection in `idle` has no exchange, owes nobody an answer, and has nothing unread. What arrives on one
ends it: a server that speaks out of turn would shift every later answer by one.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
from collections.abc import Iterable
from heapq import nsmallest
from operator import attrgetter
from typing import TYPE_CHECKING, cast

from proxy.core.route import Server
from proxy.dataplane.names import Name
from proxy.errors import CONNECT_FAILED, CONNECT_TIMEOUT, OVERLOADED, RefusedError

if TYPE_CHECKING:
    from proxy.dataplane.exchange import Exchange
    from proxy.dataplane.shadow.copy import Copy
    from proxy.dataplane.tunnel import Tunnel


_OWN_LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""What the proxy has run out of: not the server's fault."""


_LAST_READ_BYTES = 64 * 1024
_LAST_READS = 4
"""Together they bound what a broken connection may still add to a client's buffer."""


class ServerConnection(asyncio.Protocol):
    """One connection to a server. `outdated`: its address is no longer one of the server's name."""

    __slots__ = ("_writes_through", "address", "exchange", "idle_until", "outdated", "pool", "transport")

    transport: asyncio.Transport

    def __init__(self, pool: ServerPool, address: str) -> None:
        self.pool = pool
        self.address = address
        self.exchange: Exchange | Tunnel | Copy | None = None
        self.outdated = False
        self.idle_until = 0.0
        self._writes_through = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport. The pool is joined by whoever asked for the connection, if he still wants it."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand on what the server says; without an exchange it has nothing to say."""
        exchange = self.exchange
        if exchange is not None:
            exchange.server_data(data)
        else:
            self.pool.idle.pop(self, None)  # at once: until it is lost, nobody may be given it
            self.transport.abort()

    def eof_received(self) -> bool:
        """Keep our side open only where half-closing means something: in a tunnel."""
        self.pool.idle.pop(self, None)
        return self.exchange is not None and self.exchange.server_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the pool, and tell the exchange."""
        exchange = self.exchange
        if exchange is not None and exc is not None:
            self._hear_out(exchange)
            exchange = self.exchange
        self.pool.forget(self)
        if exchange is not None:
            self.exchange = None
            exchange.server_lost(exc)

    def _hear_out(self, exchange: Exchange | Tunnel | Copy) -> None:
        """Hand on what the server said before the connection broke.

        A server that answers early and closes resets the connection on what is still sent to it. When it is writing
        that notices first, the answer is still unread.
        """
        try:
            sock = socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno()))
        except OSError:                     # no descriptor is left to read it with
            return
        with sock:
            sock.setblocking(False)
            for _ in range(_LAST_READS):
                try:
                    data = sock.recv(_LAST_READ_BYTES)
                except OSError:
                    return
                if not data or self.exchange is not exchange:
                    return
                exchange.server_data(data)

    def pause_writing(self) -> None:
        """The server reads more slowly than the client sends."""
        if self.exchange is not None:
            self.exchange.server_full()

    def resume_writing(self) -> None:
        """The server caught up."""
        if self.exchange is not None:
            self.exchange.server_drained()

    def write_through(self) -> None:
        """A long body comes, or one that is not taken as fast: the client pauses whenever any of it has to wait.

        Until the connection is given back. See `ClientConnection.write_through`.
        """
        if not self._writes_through:
            self._writes_through = True
            self.transport.set_write_buffer_limits(0)

    def seems_stale(self) -> bool:
        """Whether the server has closed, or said something, that the loop has not told us yet.

        Asked before a request that may not be repeated is risked on a connection that was idle.
        """
        if self.transport.is_closing():
            return True
        waiting = select.poll()
        waiting.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLHUP)
        return bool(waiting.poll(0))


class ServerPool:
    """All connections of a worker to one server."""

    __slots__ = ("_name", "_seen_addresses", "_turn", "connections", "idle", "label", "retired", "server")

    def __init__(self, server: Server) -> None:
        self.server = server
        self.label = server.address
        self.idle: dict[ServerConnection, None] = {}
        """In the order of their return: the last is taken first, so that the others may grow old and go."""
        self.connections: set[ServerConnection] = set()
        self.retired = False
        self._name = None if server.unix_path else Name(server.host, server.port)
        self._seen_addresses: tuple[str, ...] = ()
        self._turn = 0  # whose turn it is among the addresses of the name

    @property
    def authority(self) -> bytes:
        """What stands in Host when the client named none (HTTP/1.0)."""
        if self.server.unix_path is not None:
            return b"localhost"
        return self.server.address.removeprefix("http://").encode("idna" if not self.server.host.isascii() else "ascii")

    def give_back(self, connection: ServerConnection, idle_until: float) -> None:
        """Take back a connection that is clean and still open."""
        connection.exchange = None
        if self.retired or connection.outdated:
            connection.transport.close()
            return
        if connection._writes_through:
            connection._writes_through = False
            connection.transport.set_write_buffer_limits()
        connection.idle_until = idle_until
        self.idle[connection] = None

    def forget(self, connection: ServerConnection) -> None:
        """Drop a connection that is gone."""
        self.connections.discard(connection)
        self.idle.pop(connection, None)

    async def connect(self, within_s: float) -> ServerConnection:
        """Open a connection. Raises RefusedError when it fails or takes longer than `within_s` seconds."""
        try:
            async with asyncio.timeout(within_s):
                connection = await self._connect(within_s)
        except TimeoutError:
            raise RefusedError(CONNECT_TIMEOUT, f"{self.label} did not accept within {within_s:g} s") from None
        except OSError as error:
            if error.errno in _OWN_LIMITS:
                raise RefusedError(OVERLOADED, f"no connection can be made: {error.strerror}") from None
            raise RefusedError(CONNECT_FAILED, f"{self.label}: {error.strerror or error}") from None
        # Not earlier: uvloop closes a connection whose making is given up without ever saying that it is lost.
        if not connection.transport.is_closing():
            self.connections.add(connection)
        return connection

    async def _connect(self, within_s: float) -> ServerConnection:
        loop = asyncio.get_running_loop()
        if self._name is None:
            path = cast(str, self.server.unix_path)
            _, connection = await loop.create_unix_connection(lambda: ServerConnection(self, path), path)
            return connection
        until = loop.time() + within_s
        addresses = await self._name.wait()
        self._turn = turn = (self._turn + 1) % len(addresses)
        failure: OSError | None = None
        for place, address in enumerate(addresses[turn:] + addresses[:turn]):
            try:
                # An address that does not answer leaves time for those after it.
                async with asyncio.timeout((until - loop.time()) / (len(addresses) - place)):
                    _, connection = await loop.create_connection(
                        lambda address=address: ServerConnection(self, address),  # type: ignore[misc]
                        address, self.server.port)
            except OSError as error:  # TimeoutError is one
                failure = error
            else:
                return connection
        raise failure or OSError("no address")

    def sweep(self, now: float) -> None:
        """Close what was idle too long, and what leads to an address that the name no longer has."""
        for connection in list(self.idle):
            if connection.idle_until > now:
                break
            self._close_idle(connection)
        if self._name is None:
            return
        self._name.refresh(now)
        if self._name.addresses != self._seen_addresses:
            self._seen_addresses = self._name.addresses
            for connection in list(self.connections):
                if connection.address not in self._seen_addresses:
                    connection.outdated = True
                    if connection in self.idle:
                        self._close_idle(connection)

    def retire(self) -> None:
        """No new exchange comes here: idle connections close now, lent ones when they return."""
        self.retired = True
        for connection in list(self.idle):
            self._close_idle(connection)
        if self._name is not None:
            self._name.close()

    def _close_idle(self, connection: ServerConnection) -> None:
        self.idle.pop(connection, None)
        connection.transport.close()


def shed_idle(pools: Iterable[ServerPool], count: int) -> None:
    """Close so many idle connections at most, those first that were idle longest, to whichever server they lead."""
    idle = [connection for pool in pools for connection in pool.idle]
    for connection in nsmallest(count, idle, key=attrgetter("idle_until")):
        connection.pool._close_idle(connection)
