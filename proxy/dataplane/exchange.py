"""One request and its answer: chosen, sent, streamed both ways, counted.

The life of an exchange, top to bottom: `begin` chooses the version and builds the head; `_attempt` picks a server and
sends it; `client_data` streams the request's body; `server_data` reads the answer's head and streams its body;
`_complete` counts and parts. What goes wrong ends in `fail`: an answer of our own while none has begun, else a cut that
the client can see.

Invariant: an exchange belongs to one client connection and to at most one server connection, and both know it or
neither does. On the hot path (warm connection, small messages) there is no task, no future and no timer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.choose import choose
from proxy.core.retry import IDEMPOTENT, Failure, may_retry
from proxy.dataplane.outbox import SMALL
from proxy.dataplane.presence import watch_half_closed
from proxy.dataplane.reading import NOT_CONNECTED, SERVER_FULL, SHARE_OF_LOOP
from proxy.dataplane.tunnel import Tunnel
from proxy.errors import (
    BAD_GATEWAY,
    BAD_REQUEST,
    BODY_TOO_LARGE,
    CONNECT_FAILED,
    GATEWAY_TIMEOUT,
    NO_ROUTE,
    REQUEST_TIMEOUT,
    Refusal,
    RefusedError,
)
from proxy.http1.body import Body, body_of
from proxy.http1.chunked import ChunkedError
from proxy.http1.forward import request_head, response_head, with_host
from proxy.http1.refusal import accept_of, render
from proxy.http1.request import END_OF_HEAD, Request
from proxy.http1.response import Response

if TYPE_CHECKING:
    import asyncio

    from proxy.dataplane.client import ClientConnection
    from proxy.dataplane.servers import ServerConnection, ServerPool
    from proxy.dataplane.site import Backend, Site

INTERIM_ANSWERS = 32
"""1xx answers passed on per request; a server that sends more has lost its way."""

CLIENT_CLOSED_REQUEST = 499
"""Counted, never sent: the client left before its answer was whole (nginx's name for it)."""

RATE_GRACE_S = 10.0
"""How long a body may be slower than `limits.body_rate`."""


class Exchange:
    """See the module."""

    __slots__ = (
        "_answer", "_asked_in", "_attempts", "_backend", "_connecting", "_excluded", "_head", "_interims", "_part",
        "_pending", "_pool", "_rate_from", "_rate_taken", "_response", "_sent", "_server", "_set_cookie", "_site",
        "_started", "_upload", "client", "request",
    )

    def __init__(self, client: ClientConnection, request: Request, site: Site) -> None:
        self.client = client
        self.request = request
        self._site = site
        self._head = b""
        self._set_cookie: bytes | None = None
        self._started = client.worker.clock()
        self._backend: Backend | None = None
        self._pool: ServerPool | None = None
        self._server: ServerConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._upload: Body | None = None           # the request's body, until it has ended
        self._pending: list[bytes] | None = None   # of the body, while there is no server to take it
        self._sent = 0                             # bytes of the body that a server was given
        self._response: Response | None = None
        self._answer: Body | None = None
        self._part = b""                           # of the answer's head
        self._interims = 0
        self._attempts = 0
        self._asked_in = -1                        # the turn at whose end the head is written
        self._excluded: tuple[ServerPool, ...] = ()

    # ---- choosing and sending ----

    def begin(self) -> None:
        """Choose, and make the first attempt."""
        request, client = self.request, self.client
        if not self._choose():
            return
        self._head = request_head(request, client.hop, client.worker.request_id(request, client.hop))
        if not request.host:
            self._head = with_host(self._head, self._backend.authority)  # type: ignore[union-attr]
        client.deadline = self._started + self._site.timeouts.response_head
        if request.length and not self._expect_body(request.length):
            return
        self._attempt()

    def _choose(self) -> bool:
        """Find the route and the version; False when the request was refused instead."""
        request, site = self.request, self._site
        table = site.hosts.get(request.host) or site.table(request.host)
        route = None if table is None else table.only or table.find(request)
        if route is None:
            if table is None and not site.is_host(request.host):
                request.keep_alive = False
                self.fail(BAD_REQUEST, "Host is not a host with an optional port")
            else:
                if request.length:
                    request.keep_alive = False  # its body is still to come, and is no request
                self.fail(NO_ROUTE, "no route matches the host, path and method of this request")
            return False
        choice = choose(route, request, self.client.worker.chance)
        self._set_cookie = choice.set_cookie
        self._backend = backend = site.backends[route.index][choice.index]
        backend.tally.inflight += 1
        return True

    def _expect_body(self, length: int) -> bool:
        """Prepare for a body; False when it is refused for its size."""
        site = self._site
        self._upload = body_of(length, site.chunk_bounds, reframed=True)
        if site.limits.body is not None and length > site.limits.body:
            self.fail(BODY_TOO_LARGE, f"the body is announced with more than {site.limits.body} bytes")
            return False
        self._rate_from = self._started
        self._rate_taken = 0
        self.client.worker.uploads.add(self)
        if not self.request.expects_continue:
            self.client.deadline = self._started + site.timeouts.request_idle
        return True

    def _attempt(self) -> None:
        """Send the head to a server of the version, on a warm connection if there is one."""
        servers = self._backend.servers  # type: ignore[union-attr]
        self._attempts += 1
        self._pool = pool = servers.acquire()
        if not pool.idle:
            self._connect(pool)
            return
        server = pool.idle.popitem()[0]
        if (self._upload is not None or self.request.method not in IDEMPOTENT) and server.seems_stale():
            server.transport.abort()
            self._connect(pool)
            return
        server.exchange = self
        self._server = server
        if self._upload is None:
            outbox = self.client.worker.outbox
            outbox.add(server.transport.write, self._head)
            self._asked_in = outbox.turn
        else:
            server.transport.write(self._head)

    def _connect(self, pool: ServerPool) -> None:
        """The slow path: a connection has to be made first. Meanwhile the body waits, up to a limit."""
        self._pending = self._pending or []
        self._connecting = self.client.worker.spawn(self._connect_and_send(pool), f"connect {pool.label}")

    async def _connect_and_send(self, pool: ServerPool) -> None:
        try:
            server = await pool.connect(self._site.timeouts.connect)
        except RefusedError as error:
            self._connecting = None
            self._attempt_failed(Failure.CONNECT, error.refusal, error.detail)
            return
        self._connecting = None
        if server.transport.is_closing():
            self._attempt_failed(Failure.CONNECT, CONNECT_FAILED, f"{pool.label} accepted and closed at once")
            return
        server.exchange = self
        self._server = server
        pending, self._pending = self._pending or [], None
        server.transport.write(self._head)
        for data in pending:
            self._send(data)
        self.client.release(NOT_CONNECTED)

    def _attempt_failed(self, failure: Failure, refusal: Refusal, detail: str) -> None:
        """Try again where invariant 9 allows it, with the snapshot of now; otherwise answer."""
        self._count_failure(refusal)
        if not may_retry(self.request.method, failure, body_taken=self._sent, attempt=self._attempts):
            self.fail(refusal, detail)
            return
        if failure is Failure.CONNECT and refusal is not BAD_GATEWAY and self._pool is not None:
            self._excluded = (*self._excluded, self._pool)
        given_up = self._backend
        given_up.tally.inflight -= 1  # type: ignore[union-attr]
        self._part_from_server()
        self._backend = None
        self._part = b""
        self._site = self.client.worker.site
        if not self._choose():
            return
        pool = self._backend.servers.acquire(self._excluded)  # type: ignore[attr-defined]
        if pool is None:
            self.fail(refusal, detail)  # every server there is has just failed this request
            return
        given_up.tally.retries += 1  # type: ignore[union-attr]
        self._attempts += 1
        self._pool = pool
        self._connect(pool)  # never on a pooled connection, which may be as stale as the last

    # ---- the request's body ----

    def client_data(self, data: bytes) -> None:
        """A piece of the request's body, or what comes after it."""
        client, upload = self.client, self._upload
        if upload is None:
            client.ahead(data)
            return
        client.deadline = client.worker.now + self._site.timeouts.request_idle
        try:
            out = upload.feed(data)
        except ChunkedError as error:
            self.fail(BAD_REQUEST, f"the framing of the request body is broken: {error}")
            return
        limit = self._site.limits.body
        if limit is not None and upload.taken > limit:
            self.fail(BODY_TOO_LARGE, f"the request body is larger than {limit} bytes")
            return
        if out:
            self._send(out)
        if upload.done:
            self._upload_ended(upload)
        elif upload.more:
            client.hold(SHARE_OF_LOOP)
            client.worker.loop.call_soon(self._continue_upload)

    def _continue_upload(self) -> None:
        if self.client.exchange is self and self._upload is not None:
            self.client.release(SHARE_OF_LOOP)
            self.client_data(b"")

    def _send(self, data: bytes) -> None:
        """Towards the server, or to wait for one."""
        if self._pending is not None:
            self._pending.append(data)
            if sum(map(len, self._pending)) > self._site.limits.buffer:
                self.client.hold(NOT_CONNECTED)
        elif self._server is not None:
            self._sent += len(data)
            self._server.transport.write(data)

    def _upload_ended(self, upload: Body) -> None:
        client = self.client
        self._upload = None
        client.worker.uploads.discard(self)
        if self._response is None:
            client.deadline = client.worker.now + self._site.timeouts.response_head
        if upload.rest:
            client.ahead(upload.rest)

    def check_rate(self, now: float) -> None:
        """Refuse a body that drips: bytes alone reset an idle time-out, so a rate is demanded as well."""
        client, upload = self.client, self._upload
        if upload is None:
            return
        if client.held_by_server or self._waits_for_continue:
            self._rate_from = now
            self._rate_taken = upload.taken
        elif now - self._rate_from >= RATE_GRACE_S:
            least = self._site.limits.body_rate
            if upload.taken - self._rate_taken < least * (now - self._rate_from):
                self.fail(REQUEST_TIMEOUT, f"the request body came at less than {least} bytes per second")

    @property
    def _waits_for_continue(self) -> bool:
        return (self.request.expects_continue and self._interims == 0
                and self._upload is not None and self._upload.taken == 0)

    # ---- the answer ----

    def server_data(self, data: bytes) -> None:
        """What the server says: its head, then its body."""
        answer = self._answer
        if answer is None:
            if self._asked_in == self.client.worker.outbox.turn:
                # The head has not even been written: this answers somebody else.
                self._attempt_failed(Failure.CONNECT, BAD_GATEWAY, "the server spoke before it was asked")
            else:
                self._read_head(data)
            return
        client = self.client
        try:
            out = answer.feed(data)
        except ChunkedError as error:
            self._count_failure(BAD_GATEWAY)
            self.fail(BAD_GATEWAY, f"the framing of the answer is broken: {error}")
            return
        if out:
            client.write(out)
        if answer.done:
            if answer.rest:
                self._response.keep_alive = False  # type: ignore[union-attr]  # it said more than it announced
            self._complete()
            return
        client.deadline = client.worker.now + self._site.timeouts.response_idle
        if answer.more and self._server is not None:
            self._server.transport.pause_reading()
            client.worker.loop.call_soon(self._continue_answer, self._server)

    def _continue_answer(self, server: ServerConnection) -> None:
        if self._server is server:
            if not self.client.write_paused:
                server.transport.resume_reading()
            self.server_data(b"")

    def _read_head(self, data: bytes) -> None:
        if self._part:
            data = self._part + data
        end = data.find(END_OF_HEAD)
        responses = self._site.responses
        try:
            if end < 0:
                responses.check_begun(data)
                self._part = data
                return
            end += 4
            response = responses.parse(data, end, self.request.method)
        except RefusedError as error:
            self._bad_answer(error.refusal, error.detail)
            return
        if response.status < 200:
            self._interim(response, data[end:])
        else:
            self._start_answer(response, data, end)

    def _start_answer(self, response: Response, data: bytes, end: int) -> None:
        """Pass the head on, with as much of the body as has come along (`data` from `end`)."""
        client, request = self.client, self.request
        self._response = response
        length = response.length
        chunked = length < 0 and request.minor == 1
        if self._upload is not None or client.last_one or (length < 0 and not chunked):
            request.keep_alive = False  # only the end of the connection can end this, or must
        head = response_head(response, keep_alive=request.keep_alive, to_minor=request.minor, chunked=chunked,
                             set_cookie=self._set_cookie)
        have = len(data) - end
        if have == length:
            whole = head + data[end:] if length else head
            if len(whole) > SMALL:
                client.write(whole)
            else:
                client.worker.outbox.add(client.transport.write, whole)
            self._complete()
            return
        client.write(head)
        self._answer = body_of(length, self._site.chunk_bounds, reframed=chunked)
        client.deadline = client.worker.now + self._site.timeouts.response_idle
        if have:
            self.server_data(data[end:])

    def _interim(self, response: Response, rest: bytes) -> None:
        """A 1xx: passed on to whoever can read it; a 101 makes a tunnel, if it was asked for."""
        request = self.request
        self._part = b""
        self._interims += 1
        if response.status == 101:
            if request.asks_upgrade is None or response.upgrade is None or self._upload is not None:
                self._bad_answer(BAD_GATEWAY, "the server switched protocols without being asked to")
            else:
                self._open_tunnel(response, rest)
            return
        if self._interims > INTERIM_ANSWERS:
            self._bad_answer(BAD_GATEWAY, f"the server sent more than {INTERIM_ANSWERS} interim answers")
            return
        if request.minor == 1:
            self.client.write(
                response_head(response, keep_alive=True, to_minor=1, chunked=False, set_cookie=None))
        if rest:
            self._read_head(rest)

    def _open_tunnel(self, response: Response, rest: bytes) -> None:
        """From here on bytes are bytes, both ways (RFC 9110 §7.8)."""
        client, server, backend, pool = self.client, self._server, self._backend, self._pool
        if server is None or backend is None or pool is None:
            return
        client.write(response_head(response, keep_alive=True, to_minor=1, chunked=False,
                                             set_cookie=self._set_cookie))
        backend.tally.done(101, client.worker.clock() - self._started)
        self._server = self._pool = None
        Tunnel(client, server, lambda: backend.servers.release(pool), self._site).open(rest)

    def _complete(self) -> None:
        """The answer is whole and written: count it, give the server back, let the client go on."""
        client, response, backend = self.client, self._response, self._backend
        server, pool = self._server, self._pool
        now = client.worker.clock()
        backend.tally.done(response.status, now - self._started)  # type: ignore[union-attr]
        backend.servers.release(pool)  # type: ignore[union-attr, arg-type]
        self._server = self._pool = None
        if self._upload is not None:
            # An early answer. Whether the server wants the rest is unknown, so nobody sends it any.
            self._end_upload()
            self._abandon(server)
            client.linger()
            return
        if server is not None:
            if client.write_paused:
                server.transport.resume_reading()  # it was stopped for the sake of this client only
            if self.request.length and server.transport.get_write_buffer_size():
                self._abandon(server)  # it answered before it had read the whole request, and may never read it
            elif response.keep_alive:  # type: ignore[union-attr]
                pool.give_back(server, now + self._site.timeouts.upstream_keepalive)  # type: ignore[union-attr]
            else:
                server.exchange = None
                server.transport.close()
        client.done(now, keep_alive=self.request.keep_alive)

    # ---- what else can happen ----

    def server_lost(self, exc: Exception | None) -> None:
        """The server closed the connection: the end of the answer, or of the attempt."""
        self._server = None
        if self._response is None:
            how = "reset" if exc is not None else "closed"
            failure = Failure.ANSWER if self._part or self._interims else Failure.CLOSED
            self._attempt_failed(failure, BAD_GATEWAY, f"the server {how} the connection before it answered")
            return
        ending = self._answer.close() if self._answer is not None and exc is None else None
        if ending is None:
            self._count_failure(BAD_GATEWAY)
            self.fail(BAD_GATEWAY, "the server closed the connection in the middle of its answer")
            return
        if ending:
            self.client.write(ending)
        self._complete()

    def server_eof(self) -> bool:
        """The server has said all it will; nothing is left to be sent to it."""
        return False

    def server_full(self) -> None:
        """The server does not read as fast as the client sends."""
        self.client.hold(SERVER_FULL)

    def server_drained(self) -> None:
        """The server caught up."""
        client, timeouts = self.client, self._site.timeouts
        client.release(SERVER_FULL)
        if self._upload is not None:
            client.deadline = client.worker.now + timeouts.request_idle
        elif self._response is None:
            client.deadline = client.worker.now + timeouts.response_head  # it has the whole request from now on

    def client_full(self) -> None:
        """The client does not read as fast as the server answers."""
        if self._server is not None:
            self._server.transport.pause_reading()

    def client_drained(self) -> None:
        """The client caught up."""
        self.client.deadline = self.client.worker.now + self._site.timeouts.response_idle
        if self._server is not None and (self._answer is None or not self._answer.more):
            self._server.transport.resume_reading()  # else when what is there has been worked on

    def client_eof(self) -> bool:
        """The client has shut down its side: fatal within its body, else it may well be waiting for the answer.

        That an answer came early is a good reason to stop sending the body.
        """
        if self._upload is not None and self._response is None:
            return False
        watch_half_closed(self.client, self)
        return True

    @property
    def _ends_with_connection(self) -> bool:
        """Whether nothing but the end of the connection tells the client where the answer ends."""
        return self._response is not None and self._response.length < 0 and self.request.minor == 0

    @property
    def answer_begun(self) -> bool:
        """Whether the client has been sent anything of the final answer."""
        return self._response is not None

    def client_lost(self) -> None:
        """The client is gone: the server is told at once, by the end of its connection."""
        if self._backend is not None:
            self._backend.tally.done(CLIENT_CLOSED_REQUEST, self.client.worker.clock() - self._started)
        self._let_go()

    def on_deadline(self) -> None:
        """Nothing has moved for too long; say whose turn it was."""
        client = self.client
        if self._response is not None and client.write_paused:
            self.client_lost()  # it does not read: as good as gone, and nothing to hold against the version
            client.cut(unframed=self._ends_with_connection)
        elif self._response is not None:
            self._count_failure(GATEWAY_TIMEOUT)
            self.fail(GATEWAY_TIMEOUT, "the server did not go on with the answer in time")
        elif self._upload is not None and not client.held_by_server and not self._waits_for_continue:
            self.fail(REQUEST_TIMEOUT, "the request body did not go on in time")
        else:
            self._count_failure(GATEWAY_TIMEOUT)
            what = "take the request" if self._upload is not None else "answer"
            self.fail(GATEWAY_TIMEOUT, f"the server did not {what} in time")

    def _bad_answer(self, refusal: Refusal, detail: str) -> None:
        self._count_failure(refusal)
        self.fail(refusal, detail)

    def fail(self, refusal: Refusal, detail: str) -> None:
        """Answer in the server's place; where its answer has begun, cut that so that nobody takes it for whole."""
        client, request = self.client, self.request
        worker = client.worker
        now = worker.clock()
        begun, whole_request = self._response is not None, self._upload is None
        if self._backend is not None:
            self._backend.tally.done(refusal.status, now - self._started)
        worker.counters.refused(refusal.slug)
        self._let_go()
        if begun:
            client.cut(unframed=self._ends_with_connection)
            return
        keep_alive = request.keep_alive and whole_request and not client.last_one
        head = self._head or b"".join(request.parts)
        client.write(render(refusal, detail, accept=accept_of(head),
                                      keep_alive=keep_alive, with_body=request.method != b"HEAD"))
        if keep_alive:
            client.done(now, keep_alive=True)
        else:
            client.linger()

    def _count_failure(self, refusal: Refusal) -> None:
        """An attempt failed at this server: counted per attempt, whatever the client is answered."""
        if self._backend is not None and self._pool is not None:
            self.client.worker.counters.upstream_error(self._backend.version, self._pool.label, refusal.slug)

    def _let_go(self) -> None:
        """Part from both: what they still send or expect belongs to nobody."""
        self._end_upload()
        self._part_from_server()

    def _part_from_server(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        server, pool = self._server, self._pool
        self._server = self._pool = None
        self._abandon(server)
        if pool is not None:
            self._backend.servers.release(pool)  # type: ignore[union-attr]

    def _end_upload(self) -> None:
        if self._upload is not None:
            self.client.worker.uploads.discard(self)

    @staticmethod
    def _abandon(server: ServerConnection | None) -> None:
        if server is not None:
            server.exchange = None
            server.transport.abort()
