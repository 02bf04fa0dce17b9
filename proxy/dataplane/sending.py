"""How a request gets to a server of the version that was chosen: its head, its copy, a connection, and the parting.

The second part of an exchange. `begin` has it placed and builds the head; `_attempt` picks a server and sends it on a
warm connection, or has one made by a task.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from proxy.core.retry import IDEMPOTENT, Failure
from proxy.dataplane.placing import Placing
from proxy.dataplane.upload import Upload
from proxy.errors import BODY_TOO_LARGE, CONNECT_FAILED, Refusal, RefusedError
from proxy.http1.forward import request_head, with_host

if TYPE_CHECKING:
    import asyncio

    from proxy.dataplane.servers import ServerConnection, ServerPool
    from proxy.dataplane.shadow.copied import Copied
    from proxy.dataplane.shadow.shadows import RouteShadow


LET_GO: list[bytes] = []
"""The parts of a request that nobody needs any more."""


class Sending(Placing):
    """See the module."""

    _id = b""
    _pool: ServerPool | None = None
    _server: ServerConnection | None = None
    _connecting: asyncio.Task[None] | None = None
    copied: Copied | None = None
    """What goes to the shadow."""
    _is_counted = False
    """Whether it is counted how this attempt has ended."""
    _attempts = 0
    _tries = 0
    """Attempts at the versions that were chosen, or at the baseline that came to the rescue."""
    _asked_in = -1
    """The turn at whose end the head is written."""
    _excluded: tuple[ServerPool, ...] = ()

    def count_received(self, size: int) -> None:
        """So many bytes of the request's body have come."""
        if self._backend is not None:
            self._backend.tally.received += size

    def begin(self) -> None:
        """Choose, and make the first attempt."""
        request, client = self.request, self.client
        if not self._choose():
            return
        self._id = client.worker.request_id(request, client.hop)
        client.deadline = self.started + self._backend.within_s  # type: ignore[union-attr]
        if request.length and not self._expect_body(request.length):
            return
        shadow = self._backend.shadow  # type: ignore[union-attr]
        if shadow is None or not shadow.plan.wants(request, shadow.budget):
            self._attempt(self._build_head())
        else:
            self._attempt_and_copy(shadow)

    def _attempt_and_copy(self, shadow: RouteShadow) -> None:
        """Send the request, and then its copy: the client comes first."""
        head = self._build_head()
        self._attempt(head)
        if self.client.exchange is not self:
            return                          # there was no place for it
        if self._waiting is not None:
            shadow.budget.skip("shed")      # clients wait: the shadow is not to get what the version cannot take
            return
        self.copied = copied = shadow.copied(self.client.worker, self._site, self.request, self._id, head)
        if copied is not None:
            copied.begin()

    def _build_head(self) -> bytes:
        """The head for the server. The request's parts are let go: of thousands in flight they would fill caches."""
        request = self.request
        head = request_head(request, self.client.hop, self._id)
        request.parts = LET_GO
        return head if request.host else with_host(head, self._backend.authority)  # type: ignore[union-attr]

    def _expect_body(self, length: int) -> bool:
        """Prepare for a body; False when it is refused for its size."""
        limit = self._site.limits.body
        self._upload = Upload(self, length, self._site, self.started, self._kept_of_body)
        if limit is not None and length > limit:
            self.fail(BODY_TOO_LARGE, f"the body is announced with more than {limit} bytes")
            return False
        return True

    @property
    @abstractmethod
    def _kept_of_body(self) -> int:
        """Bytes of the body that are kept, in case that another attempt is made."""

    def _attempt(self, head: bytes) -> None:
        """Send the head to a server of the version, on a warm connection if there is one."""
        fleet = self._backend.fleet  # type: ignore[union-attr]
        pool = fleet.acquire() if fleet.calm else fleet.choose(self)
        if pool is None:
            self._no_place(head)
            return
        self._attempts += 1
        self._tries += 1
        self._pool = pool
        if not pool.idle:
            self._connect(pool, head)
            return
        server = pool.idle.popitem()[0]
        if (self._upload is not None or self.request.method not in IDEMPOTENT) and server.seems_stale():
            server.transport.abort()
            self._connect(pool, head)
            return
        server.exchange = self
        self._server = server
        if self._upload is None:
            self._asked_in = self.client.worker.outbox.add(server.transport, head)
        else:
            server.transport.write(head)
            self._upload.flow_to(server)

    def _connect(self, pool: ServerPool, head: bytes) -> None:
        """The slow path: a connection has to be made first. Meanwhile the body waits."""
        if self._upload is not None:
            self._upload.flow_to(None)
        self._connecting = self.client.worker.spawn(self._connect_and_send(pool, head), f"connect {pool.label}")

    async def _connect_and_send(self, pool: ServerPool, head: bytes) -> None:
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
        server.exchange = self  # type: ignore[assignment]  # it is an Exchange
        self._server = server
        server.transport.write(head)
        if self._upload is not None:
            self._upload.flow_to(server)

    @abstractmethod
    def _attempt_failed(self, failure: Failure, refusal: Refusal, detail: str) -> None:
        """Try again where that is allowed, otherwise answer."""

    def _part_from_server(self) -> None:
        """What the server still sends or expects belongs to nobody."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        server, pool, backend = self._server, self._pool, self._backend
        self._server = self._pool = None
        self._abandon(server)
        if backend is not None:
            if self._waiting is not None:
                self._waiting = None
                backend.fleet.places.leave(self)
            if self.trial is not None:
                backend.fleet.told_nothing(pool, self.trial)
            if pool is not None:
                backend.fleet.release(pool)
                backend.fleet.places.call()
        self.trial = None
        self._is_counted = False
        self._leave_spill()

    def _leave_spill(self) -> None:
        if self._spilled is not None:
            self._spilled.unspill()
            self._spilled = None

    @staticmethod
    def _abandon(server: ServerConnection | None) -> None:
        if server is not None:
            server.exchange = None
            server.transport.abort()
