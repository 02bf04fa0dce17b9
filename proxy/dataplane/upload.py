"""A request's body on its way to a server.

It waits, up to a limit, while there is no connection yet; afterwards it flows at the pace of the slower side. It must
come steadily: an idle time-out alone is reset by one byte a second, so a rate is demanded as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.dataplane.reading import LONG, NOT_CONNECTED, SERVER_FULL, SHARE_OF_LOOP
from proxy.errors import BAD_REQUEST, BODY_TOO_LARGE, REQUEST_TIMEOUT
from proxy.http1.body import body_of
from proxy.http1.chunked import ChunkedError

if TYPE_CHECKING:
    from proxy.dataplane.client import ClientConnection
    from proxy.dataplane.sending import Sending
    from proxy.dataplane.servers import ServerConnection
    from proxy.dataplane.site import Site

RATE_GRACE_S = 10.0
"""How long a body may be slower than `limits.body_rate`."""


class Upload:
    """One body. `sent`: bytes that a server was given, framing included. `ended_at`: when its last byte came, 0 before.

    `keep`: so many bytes are kept for another attempt; a body that has become longer, and was sent, cannot be repeated.
    """

    __slots__ = ("_body", "_exchange", "_is_long", "_keep", "_kept", "_rate_from", "_rate_taken", "_server", "_site",
                 "ended_at", "sent", "waiting")

    def __init__(self, exchange: Sending, length: int, site: Site, now: float, keep: int = 0) -> None:
        self._exchange = exchange
        self._site = site
        self._is_long = length > LONG
        self._body = body_of(length, site.chunk_bounds, reframed=True)
        self._server: ServerConnection | None = None
        self._rate_from = now
        self._rate_taken = 0
        self.waiting = bytearray()          # joined: thousands of pieces of two bytes would take twenty times as much
        self.sent = 0
        self.ended_at = 0.0
        self._keep = keep
        self._kept = bytearray()
        client = exchange.client
        client.worker.uploads.add(self)
        if not exchange.request.expects_continue:
            client.deadline = now + site.timeouts.request_idle

    @property
    def done(self) -> bool:
        """Whether the client has sent all of it."""
        return self._body.done

    @property
    def taken(self) -> int:
        """Bytes of the body that have come, framing not included."""
        return self._body.taken

    @property
    def is_repeatable(self) -> bool:
        """Whether everything that was sent is still there."""
        return not self.sent or self._keep > 0

    def rewind(self) -> None:
        """What was sent waits again, for another server."""
        self._server = None
        self._exchange.client.release(SERVER_FULL)      # the one that was full is not asked any more
        if self.sent:
            kept, self._kept = self._kept, bytearray()
            kept += self.waiting
            self.waiting = kept
            self.sent = 0

    def flow_to(self, server: ServerConnection | None) -> None:
        """Send what waits, and what comes, to this server; None while there is none."""
        self._server = server
        if server is None:
            return
        if self.waiting:
            waiting, self.waiting = self.waiting, bytearray()       # the transport's from now on
            self._send(waiting)
        if self._is_long:
            server.write_through()
        self._exchange.client.release(NOT_CONNECTED)

    def receive(self, data: bytes) -> None:
        """Take in what the client sent: a piece of the body, perhaps its end, perhaps what follows it."""
        exchange, body, limit = self._exchange, self._body, self._site.limits.body
        client = exchange.client
        client.deadline = client.worker.now + self._site.timeouts.request_idle
        try:
            out = body.feed(data)
        except ChunkedError as error:
            exchange.fail(BAD_REQUEST, f"the framing of the request body is broken: {error}")
            return
        if limit is not None and body.taken > limit:
            exchange.fail(BODY_TOO_LARGE, f"the request body is larger than {limit} bytes")
            return
        if out:
            exchange.count_received(len(out))
            self._send(out)
            if exchange.copied is not None:
                exchange.copied.request_piece(out)
        if body.done:
            self._ended(client)
        elif body.more:
            client.hold(SHARE_OF_LOOP)
            client.worker.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        client = self._exchange.client
        if client.exchange is self._exchange and not self.done:
            client.release(SHARE_OF_LOOP)
            self.receive(b"")

    def _ended(self, client: ClientConnection) -> None:
        self.forget()
        self.ended_at = client.worker.clock()
        if self._exchange.copied is not None:
            self._exchange.copied.request_done()
        if not self._exchange.answer_begun:
            client.deadline = self.ended_at + self._exchange.within_s     # which may be less than a sweep
        if self._body.rest:
            client.ahead(self._body.rest)

    def _send(self, data: bytes | bytearray) -> None:
        if self._server is not None:
            self.sent += len(data)
            if self._keep:
                self._remember(data)
            self._server.transport.write(data)
            return
        self.waiting += data
        if len(self.waiting) > self._site.limits.buffer:
            self._exchange.client.hold(NOT_CONNECTED)

    def _remember(self, data: bytes | bytearray) -> None:
        """Keep it for another attempt; beyond what is kept there is none."""
        if self.sent > self._keep:
            self._keep, self._kept = 0, bytearray()
        else:
            self._kept += data

    def check_rate(self, now: float) -> None:
        """Refuse a body that drips, when that is the client's doing."""
        exchange, least = self._exchange, self._site.limits.body_rate
        if exchange.client.held_by_server or exchange.waits_for_continue:
            self._rate_from = now
            self._rate_taken = self.taken
        elif now - self._rate_from >= RATE_GRACE_S and self.taken - self._rate_taken < least * (now - self._rate_from):
            exchange.fail(REQUEST_TIMEOUT, f"the request body came at less than {least} bytes per second")

    def forget(self) -> None:
        """Nothing more is expected: it has ended, or nobody wants the rest."""
        self._exchange.client.worker.uploads.discard(self)
