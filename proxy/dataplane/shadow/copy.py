"""One copy on its way: sent on a connection of its own, its answer read to the end and kept as far as it is compared.

Invariant: it knows neither the client nor the client's exchange, so nothing that happens to it can happen to them. It
ends exactly once, by its answer, by a fault, or by its deadline.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from proxy.core.retry import IDEMPOTENT
from proxy.dataplane.exchange import INTERIM_ANSWERS
from proxy.dataplane.outbox import SMALL
from proxy.errors import OVERLOADED, RefusedError
from proxy.http1.body import Body, body_of
from proxy.http1.chunked import ChunkedError
from proxy.http1.request import CHUNKED, END_OF_HEAD

if TYPE_CHECKING:
    import asyncio

    from proxy.core.balance import LeastInFlight
    from proxy.dataplane.servers import ServerConnection, ServerPool
    from proxy.dataplane.shadow.copied import Copied
    from proxy.http1.response import Response

MANY_LINES = 256
"""A piece of a chunked answer with more of them may take milliseconds to read: that is done when there is time."""
READ_ON = 1024 * 1024
"""Bytes of an answer that are read beyond what is kept, so that the connection can be used again."""
_FAILURES = frozenset({"connect", "closed", "broken", "timeout"})
"""Outcomes that are the server's own fault, unless something of ours is known to have caused them."""


class Copy:
    """See the module. `head`, `body`, `whole`, `took_s`: of its answer, once `status` is not 0 and it has ended.

    `failure`: its outcome, where there is no answer and that is the server's fault.
    """

    __slots__ = ("_asked_in", "_behind", "_body", "_connecting", "_copied", "_interims", "_is_chunked", "_keeps",
                 "_part", "_pool", "_rest_of_answer", "_reused", "_sent", "_sent_at", "_server", "_servers", "_waiting",
                 "deadline", "ended", "failure", "head", "kept", "pieces", "status", "took_s", "whole")

    def __init__(self, copied: Copied, servers: LeastInFlight[ServerPool]) -> None:
        self._copied = copied
        self._servers = servers
        self._pool: ServerPool | None = servers.acquire()
        self._server: ServerConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._waiting: list[bytes] = []
        self._sent: list[bytes] | None = []
        self._reused = False                # the connection had been used before
        self._is_chunked = False
        self._keeps = False                 # the server will take another request on it
        self._part = b""
        self._interims = 0
        self._body: Body | None = None
        self._rest_of_answer = READ_ON
        self._asked_in = -1                 # the turn at whose end the head is written
        self._behind = 0                    # pieces of the answer that wait to be read
        self._sent_at = 0.0
        self.deadline = copied.worker.now + copied.shadow.plan.timeout_s
        self.ended = False
        self.failure = ""
        self.status = 0
        self.head = b""
        self.pieces: list[bytes] = []
        self.kept = 0
        self.whole = True
        self.took_s = 0.0

    # ---- the request

    def start(self, pieces: list[bytes]) -> None:
        """Send these pieces, the head first, and what `send` brings later."""
        pool = self._pool
        if pool is None:
            return
        if not pool.idle:
            self._connect(pool, pieces)
            return
        copied = self._copied
        worker = copied.worker
        server = pool.idle.popitem()[0]
        if not (copied.is_sent and copied.method in IDEMPOTENT) and server.seems_stale():
            server.transport.abort()        # it could not be sent again
            self._connect(pool, pieces)
            return
        server.exchange = self
        self._server = server
        self._reused = True
        self._sent = pieces
        self._sent_at = worker.clock()
        if len(pieces) == 1 and len(pieces[0]) <= SMALL:
            self._asked_in = worker.outbox.add(server.transport, pieces[0])
        else:
            server.transport.writelines(pieces)

    def send(self, data: bytes) -> None:
        """More of the request's body."""
        self._sent = None                   # from here on it is not repeated
        if self._server is not None:
            self._server.transport.write(data)
            self._sent_at = self._copied.worker.clock()
        elif not self.ended:
            self._waiting.append(data)

    def _connect(self, pool: ServerPool, pieces: list[bytes]) -> None:
        self._waiting = list(pieces)
        self._connecting = self._copied.worker.spawn(self._connect_and_send(pool), f"shadow {pool.label}")

    async def _connect_and_send(self, pool: ServerPool) -> None:
        try:
            server = await pool.connect(self._copied.connect_s)
        except RefusedError as refused:
            self._connecting = None
            # For want of descriptors here, or while the configuration changes, it says nothing about the server.
            self.end("connect", is_ours=refused.refusal is OVERLOADED or pool.retired)
            return
        self._connecting = None
        if server.transport.is_closing():
            self.end("connect")
            return
        server.exchange = self
        self._server = server
        self._reused = False
        server.transport.writelines(self._waiting)
        self._waiting = []
        self._sent_at = self._copied.worker.clock()

    # ---- the answer: what a server connection tells whoever uses it

    def server_data(self, data: bytes) -> None:
        """A piece of the answer."""
        if self._body is not None:
            self._take(self._body, data)
            return
        copied = self._copied
        if self._asked_in == copied.worker.outbox.turn:
            self._start_over()
            return
        before = len(self._part)
        if before:
            data = self._part + data
        end = data.find(END_OF_HEAD) + 4
        responses = copied.worker.shadows.responses
        try:
            if end < 4:
                responses.check_begun(data)
            else:
                response = responses.parse(data, end, copied.method)
        except RefusedError:
            self.end("broken")
            return
        if not copied.reserve((end if end >= 4 else len(data)) - before):
            self.end("memory")
        elif end < 4:
            self._part = data
        elif response.status >= 200:
            self._begin_answer(response, data, end)
        elif response.status == 101 or self._interims >= INTERIM_ANSWERS:
            self.end("broken")
        else:
            self._interims += 1
            self._part = b""
            if end < len(data):
                self.server_data(data[end:])

    def _begin_answer(self, response: Response, data: bytes, end: int) -> None:
        self.status = response.status
        self.head = data[:end] if self._copied.shadow.plan.capture else b""
        length = response.length
        if len(data) - end == length:
            if length:
                self._keep(data[end:])
            self._finish(keep_alive=response.keep_alive)
            return
        self._body = body_of(length, self._copied.bounds, reframed=False)
        self._keeps = response.keep_alive
        self._is_chunked = length == CHUNKED
        self._take(self._body, data[end:])

    def _start_over(self) -> None:
        """The head has not even been written: this answers nobody, and an idle connection is about to end so."""
        server, pool = self._server, self._pool
        if server is None or pool is None or self._sent is None:
            self.end("broken")
            return
        server.exchange = self._server = None
        server.transport.abort()
        self._asked_in = -1
        self._connect(pool, self._sent)

    def _take(self, body: Body, data: bytes) -> None:
        if self._behind or (self._is_chunked and data.count(b"\n") > MANY_LINES):
            self._take_later(body, data)
        else:
            self._read(body, data)

    def _take_later(self, body: Body, data: bytes) -> None:
        """Read this when there is time."""
        server, copied = self._server, self._copied
        if server is None or not copied.reserve(len(data)):
            self.end("memory")
            return
        self._behind += 1
        server.transport.pause_reading()
        copied.worker.shadows.chores.add(partial(self._go_on, server, body, data))

    def _go_on(self, server: ServerConnection, body: Body, data: bytes) -> None:
        if self._server is server:
            self._behind -= 1
            self._copied.give_back(len(data))
            server.transport.resume_reading()
            self._read(body, data)

    def _read(self, body: Body, data: bytes) -> None:
        try:
            payload = body.feed(data)
        except ChunkedError:
            self.end("broken")
            return
        if payload:
            self._keep(payload)
        if body.done:
            self._finish(keep_alive=self._keeps and not body.rest)
        elif self._rest_of_answer < 0:
            self.end("endless")
        elif body.more:
            self._take_later(body, b"")

    def _keep(self, payload: bytes) -> None:
        self._copied.keep(self, payload)
        if not self.whole:
            self._rest_of_answer -= len(payload)

    def _finish(self, *, keep_alive: bool) -> None:
        worker, server, pool = self._copied.worker, self._server, self._pool
        now = worker.clock()
        self.took_s = now - self._sent_at
        self._server = None
        if server is not None and pool is not None:
            if keep_alive and self._copied.is_sent and not server.transport.get_write_buffer_size():
                pool.give_back(server, now + self._copied.keepalive_s)
            else:
                server.exchange = None
                server.transport.abort()
        self._over("answered")

    def server_lost(self, exc: Exception | None) -> None:
        """The connection is gone: the end of an answer that ends so, or of the copy."""
        self._server = None
        body, pool = self._body, self._pool
        if body is not None:
            if exc is None and body.close() is not None:
                self._finish(keep_alive=False)
            else:
                self.end("closed")
        elif (self._reused and self._sent and not (self._part or self._interims) and pool is not None
              and self._copied.method in IDEMPOTENT):
            self._reused = False
            self._connect(pool, self._sent)         # it had been closed while it was idle: that says nothing
        else:
            self.end("closed")

    def server_eof(self) -> bool:
        """The server has said all it will."""
        return False

    def server_full(self) -> None:
        """The server does not read on. What waits for it is within the budget, and the deadline ends it."""

    def server_drained(self) -> None:
        """The server reads on."""

    # ---- the end

    def end(self, outcome: str, *, is_ours: bool = False) -> None:
        """Give it up; nothing, if it has ended. `is_ours`: the server has nothing to do with it."""
        if self.ended:
            return
        if outcome == "timeout" and not self._copied.is_sent:
            is_ours = True                  # the client was slow to send it
        if outcome in _FAILURES and not is_ours:
            self.failure = outcome
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        server, self._server = self._server, None
        if server is not None:
            server.exchange = None
            server.transport.abort()
        self.status = 0
        self._over(outcome)

    def _over(self, outcome: str) -> None:
        self.ended = True
        self._waiting, self._sent, self._part = [], None, b""
        pool, self._pool = self._pool, None
        if pool is not None:
            self._servers.release(pool)
        self._copied.ended(self, outcome)
