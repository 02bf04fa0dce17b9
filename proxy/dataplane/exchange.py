"""One request and its answer: sent, answered, streamed both ways, counted.

Where it goes is in `placing`, how it gets there in `sending`, what follows a failed attempt in `retrying`, its body in
`upload`. Here the answer comes back: `server_data` reads its head and streams its body, `_complete` counts and parts.
What goes wrong ends in `fail`: an answer of our own while none has begun, else a cut that the client can see.

Invariant: an exchange belongs to one client connection and to at most one server connection, and both know it or
neither does. On the hot path (warm connection, small messages) there is no task, no future and no timer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.retry import Failure
from proxy.dataplane.accesslog import tunnelled
from proxy.dataplane.outbox import SMALL
from proxy.dataplane.presence import watch_half_closed
from proxy.dataplane.reading import LONG, SERVER_FULL
from proxy.dataplane.retrying import Retrying
from proxy.dataplane.sending import LET_GO
from proxy.dataplane.tunnel import Tunnel
from proxy.errors import (
    BAD_GATEWAY,
    CONNECT_TIMEOUT,
    GATEWAY_TIMEOUT,
    REQUEST_TIMEOUT,
    WITHDRAWN,
    Refusal,
    RefusedError,
)
from proxy.http1.body import Body, body_of
from proxy.http1.chunked import ChunkedError
from proxy.http1.forward import response_head
from proxy.http1.refusal import accept_of, render
from proxy.http1.request import END_OF_HEAD
from proxy.http1.response import Response

if TYPE_CHECKING:
    from proxy.dataplane.accesslog import Ended
    from proxy.dataplane.servers import ServerConnection, ServerPool
    from proxy.dataplane.site import Backend

INTERIM_ANSWERS = 32
"""1xx answers passed on per request; a server that sends more has lost its way."""

CLIENT_CLOSED_REQUEST = 499
"""Counted, never sent: the client left before its answer was whole (nginx's name for it)."""


class Exchange(Retrying):
    """See the module."""

    _response: Response | None = None
    _answer: Body | None = None
    _is_patient = False
    """Whether it has been given more than the time of one attempt."""
    _begun_at = 0.0
    """When the answer began, where it did not come in one piece."""

    @property
    def answer_begun(self) -> bool:
        """See `Sending`."""
        return self._response is not None

    @property
    def waits_for_continue(self) -> bool:
        """See `Sending`."""
        upload = self._upload
        return self.request.expects_continue and self._interims == 0 and upload is not None and upload.taken == 0

    @property
    def _has_come(self) -> bool:
        """Whether all of the request has been read: what is still to come of its body is no request."""
        return not self.request.length if self._upload is None else self._upload.done

    @property
    def _uploading(self) -> bool:
        return self._upload is not None and not self._upload.done

    def client_data(self, data: bytes) -> None:
        """A piece of the request's body, or what comes after it."""
        if self._upload is not None and not self._upload.done:
            self._upload.receive(data)
        else:
            self.client.ahead(data)

    # ---- the answer ----

    def server_data(self, data: bytes) -> None:
        """What the server says: its head, then its body."""
        if self._answer is not None:
            self._pass_on(self._answer, data)
            return
        if self._asked_in == self.client.worker.outbox.turn:
            # The head has not even been written: this answers somebody else.
            self._from_pool = True
            self._attempt_failed(Failure.CONNECT, BAD_GATEWAY, "the server spoke before it was asked")
            return
        if self._part:
            data = self._part + data
        end = data.find(END_OF_HEAD) + 4
        responses = self._site.responses
        try:
            if end < 4:
                responses.check_begun(data)
                self._part = data
                return
            response = responses.parse(data, end, self.request.method)
        except RefusedError as error:
            self._bad_answer(error.refusal, error.detail)
            return
        if response.status < 200:
            self._interim(response, data[end:])
        else:
            self._start_answer(response, data, end)

    def _pass_on(self, answer: Body, data: bytes) -> None:
        """Stream a piece of the body to the client."""
        client = self.client
        try:
            out = answer.feed(data)
        except ChunkedError as error:
            detail = f"the framing of the answer is broken: {error}"
            self._count_failure(BAD_GATEWAY, Failure.ANSWER, detail)
            self.fail(BAD_GATEWAY, detail)
            return
        if out:
            self._backend.tally.sent += len(out)  # type: ignore[union-attr]
            client.write(out)
            if self.copied is not None:
                self.copied.answer_piece(answer.payload)
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

    def _start_answer(self, response: Response, data: bytes, end: int) -> None:
        """Pass the head on, with as much of the body as has come along (`data` from `end`)."""
        client, request = self.client, self.request
        if response.status >= 500 and self._gives_up(response, len(data) - end):
            return
        self._response = response
        length = response.length
        if self.copied is not None:
            self.copied.answer_begun(response.status, data[:end])
        chunked = length < 0 and request.minor == 1
        if self._uploading or client.last_one or (length < 0 and not chunked):
            request.keep_alive = False  # only the end of the connection can end this, or must
        head = response_head(response, keep_alive=request.keep_alive, to_minor=request.minor, chunked=chunked,
                             set_cookie=self._choice.set_cookie)  # type: ignore[union-attr]
        have = len(data) - end
        if have == length:
            if length and self.copied is not None:
                self.copied.answer_piece(data[end:])
            whole = head + data[end:] if length else head
            if len(whole) > SMALL:
                client.write(whole)
            else:
                client.worker.outbox.add(client.transport, whole)
            self._complete()
            return
        client.write(head)
        self._begun_at = client.worker.clock()
        if self.trial is not None and response.status < 500:
            self._answered_well(self._backend, self._pool)  # type: ignore[arg-type]  # the rest may take an hour
        self._answer = body_of(length, self._site.chunk_bounds, reframed=chunked)
        client.deadline = client.worker.now + self._site.timeouts.response_idle
        if have:
            self.server_data(data[end:])
        if length - have > LONG and client.exchange is self:
            client.write_through()

    def _interim(self, response: Response, rest: bytes) -> None:
        """A 1xx: passed on to whoever can read it; a 101 makes a tunnel, if it was asked for."""
        request = self.request
        self._part = b""
        self._interims += 1
        if response.status == 101:
            if request.asks_upgrade is None or response.upgrade is None or self._uploading:
                self._bad_answer(BAD_GATEWAY, "the server switched protocols without being asked to")
            else:
                self._open_tunnel(response, rest)
            return
        if self._interims > INTERIM_ANSWERS:
            self._bad_answer(BAD_GATEWAY, f"the server sent more than {INTERIM_ANSWERS} interim answers")
            return
        if request.minor == 1:
            self.client.write(response_head(response, keep_alive=True, to_minor=1, chunked=False, set_cookie=None))
        if rest:
            self.server_data(rest)

    def _open_tunnel(self, response: Response, rest: bytes) -> None:
        """From here on bytes are bytes, both ways (RFC 9110 §7.8)."""
        client, server, backend, pool = self.client, self._server, self._backend, self._pool
        if server is None or backend is None or pool is None:
            return
        client.write(response_head(response, keep_alive=True, to_minor=1, chunked=False,
                                   set_cookie=self._choice.set_cookie))  # type: ignore[union-attr]
        worker = client.worker
        self._tell_copied(None)
        self._begun_at = worker.clock()
        backend.tally.done(101, self._begun_at - self.started)
        story = self._ended(pool, 101, self._begun_at)
        self._answered_well(backend, pool)
        self._end_rescue("answered")
        self._leave_spill()
        self._server = self._pool = None

        def release(received: int, sent: int) -> None:
            backend.fleet.release(pool)
            backend.fleet.places.call()
            if worker.log is not None:
                worker.log.add(tunnelled(story, received, sent, worker.clock()))

        Tunnel(client, server, release, self._site, backend.tally).open(rest, self._site)

    def _ended(self, pool: ServerPool | None, status: int, now: float, refused: str = "") -> Ended:
        """What the access log needs of this exchange, which ended at `now` and had a server of `pool` then."""
        request, answer, upload = self.request, self._answer, self._upload
        request.raw, request.parts = b"", LET_GO   # what is kept for a while is not to push other things out of caches
        if pool is None and self._excluded:
            pool = self._excluded[-1]              # nobody was left to try after it
        if answer is not None:
            sent, begun = answer.taken, self._begun_at
        elif self._response is not None:
            sent, begun = self._response.length, now
        else:
            sent, begun = 0, 0.0
        return (request, self._id, self._backend, self._choice, pool, self._attempts, status,
                0 if upload is None else upload.taken, sent, self.started, begun, now, refused)

    def _complete(self) -> None:
        """The answer is whole and written: count it, give the server back, let the client go on."""
        client, response, backend = self.client, self._response, self._backend
        server, pool = self._server, self._pool
        worker = client.worker
        now = worker.clock()
        tally = backend.tally  # type: ignore[union-attr]
        tally.done(response.status, now - self.started)  # type: ignore[union-attr]
        if self._answer is None:
            tally.sent += response.length  # type: ignore[union-attr]
        if self.copied is not None:
            self._tell_copied(backend.version, now - self.started)  # type: ignore[union-attr]
        log = worker.log
        if log is not None:
            log.add(self._ended(pool, response.status, now))  # type: ignore[union-attr]
        fleet = backend.fleet  # type: ignore[union-attr]
        fleet.release(pool)  # type: ignore[arg-type]
        if self.trial is not None or response.status >= 500 or not fleet.silent:  # type: ignore[union-attr]
            self._tell_fleet(response.status, now)  # type: ignore[union-attr]
        if self._spilled is not None or self._rescued is not None:
            self._leave_spill()
            self._end_rescue("answered")
        self._server = self._pool = None
        if self._upload is not None and not self._upload.done:
            # An early answer. Whether the server wants the rest is unknown, so nobody sends it any.
            self._upload.forget()
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

    def _tell_fleet(self, status: int, now: float) -> None:
        """What the answer says of the server that gave it, where that matters."""
        backend, pool = self._backend, self._pool
        if backend is None or pool is None:
            return
        fleet = backend.fleet
        if status < 500 and fleet.places.times and self._is_sent:
            asked_at = self._asked_at or self._trying_since or self.started
            if self._upload is not None:
                asked_at = max(asked_at, self._upload.ended_at)     # how long a client takes says nothing of a server
            fleet.places.took(now - asked_at)
        if status >= 500:
            backend.tally.not_good += 1
            self._count_error(status)
        else:
            self._answered_well(backend, pool)
        fleet.places.call()

    def _answered_well(self, backend: Backend, pool: ServerPool) -> None:
        """The server has shown what a trial is to show, and what matters while anything is watched."""
        if self.trial is not None or not backend.fleet.calm:
            trial, self.trial = self.trial, None
            backend.fleet.succeeded(pool, trial)

    def _tell_copied(self, version: str | None, took_s: float = 0.0) -> None:
        """The client's answer has ended: `version` gave it, or nobody did."""
        copied, self.copied = self.copied, None
        if copied is not None and version is not None:
            copied.answer_done(version, took_s)
        elif copied is not None:
            copied.answer_gone()

    # ---- what else can happen ----

    def server_lost(self, exc: Exception | None) -> None:
        """The server closed the connection: the end of the answer, or of the attempt."""
        server, self._server = self._server, None
        if self._response is None:
            self._from_pool = server is not None and server.idle_until > 0
            how = "reset" if exc is not None else "closed"
            failure = Failure.ANSWER if self._part or self._interims else Failure.CLOSED
            self._attempt_failed(failure, BAD_GATEWAY, f"the server {how} the connection before it answered")
            return
        ending = self._answer.close() if self._answer is not None and exc is None else None
        if ending is None:
            detail = "the server closed the connection in the middle of its answer"
            self._count_failure(BAD_GATEWAY, Failure.ANSWER, detail)
            self.fail(BAD_GATEWAY, detail)
            return
        if ending:
            self._backend.tally.sent += len(ending)  # type: ignore[union-attr]
            self.client.write(ending)
        self._complete()

    def server_eof(self) -> bool:
        """The server has said all it will; nothing is left to be sent to it."""
        return False

    def server_full(self) -> None:
        """The server does not read as fast as the client sends."""
        self.client.hold(SERVER_FULL)
        if self._server is not None:
            self._server.write_through()

    def server_drained(self) -> None:
        """The server caught up."""
        client, timeouts = self.client, self._site.timeouts
        client.release(SERVER_FULL)
        if self._uploading:
            client.deadline = client.worker.now + timeouts.request_idle
        elif self._response is None:
            client.deadline = client.worker.clock() + self.within_s  # it has the whole request from now on

    def client_full(self) -> None:
        """The client does not read as fast as the server answers."""
        self.client.write_through()
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
        if self._uploading and self._response is None:
            return False
        watch_half_closed(self.client, self)
        return True

    @property
    def _ends_with_connection(self) -> bool:
        """Whether nothing but the end of the connection tells the client where the answer ends."""
        return self._response is not None and self._response.length < 0 and self.request.minor == 0

    def client_lost(self) -> None:
        """The client is gone: the server is told at once, by the end of its connection."""
        worker = self.client.worker
        now = worker.clock()
        if self._backend is not None:
            tally = self._backend.tally
            tally.done(CLIENT_CLOSED_REQUEST, now - self.started)
            tally.not_good += 1
            self._count_attempt("gone")
        if worker.log is not None:
            worker.log.add(self._ended(self._pool, CLIENT_CLOSED_REQUEST, now))
        self._let_go()

    def withdraw(self) -> None:
        """The version is to finish nothing any more: go on with another where that is safe, else end it here."""
        if self._response is not None:
            self.fail(WITHDRAWN, "")
            return
        self._part = b""
        self.withdraw_unanswered(unsent=self._server is None or self._asked_in == self.client.worker.outbox.turn)

    def on_deadline(self) -> None:
        """Nothing has moved for too long; say whose turn it was."""
        client = self.client
        if self._response is not None and client.write_paused:
            self.client_lost()  # it does not read: as good as gone, and nothing to hold against the version
            client.cut(unframed=self._ends_with_connection)
        elif self._response is not None:
            detail = "the server did not go on with the answer in time"
            self._count_failure(GATEWAY_TIMEOUT, Failure.TIMEOUT, detail)
            self.fail(GATEWAY_TIMEOUT, detail)
        elif self._uploading and not client.held_by_server and not self.waits_for_continue:
            self.fail(REQUEST_TIMEOUT, "the request body did not go on in time")
        elif self._pool is None:
            client.deadline = client.worker.now + self._site.timeouts.request_idle  # it waits for a place, or backs off
        elif self._server is None:
            self._attempt_failed(Failure.CONNECT, CONNECT_TIMEOUT, "the server did not accept in time")
        elif self._waits_on:
            self._is_patient = True         # no other attempt may follow, so the time of one is no bound
            client.deadline = client.worker.now + self._site.timeouts.response_head - self.within_s
        else:
            self._part = b""
            what = "take the request" if self._uploading else "answer"
            self._attempt_failed(Failure.TIMEOUT, GATEWAY_TIMEOUT, f"the server did not {what} in time")

    @property
    def _waits_on(self) -> bool:
        """Whether the time of one attempt is over, for a request that is not to be sent twice."""
        return not (self._is_patient or self._uploading or self._is_idempotent) \
            and self.within_s < self._site.timeouts.response_head

    def _bad_answer(self, refusal: Refusal, detail: str) -> None:
        self._part = b""
        self._attempt_failed(Failure.ANSWER, refusal, detail)

    def fail(self, refusal: Refusal, detail: str) -> None:
        """Answer in the server's place; where its answer has begun, cut that so that nobody takes it for whole."""
        client, request = self.client, self.request
        worker = client.worker
        now = worker.clock()
        begun, whole_request = self._response is not None, self._has_come
        if self._backend is not None:
            self._backend.tally.done(refusal.status, now - self.started)
            self._backend.tally.not_good += 1
            self._count_attempt("withdrawn" if refusal is WITHDRAWN else "gone")
        worker.counters.refused(refusal.slug)
        accept = accept_of(request.raw)
        if worker.log is not None:
            worker.log.add(self._ended(self._pool, refusal.status, now, refusal.slug))
        self._let_go()
        if begun:
            client.cut(unframed=self._ends_with_connection)
            return
        keep_alive = request.keep_alive and whole_request and not client.last_one
        client.write(render(refusal, detail, accept=accept, keep_alive=keep_alive,
                            with_body=request.method != b"HEAD"))
        if keep_alive:
            client.done(now, keep_alive=True)
        else:
            client.linger()

    def _let_go(self) -> None:
        """Part from both: what they still send or expect belongs to nobody."""
        self._tell_copied(None)
        if self._upload is not None:
            self._upload.forget()
        self._part_from_server()
        self._end_rescue("failed")
