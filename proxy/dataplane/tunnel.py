"""Two connections joined after a `101 Switching Protocols`: bytes both ways, until either side has had enough.

A half-close travels through: some protocols end one direction first. Memory is bounded by pausing the faster side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.dataplane.reading import SERVER_FULL

if TYPE_CHECKING:
    from proxy.dataplane.client import ClientConnection
    from proxy.dataplane.servers import ServerConnection
    from proxy.dataplane.site import Site
    from proxy.telemetry.counters import Tally


class Tunnel:
    """Takes the place of an exchange on both connections. `release` is called once, when it has ended, with
    the bytes that came from the client and those that were sent to it.

    `tally`: of the version that has it. A tunnel is among the worker's `tunnels` from `open` to its end.
    """

    __slots__ = ("_client_done", "_half_idle_s", "_idle_s", "_received", "_release", "_sent", "_server", "_server_done",
                 "_tally", "client")

    def __init__(self, client: ClientConnection, server: ServerConnection, release: Callable[[int, int], None],
                 site: Site, tally: Tally) -> None:
        self.client = client
        self._server: ServerConnection | None = server
        self._release = release
        self._tally = tally
        self._received = self._sent = 0
        self._idle_s = site.timeouts.tunnel_idle
        # Once one side has ended, a silent other one has usually been forgotten: that is not to last an hour.
        self._half_idle_s = min(self._idle_s, site.timeouts.response_idle)
        self._client_done = self._server_done = False

    @property
    def steered_to(self) -> tuple[str, str]:
        """The route and the version that have this tunnel."""
        return self._tally.key

    def open(self, from_server: bytes, site: Site) -> None:
        """Take over both connections, with what each side has already sent beyond the heads.

        `site`: what its request was routed by. The tunnel does not keep it: it may outlive many.
        """
        client, server = self.client, self._server
        if server is None:
            return
        client.exchange = server.exchange = self
        self._tally.tunnels += 1
        client.worker.tunnels.add(self, site, client.worker.site, client.worker.clock())
        client.deadline = client.worker.now + self._idle_s
        if from_server:
            self.server_data(from_server)
        data = client.take_ahead()
        if data:
            self.client_data(data)
        if client.half_closed:
            self.client_eof()

    def client_data(self, data: bytes) -> None:
        """Client → server."""
        self.client.deadline = self.client.worker.now + self._idle_s
        self._tally.received += len(data)
        self._received += len(data)
        if self._server is not None:
            self._server.transport.write(data)

    def server_data(self, data: bytes) -> None:
        """Server → client."""
        self.client.deadline = self.client.worker.now + self._idle_s
        self._tally.sent += len(data)
        self._sent += len(data)
        self.client.write(data)

    def client_eof(self) -> bool:
        """The client has said all it will; the server may go on."""
        self._client_done = True
        self._half_ended()
        if self._server is not None:
            self._server.transport.write_eof()
        return not self._server_done

    def server_eof(self) -> bool:
        """The server has said all it will; the client may go on."""
        self._server_done = True
        self._half_ended()
        self.client.transport.write_eof()
        return not self._client_done

    def _half_ended(self) -> None:
        self._idle_s = self._half_idle_s
        self.client.deadline = self.client.worker.now + self._idle_s

    def client_lost(self) -> None:
        """The client is gone, and so is the tunnel."""
        server, self._server = self._server, None
        if server is not None:
            server.exchange = None
            if self._client_done:
                server.transport.close()
            else:
                server.transport.abort()
            self._ended()

    def server_lost(self, exc: Exception | None) -> None:
        """The server is gone, and so is the tunnel."""
        if self._server is not None:
            self._server = None
            self._ended()
        self.client.exchange = None
        if exc is None:
            self.client.leave()
        else:
            self.client.transport.abort()

    def _ended(self) -> None:
        worker = self.client.worker
        self._tally.tunnels -= 1
        worker.tunnels.remove(self)
        self._release(self._received, self._sent)

    def server_full(self) -> None:
        """The server does not keep up."""
        self.client.hold(SERVER_FULL)
        if self._server is not None:
            self._server.write_through()

    def server_drained(self) -> None:
        """The server caught up."""
        self.client.release(SERVER_FULL)

    def client_full(self) -> None:
        """The client does not keep up."""
        self.client.write_through()
        if self._server is not None:
            self._server.transport.pause_reading()

    def client_drained(self) -> None:
        """The client caught up."""
        if self._server is not None:
            self._server.transport.resume_reading()

    def withdraw(self) -> None:
        """The version is to have no tunnels any more: end it on both sides."""
        server, self._server = self._server, None
        if server is not None:
            server.exchange = None
            server.transport.abort()
            self._tally.withdrawn += 1
            self._ended()
        self.client.exchange = None
        self.client.leave()

    def on_deadline(self) -> None:
        """Nobody has said anything for `timeouts.tunnel_idle`, or for `response_idle` since one side ended."""
        self.client.transport.abort()
