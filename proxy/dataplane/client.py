"""One client connection: heads in, one exchange at a time, in the order the requests came.

Memory is bounded by construction: a partial head by `limits.head`, what a client sends ahead of its turn by
`limits.buffer`, beyond which it is not read from. Time is bounded by `deadline`, which the worker's sweep compares.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from typing import TYPE_CHECKING, cast

from proxy.dataplane.accesslog import no_request
from proxy.dataplane.exchange import Exchange
from proxy.dataplane.reading import AHEAD_OF_TURN, NOT_CONNECTED, SERVER_FULL
from proxy.errors import BAD_REQUEST, REQUEST_TIMEOUT, RefusedError
from proxy.http1.forward import Hop
from proxy.http1.refusal import accept_of, render
from proxy.http1.request import END_OF_HEAD, Request, SeveralHeadsError

if TYPE_CHECKING:
    from proxy.core.overload.clients import Key
    from proxy.dataplane.site import Site
    from proxy.dataplane.tunnel import Tunnel
    from proxy.dataplane.worker import Worker

NEVER = UNBOUNDED = float("inf")
LINGER_S = 5.0
"""How long a closed connection is still read from, so that no reset destroys the last answer (RFC 9112 §9.6)."""
LINGER_WHOLE_S = 30.0
"""The same in all, for a client that does not stop sending: some send a whole upload before they read."""
GARBAGE_BYTES = 8 * 1024 * 1024
"""The same in bytes, for what follows something that was no request."""
SHORT = 4096
"""Bytes of a read that is taken for one head when it ends like one; longer ones are searched."""

_CRLF = b"\r\n"
_TLS_HANDSHAKE = 0x16
_RESET = struct.pack("ii", 1, 0)


class ClientConnection(asyncio.Protocol):
    """See the module."""

    __slots__ = ("_held", "_linger_left", "_linger_until", "_writes_through", "buffer", "deadline", "exchange",
                 "half_closed", "hop", "last_one", "seat", "site", "transport", "worker", "write_paused")

    transport: asyncio.Transport
    hop: Hop

    def __init__(self, worker: Worker, seat: Key) -> None:
        """`seat`: what `Admission.seat` gave it."""
        self.worker = worker
        self.seat = seat
        self.site: Site | None = None
        self.exchange: Exchange | Tunnel | None = None
        self.buffer = b""
        self.deadline = NEVER
        self.half_closed = False
        self.write_paused = False
        self.last_one = False
        self._held = 0
        self._linger_left = 0.0
        self._linger_until = 0.0  # while it is read from although nobody listens
        self._writes_through = False

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the worker's connections and wait for a head."""
        self.transport = cast(asyncio.Transport, transport)
        worker = self.worker
        worker.admit(self)
        self._meet(worker.site)
        self.deadline = worker.now + worker.site.timeouts.keepalive

    def data_received(self, data: bytes) -> None:
        """A head, a body, or what comes ahead of its turn."""
        exchange = self.exchange
        if exchange is not None:
            exchange.client_data(data)
        elif self._linger_until:
            self._linger_left -= len(data)
            if self._linger_left < 0:
                self.transport.abort()
                return
            self.deadline = min(self._linger_until, max(self.deadline, self.worker.now + LINGER_S))
        elif self.write_paused:
            self.ahead(data)  # the last answer has not left yet: nothing is added to it
        else:
            if self.buffer:
                data = self.buffer + data
                self.buffer = b""
            self._next_request(data)

    def eof_received(self) -> bool:
        """The client has said all it will. It may still be reading: what it asked for is answered."""
        self.half_closed = True
        self.worker.outbox.flush()  # where nothing more is said here, the connection ends now
        if self.exchange is not None:
            return self.exchange.client_eof()
        if self.buffer and not self._linger_until:
            # Whole requests may wait for their turn; `resume` sees to them, and closes after the last.
            self.worker.loop.call_soon(self.resume)
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: so is what it asked for."""
        self.worker.dismiss(self)
        exchange = self.exchange
        if exchange is not None:
            self.exchange = None
            exchange.client_lost()
        self.deadline = NEVER

    def pause_writing(self) -> None:
        """The client reads more slowly than the server answers."""
        self.write_paused = True
        if self.exchange is not None:
            self.exchange.client_full()

    def resume_writing(self) -> None:
        """The client caught up; what waited for that goes on."""
        self.write_paused = False
        if self.exchange is not None:
            self.exchange.client_drained()
        elif self.buffer:
            self.resume()
        elif self._held:
            self.release(AHEAD_OF_TURN)

    # ---- requests

    def _meet(self, site: Site) -> None:
        """Work out what this connection adds to its requests under a site it has not seen yet."""
        self.site = site
        peer = self.transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else ""
        if address.startswith("::ffff:") and "." in address:
            address = address[7:]  # RFC 4291 §2.5.5.2: an IPv4 client of a socket for both families
        self.hop = Hop(address, trusted=site.trusts(address))

    def _next_request(self, data: bytes, end: int = 0) -> None:
        """Serve the request that `data` begins with; `end`: of its head, where that is known."""
        looked_for = end
        if not end:
            # What is short and ends like a head nearly always is one: the parser says so when it is not.
            end = len(data) if len(data) < SHORT and data.endswith(END_OF_HEAD) else data.find(END_OF_HEAD) + 4
        if end <= 4 or data[0] < 0x41:
            self._begin_head(data)
            return
        site = self.worker.site  # the one read of invariant 1
        if self.site is not site:
            self._meet(site)
        head = data if end == len(data) else data[:end]
        try:
            request = site.requests.parse(head)
        except SeveralHeadsError:
            if looked_for:
                self.refuse(RefusedError(BAD_REQUEST, "there is an empty line in the middle of the head"), head)
            else:
                self._next_request(data, data.find(END_OF_HEAD) + 4)
            return
        except RefusedError as error:
            self.refuse(error, head)
            return
        hop = self.hop
        request.client = _client_address(request, hop.peer, site) if hop.trusted else hop.peer
        exchange = self.exchange = Exchange(self, request, site)
        if self.worker.admission.rates is None or self.worker.admission.grants(exchange):
            exchange.begin()
        if end != len(data):
            self._hand_on(exchange, data[end:])

    def _hand_on(self, exchange: Exchange, rest: bytes) -> None:
        """What came with a head belongs to its exchange, unless that ended at once."""
        if self.exchange is exchange:
            exchange.client_data(rest)
        elif not self._linger_until and not self.transport.is_closing():
            self.ahead(rest)
            self.worker.loop.call_soon(self.resume)

    def _begin_head(self, data: bytes) -> None:
        """The head is not complete, or does not begin like one."""
        if data.startswith(_CRLF):
            # RFC 9112 §2.2: one empty line before a request is ignored; some senders add it after a body.
            data = data[2:]
            if data and not data.startswith(_CRLF):
                self._next_request(data)
                return
        if not data:
            return
        if data[0] < 0x41 and data != b"\r":
            detail = ("this is a TLS handshake; plain HTTP is spoken here" if data[0] == _TLS_HANDSHAKE
                      else "the request does not begin with a method")
            self.refuse(RefusedError(BAD_REQUEST, detail))
            return
        limits = self.worker.site.limits
        if len(data) > limits.head or (len(data) > limits.request_line and _CRLF not in data):
            self.refuse(self.worker.site.requests.oversized(data), data)
            return
        if data.endswith(b"\n") and not data.endswith(_CRLF):  # the parser would say so, but only at the end
            self.refuse(RefusedError(BAD_REQUEST, "a line of the head does not end with CRLF"), data)
            return
        self.buffer = data
        # A head must be complete some time after its first byte, however it drips.
        self.deadline = min(self.deadline, self.worker.now + self.worker.site.timeouts.request_head)

    def resume(self) -> None:
        """Go on with what came ahead of its turn, unless the answers before it still wait for the client to read."""
        if self.write_paused:
            return
        data, self.buffer = self.buffer, b""
        self.release(AHEAD_OF_TURN)
        if data and self.exchange is None and not self._linger_until and not self.transport.is_closing():
            self._next_request(data)
        elif data:
            self.buffer = data
        if self.half_closed and (self.exchange is None or not self.exchange.client_eof()):
            self.close()

    def ahead(self, data: bytes) -> None:
        """Keep what a client sends before its turn, up to the limit; beyond that it is not read from."""
        self.buffer = self.buffer + data if self.buffer else data
        if len(self.buffer) > self.worker.site.limits.buffer:
            self.hold(AHEAD_OF_TURN)

    def take_ahead(self) -> bytes:
        """What came ahead of its turn, for whoever takes over the connection; it is read from again."""
        data, self.buffer = self.buffer, b""
        self.release(AHEAD_OF_TURN)
        return data

    def done(self, now: float, *, keep_alive: bool) -> None:
        """The exchange has ended and its answer is written: wait for the next request, or leave."""
        self.exchange = None
        if not keep_alive or self.last_one:
            self.leave()
            return
        self.deadline = now + self.site.timeouts.keepalive  # type: ignore[union-attr]
        if self._writes_through:
            self._writes_through = False
            self.transport.set_write_buffer_limits()
        if self._held:
            self._held &= AHEAD_OF_TURN
            if not self._held:
                self.transport.resume_reading()
        if self.buffer:
            if not self.write_paused:
                self.worker.loop.call_soon(self.resume)
        elif self.half_closed:
            self.close()

    # ---- reading

    def hold(self, reason: int) -> None:
        """Stop reading from the client, for a reason of its own."""
        if not self._held and not self.transport.is_closing():
            self.transport.pause_reading()
        self._held |= reason

    def release(self, reason: int) -> None:
        """This reason is over; reading goes on when it was the last."""
        if self._held & reason:
            self._held &= ~reason
            if not self._held and not self.transport.is_closing():
                self.transport.resume_reading()

    @property
    def may_begin(self) -> bool:
        """Whether another request may still be taken from this connection right now."""
        return self.exchange is None and not self._linger_until and not self.transport.is_closing()

    @property
    def held_by_server(self) -> bool:
        """Whether the client is not read from because the server does not keep up."""
        return bool(self._held & (SERVER_FULL | NOT_CONNECTED))

    # ---- endings

    def write_through(self) -> None:
        """A long answer comes, or one that is not taken as fast: the server pauses whenever any of it has to wait.

        Until the exchange has ended. Of a read that was written in part the whole is kept, up to 250 KiB. Below the
        usual mark of 64 KiB another such read would follow it; so a client that stops reading is kept one, not two.
        """
        if not self._writes_through:
            self._writes_through = True
            self.transport.set_write_buffer_limits(0)

    def write(self, data: bytes) -> None:
        """Send this after whatever still waits to be sent."""
        self.worker.outbox.flush()
        self.transport.write(data)

    def close(self) -> None:
        """Close once everything is sent."""
        self.worker.outbox.flush()
        self.transport.close()

    def refuse(self, error: RefusedError, head: bytes = b"") -> None:
        """Answer a request that never became one, and leave: what follows cannot be trusted to be a request."""
        worker = self.worker
        worker.counters.refused(error.refusal.slug)
        if worker.log is not None:
            worker.log.add_line(no_request(worker.log.stamp(worker.clock()), self.hop.peer, error.refusal))
        self.write(render(error.refusal, error.detail, accept=accept_of(head), keep_alive=False,
                          with_body=not head.startswith(b"HEAD ")))
        self.buffer = b""
        self.linger(GARBAGE_BYTES)

    def leave(self) -> None:
        """Close after the last answer; a client that is still sending gets the time to read it."""
        if self.half_closed or not (self.buffer or self._held):
            self.buffer = b""
            self.close()
            self._close_by(self.worker.site.timeouts.response_idle)
        else:
            self.buffer = b""
            self.linger()

    def linger(self, most: float = UNBOUNDED) -> None:
        """Say that nothing more will come, and read what still does, so that no reset overtakes the answer.

        `most`: how many bytes to read; without a bound for the body of a request that was one.
        """
        self.exchange = None
        self.worker.outbox.flush()
        if self.half_closed or self.transport.is_closing():
            self.close()
            self._close_by(self.worker.site.timeouts.response_idle)
            return
        self._linger_until = self.worker.now + LINGER_WHOLE_S
        self._linger_left = most
        # A client that is still reading the answer gets as long for it as any other.
        self._close_by(self.worker.site.timeouts.response_idle if self.write_paused else LINGER_S)
        if self._held:
            self._held = 0
            self.transport.resume_reading()
        self.transport.write_eof()

    def _close_by(self, seconds: float) -> None:
        """The connection is about to end; a client that never reads the rest does not keep it."""
        self.deadline = self.worker.now + seconds

    def cut(self, *, unframed: bool = False) -> None:
        """End the connection so that nobody takes what was sent for the whole answer.

        `unframed`: only the end of the connection ends this body, so it must not be an orderly one.
        """
        self.exchange = None
        self.worker.outbox.flush()
        if unframed:
            sock = self.transport.get_extra_info("socket")
            if sock is not None and sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()
        else:
            self.close()
            self._close_by(LINGER_S)

    def on_deadline(self) -> None:
        """The deadline has passed; what that means depends on what was waited for."""
        self.deadline = NEVER
        if self.exchange is not None:
            self.exchange.on_deadline()
        elif self._linger_until or self.transport.is_closing() or self.half_closed:
            self.transport.abort()
        elif self.buffer:
            self.refuse(RefusedError(REQUEST_TIMEOUT, "the request head did not arrive in time"), self.buffer)
        else:
            self.close()
            self._close_by(LINGER_S)

    def drain(self, quiet_by: float) -> None:
        """Take no request after the one that is under way; an idle connection has until `quiet_by`."""
        self.last_one = True
        if self.exchange is None and not self._linger_until:
            self.deadline = min(self.deadline, quiet_by)


def _client_address(request: Request, peer: str, site: Site) -> str:
    """Whom a trusted proxy speaks for: the last address in X-Forwarded-For that is not one of our own proxies."""
    chain = (request.header(b"x-forwarded-for") or b"").decode("latin-1").split(",")
    address = peer
    for hop in reversed(chain):
        candidate = hop.strip()
        try:
            ipaddress.ip_address(candidate)
        except ValueError:
            break
        address = candidate
        if not site.trusts(candidate):
            break
    return address
