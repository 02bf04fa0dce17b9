"""The third part of an exchange: what follows an attempt that failed.

Another attempt, at another server, where invariant 9 and the route's rule allow it and its budget affords it; else the
baseline comes to the rescue of a candidate, where the operator wants that; else the client is told. Each failure is
counted per attempt, whatever the client is answered in the end.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import TYPE_CHECKING

from proxy.core.retry import IDEMPOTENT, RETRIED_STATUSES, Failure, Retry, may_rescue, may_retry, pause_s
from proxy.dataplane.sending import Sending
from proxy.errors import BAD_GATEWAY, OVERLOADED, WITHDRAWN, Refusal, RefusedError

if TYPE_CHECKING:
    from proxy.dataplane.servers import ServerPool
    from proxy.dataplane.site import Backend
    from proxy.http1.response import Response

_KEY = re.compile(rb"\r\nIdempotency-Key:", re.IGNORECASE)
_WITHDRAWAL = Retry()
"""What is taken from a version by the operator is tried again by the plain rule, whatever the route's is."""


class Retrying(Sending):
    """See the module."""

    _excluded: tuple[ServerPool, ...] = ()
    """Servers that have failed this request."""
    _from_pool = False
    """Whether the attempt that failed used a connection that had been idle: it says little about the server."""
    _part = b""
    """Of the answer's head, while it is not complete."""
    _interims = 0
    """1xx answers in this attempt."""

    @property
    def _is_idempotent(self) -> bool:
        if self.request.method in IDEMPOTENT:
            return True
        backend = self._backend
        return backend is not None and backend.retry.idempotency_key and _KEY.search(self.request.raw) is not None

    @property
    def _kept_of_body(self) -> int:
        most = self._backend.retry.body  # type: ignore[union-attr]
        return most if most and self._is_idempotent else 0

    @property
    def _is_repeatable(self) -> bool:
        return self._upload is None or self._upload.is_repeatable

    # ---- counting

    def _count_failure(self, refusal: Refusal, failure: Failure, detail: str) -> None:
        """An attempt failed at this server: counted per attempt, whatever the client is answered."""
        backend, pool = self._backend, self._pool
        if backend is None or pool is None:
            return
        self.client.worker.counters.upstream_error(backend.version, pool.label, refusal.slug)
        self._count_attempt(failure.value)
        trial, self.trial = self.trial, None
        if refusal is not OVERLOADED and not self._from_pool:
            backend.fleet.failed(pool, trial, detail, reached=failure is not Failure.CONNECT)
        elif trial is not None:
            backend.fleet.told_nothing(pool, trial)     # we are out of descriptors, or the connection was stale

    def _count_attempt(self, outcome: str) -> None:
        """The attempt has ended, and not with a good answer: counted once, whatever still becomes of the request."""
        if self._pool is not None and not self._is_counted:
            self._is_counted = True
            self._backend.tally.attempt_failed(outcome)  # type: ignore[union-attr]

    def _count_error(self, status: int) -> None:
        """The server answered with a 5xx."""
        backend, pool = self._backend, self._pool
        self._count_attempt(Failure.STATUS.value)
        trial, self.trial = self.trial, None
        backend.fleet.failed(pool, trial, f"it answers {status}",  # type: ignore[union-attr, arg-type]
                             by_server=status in RETRIED_STATUSES)

    # ---- what follows

    def _attempt_failed(self, failure: Failure, refusal: Refusal, detail: str) -> None:
        """See `Sending`."""
        self._count_failure(refusal, failure, detail)
        self._go_on_after(failure, refusal, detail)

    def _gives_up(self, response: Response, have: int) -> bool:
        """Whether this 5xx is not the client's answer, because another attempt is made. `have`: bytes of its body."""
        retry = self._may_retry(Failure.STATUS, response.status)
        if not (retry or self._may_rescue(Failure.STATUS, response.status)) or not self._affords():
            return False
        self._count_error(response.status)
        server, pool = self._server, self._pool
        if server is not None and pool is not None and have == response.length and response.keep_alive \
                and self._is_sent and not server.transport.get_write_buffer_size():
            self._server = None             # it is done with us, and fit for the next
            pool.give_back(server, self.client.worker.now + self._site.timeouts.upstream_keepalive)
        self._go_on(retry, Failure.STATUS, BAD_GATEWAY, f"a server answered {response.status}")
        return True

    @property
    def _is_sent(self) -> bool:
        """Whether the server has been sent all of the request."""
        return self._upload is None or (self._upload.done and not self._upload.waiting)

    def _affords(self) -> bool:
        """Whether the route's budget has one more retry or rescue; if so, it is spent."""
        worker, backend = self.client.worker, self._backend
        if backend is None or backend.guard.may_spend(worker.clock()):
            return backend is not None
        worker.counters.budget_exhausted(backend.tally.route)
        return False

    def _go_on_after(self, failure: Failure, refusal: Refusal, detail: str) -> None:
        retry = self._may_retry(failure)
        if (retry or self._may_rescue(failure)) and self._affords():
            self._go_on(retry, failure, refusal, detail)
        else:
            self.fail(refusal, detail)

    def _go_on(self, retry: bool, failure: Failure, refusal: Refusal, detail: str) -> None:
        """Try again, or have it rescued."""
        backend, pool = self._backend, self._pool
        if backend is None:
            return
        if not retry:
            self._rescue(backend, refusal, detail)
            return
        if pool is not None and (not self._from_pool or backend.fleet.has_other((*self._excluded, pool))):
            self._excluded = (*self._excluded, pool)
        self._start_anew(refusal, detail, self._pause_after(failure, backend.retry))

    def _may_retry(self, failure: Failure, status: int = 0) -> bool:
        backend = self._backend
        if backend is None or not may_retry(backend.retry, failure, idempotent=self._is_idempotent,
                                            repeatable=self._is_repeatable, attempt=self._tries, status=status):
            return False
        if failure is Failure.TIMEOUT and not self._has_time:
            return False
        tried = self._excluded if self._pool is None else (*self._excluded, self._pool)
        leaves = (backend.fleet.down and backend.home is not None and not self.regardless
                  and backend.when_down == "baseline" and not backend.rescue)
        steered = self._site is not self.client.worker.site     # perhaps it goes elsewhere by now
        return self._from_pool or leaves or steered or backend.fleet.has_other(tried)

    @property
    def _has_time(self) -> bool:
        """Whether a server would still have time to answer."""
        since = self._trying_since or self.started
        return self.client.worker.clock() < since + self._site.timeouts.response_head

    def _may_rescue(self, failure: Failure, status: int = 0) -> bool:
        backend = self._backend
        return (backend is not None and backend.rescue and backend.home is not None and self._rescued is None
                and may_rescue(failure, idempotent=self._is_idempotent, repeatable=self._is_repeatable, status=status))

    def _pause_after(self, failure: Failure, rule: Retry) -> float:
        """A server that could not be reached, or closed a connection, is not waited for: another one is asked."""
        if self._tries < 2 and failure in (Failure.CONNECT, Failure.CLOSED):
            return 0.0
        if failure in (Failure.CONNECT, Failure.TIMEOUT):
            return 0.0
        return pause_s(rule, self._tries, secrets.randbelow(1 << 16) / (1 << 16))

    def _give_up_attempt(self) -> bool:
        """Let go of version and server, and read the request as it came; False when the snapshot of now refuses it."""
        if self._site is not self.client.worker.site or self._is_diverted:
            self._choice, self._is_diverted = None, False   # it may belong elsewhere by now
        self._step_back()
        self._backend.tally.inflight -= 1  # type: ignore[union-attr]
        self._backend = None
        self.regardless = False
        self._site = self.client.worker.site
        before = self.request
        try:
            self.request = self._site.requests.parse(before.raw)
        except RefusedError as error:
            self.fail(error.refusal, error.detail)
            return False
        self.request.client = before.client
        return True

    def _step_back(self) -> None:
        """Let go of the server; the version has the request still."""
        self._part_from_server()
        self._part, self._interims = b"", 0
        self._from_pool = False
        if self._upload is not None:
            self._upload.rewind()

    def _start_anew(self, refusal: Refusal, detail: str, pause: float = 0.0) -> None:
        """Make another attempt, by the snapshot of then. The refusal: the answer where no server is left.

        It is counted where it is made: it may find that all servers have got full in the meantime.
        """
        given_up = self._backend
        if pause > 0:
            self._step_back()
            self._connecting = self.client.worker.spawn(self._start_later(refusal, detail, pause), "back off")
        elif self._give_up_attempt() and self._choose() and self._attempt_elsewhere(refusal, detail):
            given_up.tally.retries += 1  # type: ignore[union-attr]

    async def _start_later(self, refusal: Refusal, detail: str, pause: float) -> None:
        await asyncio.sleep(pause)
        self._connecting = None
        self._start_anew(refusal, detail)

    def begin_again(self, *, called: bool = False) -> None:
        """See `Sending`."""
        waited_at = None if self._backend is None else self._backend.fleet
        if self._give_up_attempt() and self._choose():
            self._trying_since, self._asked_at = self.client.worker.clock(), 0.0
            self._set_deadline()
            self.is_called = called and self._backend.fleet is waited_at  # type: ignore[union-attr]
            self._attempt(self._build_head())
            self.is_called = False

    def _attempt_elsewhere(self, refusal: Refusal, detail: str) -> bool:
        """Whether another server has it now, or it waits for one; it was refused, or is rescued, otherwise."""
        backend = self._backend
        head = self._build_head()
        fleet = backend.fleet  # type: ignore[union-attr]
        self.is_called = True               # it has had its place, and does not stand in line once more
        pool = fleet.acquire(self._excluded) if fleet.calm else fleet.choose(self, self._excluded)
        self.is_called = False
        if pool is None:
            return self._nobody_is_left(head, refusal, detail)
        self._attempts += 1
        self._tries += 1
        self._pool = pool
        self._asked_at = self.client.worker.clock()
        self._set_deadline()
        self._connect(pool, head)           # never on a pooled connection, which may be as stale as the last
        return True

    def _nobody_is_left(self, head: bytes, refusal: Refusal, detail: str) -> bool:
        """Every server there is has just failed this request, or has no place; whether it waits for one."""
        backend = self._backend
        untried = backend is not None and any(pool not in self._excluded for pool in backend.fleet.servers)
        if refusal is WITHDRAWN or (self._rescued is not None and untried):
            self._no_place(head)            # it has failed nowhere, or not here
            return self._waiting is not None
        if backend is not None and self._may_rescue(Failure.CONNECT) and self._affords():
            self._rescue(backend, refusal, detail)
        else:
            self.fail(refusal, detail)
        return False

    def _rescue(self, candidate: Backend, refusal: Refusal, detail: str) -> None:
        """Have the baseline answer what the candidate could not."""
        if not self._give_up_attempt():
            return
        self._rescued, self._tries = candidate, 0
        self._trying_since = self.client.worker.clock()
        if self._choose():
            self._attempt_elsewhere(refusal, detail)

    def _end_rescue(self, outcome: str) -> None:
        """The client has its answer."""
        if self._rescued is not None:
            self._rescued.tally.rescued(outcome)
            self._rescued = None

    def withdraw_unanswered(self, *, unsent: bool) -> None:
        """The operator took the version out of service: make the request anew where that is safe, else say so."""
        backend = self._backend
        detail = "an operator took the version out of service that was working on this request"
        failure = Failure.CONNECT if unsent else Failure.CLOSED
        if backend is None or not may_retry(_WITHDRAWAL, failure, idempotent=self._is_idempotent,
                                            repeatable=self._is_repeatable, attempt=self._tries):
            self.fail(WITHDRAWN, detail)
            return
        self._count_attempt("withdrawn")
        self._start_anew(WITHDRAWN, detail)
