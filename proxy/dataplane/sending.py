"""The first half of an exchange: which version, which server, and how the request gets there.

`begin` chooses the version and builds the head; `_attempt` picks a server and sends it on a warm connection, or has one
made by a task. An attempt that failed is followed by another only where invariant 9 allows it; each attempt reads the
snapshot of its time (invariant 1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from proxy.core.choose import choose
from proxy.core.retry import IDEMPOTENT, Failure, may_retry
from proxy.dataplane.upload import Upload
from proxy.errors import BAD_GATEWAY, BAD_REQUEST, BODY_TOO_LARGE, CONNECT_FAILED, NO_ROUTE, Refusal, RefusedError
from proxy.http1.forward import request_head, with_host

if TYPE_CHECKING:
    import asyncio

    from proxy.core.choice import Choice
    from proxy.dataplane.client import ClientConnection
    from proxy.dataplane.servers import ServerConnection, ServerPool
    from proxy.dataplane.shadow.copied import Copied
    from proxy.dataplane.shadow.shadows import RouteShadow
    from proxy.dataplane.site import Backend, Site
    from proxy.http1.request import Request


LET_GO: list[bytes] = []
"""The parts of a request that nobody needs any more."""


class Sending(ABC):
    """See the module. The other half is `Exchange`, the only class that is made of it."""

    # Defaults stand in the class: an instance holds what has changed, and most exchanges change little.
    _id = b""
    _choice: Choice | None = None
    _backend: Backend | None = None
    _pool: ServerPool | None = None
    _server: ServerConnection | None = None
    _connecting: asyncio.Task[None] | None = None
    _upload: Upload | None = None
    """The request's body, if it has one."""
    copied: Copied | None = None
    """What goes to the shadow."""
    _attempts = 0
    _asked_in = -1
    """The turn at whose end the head is written."""
    _excluded: tuple[ServerPool, ...] = ()

    def __init__(self, client: ClientConnection, request: Request, site: Site) -> None:
        self.client = client
        self.request = request
        self._site = site
        self.started = client.worker.clock()

    @abstractmethod
    def fail(self, refusal: Refusal, detail: str) -> None:
        """End the exchange for this reason."""

    @property
    @abstractmethod
    def answer_begun(self) -> bool:
        """Whether the client has been sent anything of the final answer."""

    @property
    def steered_to(self) -> tuple[str, str] | None:
        """The route and the version that have this request; None while none has."""
        return None if self._backend is None else self._backend.tally.key

    def count_received(self, size: int) -> None:
        """So many bytes of the request's body have come."""
        if self._backend is not None:
            self._backend.tally.received += size

    @property
    @abstractmethod
    def waits_for_continue(self) -> bool:
        """Whether the client rightly holds its body back until the server asks for it."""

    def begin(self) -> None:
        """Choose, and make the first attempt."""
        request, client = self.request, self.client
        if not self._choose():
            return
        self._id = client.worker.request_id(request, client.hop)
        client.deadline = self.started + self._site.timeouts.response_head
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
        self.copied = copied = shadow.copied(self.client.worker, self._site, self.request, self._id, head)
        if copied is not None:
            copied.begin()

    def _build_head(self) -> bytes:
        """The head for the server. The request's parts are let go: of thousands in flight they would fill caches."""
        request = self.request
        head = request_head(request, self.client.hop, self._id)
        request.parts = LET_GO
        return head if request.host else with_host(head, self._backend.authority)  # type: ignore[union-attr]

    def _choose(self) -> bool:
        """Find the route and the version; False when the request was refused instead."""
        request, site = self.request, self._site
        table = site.hosts.get(request.host) or site.table(request.host)
        route = None if table is None else table.only or table.find(request)
        if route is None:
            self._refuse_unrouted()
            return False
        choice = choose(route, request, self.client.worker.chance)
        self._choice = choice
        self._backend = backend = site.backends[route.index][choice.index]
        backend.tally.inflight += 1
        return True

    def _refuse_unrouted(self) -> None:
        request = self.request
        if not self._site.is_host(request.host):
            request.keep_alive = False
            self.fail(BAD_REQUEST, "Host is not a host with an optional port")
            return
        if request.length:
            request.keep_alive = False  # its body is still to come, and is no request
        self.fail(NO_ROUTE, "no route matches the host, path and method of this request")

    def _expect_body(self, length: int) -> bool:
        """Prepare for a body; False when it is refused for its size."""
        limit = self._site.limits.body
        self._upload = Upload(self, length, self._site, self.started)
        if limit is not None and length > limit:
            self.fail(BODY_TOO_LARGE, f"the body is announced with more than {limit} bytes")
            return False
        return True

    def _attempt(self, head: bytes) -> None:
        """Send the head to a server of the version, on a warm connection if there is one."""
        servers = self._backend.servers  # type: ignore[union-attr]
        self._attempts += 1
        self._pool = pool = servers.acquire()
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
            outbox = self.client.worker.outbox
            outbox.add(server.transport, head)
            self._asked_in = outbox.turn
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

    def _attempt_failed(self, failure: Failure, refusal: Refusal, detail: str) -> None:
        """Try again where invariant 9 allows it, with the snapshot of now; otherwise answer."""
        self._count_failure(refusal)
        if failure is Failure.CONNECT and refusal is not BAD_GATEWAY and self._pool is not None:
            self._excluded = (*self._excluded, self._pool)
        self._try_again(failure, refusal, detail)

    def _try_again(self, failure: Failure, refusal: Refusal, detail: str) -> None:
        """Make another attempt, or answer with the refusal where that is not allowed."""
        sent = self._upload.sent if self._upload is not None else 0
        if not may_retry(self.request.method, failure, body_taken=sent, attempt=self._attempts):
            self.fail(refusal, detail)
            return
        given_up = self._backend
        given_up.tally.inflight -= 1  # type: ignore[union-attr]
        self._part_from_server()
        self._backend = None
        if not self._read_again() or not self._choose():
            return
        head = self._build_head()
        pool = self._backend.servers.acquire(self._excluded)  # type: ignore[attr-defined]
        if pool is None:
            self.fail(refusal, detail)  # every server there is has just failed this request
            return
        given_up.tally.retries += 1  # type: ignore[union-attr]
        self._attempts += 1
        self._pool = pool
        self._connect(pool, head)  # never on a pooled connection, which may be as stale as the last

    def _read_again(self) -> bool:
        """Read the request as it came, by the snapshot of now; False when that refuses it."""
        self._site = self.client.worker.site
        before = self.request
        try:
            self.request = self._site.requests.parse(before.raw)
        except RefusedError as error:
            self.fail(error.refusal, error.detail)
            return False
        self.request.client = before.client
        return True

    def _count_failure(self, refusal: Refusal) -> None:
        """An attempt failed at this server: counted per attempt, whatever the client is answered."""
        if self._backend is not None and self._pool is not None:
            self.client.worker.counters.upstream_error(self._backend.version, self._pool.label, refusal.slug)

    def _part_from_server(self) -> None:
        """What the server still sends or expects belongs to nobody."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        server, pool = self._server, self._pool
        self._server = self._pool = None
        self._abandon(server)
        if pool is not None:
            self._backend.servers.release(pool)  # type: ignore[union-attr]

    @staticmethod
    def _abandon(server: ServerConnection | None) -> None:
        if server is not None:
            server.exchange = None
            server.transport.abort()
