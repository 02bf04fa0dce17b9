"""The first third of an exchange: which version, which server, and how the request gets there.

`begin` chooses the version and builds the head; `_attempt` picks a server and sends it on a warm connection, or has one
made by a task. Each attempt reads the snapshot of its time (invariant 1). Where a version is down, or full, the request
goes elsewhere or waits for a place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from proxy.core.choice import Choice
from proxy.core.choose import choose
from proxy.core.health.effective import destination
from proxy.core.retry import IDEMPOTENT, Failure
from proxy.dataplane.upload import Upload
from proxy.errors import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    CONNECT_FAILED,
    NO_ROUTE,
    VERSION_BUSY,
    VERSION_DOWN,
    Refusal,
    RefusedError,
)
from proxy.http1.forward import request_head, with_host

if TYPE_CHECKING:
    import asyncio

    from proxy.core.router import CompiledRoute
    from proxy.dataplane.client import ClientConnection
    from proxy.dataplane.fleet.member import Trial
    from proxy.dataplane.guard import Guard
    from proxy.dataplane.servers import ServerConnection, ServerPool
    from proxy.dataplane.shadow.copied import Copied
    from proxy.dataplane.shadow.shadows import RouteShadow
    from proxy.dataplane.site import Backend, Site
    from proxy.http1.request import Request


LET_GO: list[bytes] = []
"""The parts of a request that nobody needs any more."""


class Sending(ABC):
    """See the module. The others are `Retrying` and `Exchange`, the only class that is made of both."""

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
    trial: Trial | None = None
    """What this attempt tries out."""
    regardless = False
    """Whether it goes to a version that is down, since there is nowhere else to go."""
    is_called = False
    """Whether it has waited for its place, and now has it."""
    _waiting: bytes | None = None
    """The head, while it waits."""
    _trying_since = 0.0
    """Since when servers have time to answer it, where that is later than its begin."""
    _is_counted = False
    """Whether it is counted how this attempt has ended."""
    _rescued: Backend | None = None
    """The version in whose place the baseline answers."""
    _spilled: Guard | None = None
    """Where it takes the place of a request that was meant for a version that is down."""
    _is_diverted = False
    """Whether the baseline was chosen for it, since its version was down."""
    _attempts = 0
    _tries = 0
    """Attempts at the versions that were chosen, or at the baseline that came to the rescue."""
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
    def within_s(self) -> float:
        """How long a server has for the head of its answer."""
        return self._site.timeouts.response_head if self._backend is None else self._backend.within_s

    @property
    def is_held(self) -> bool:
        """Whether it waits also for a version that is down."""
        backend = self._backend
        return backend is not None and backend.when_down == "hold" and backend.home is not None

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
        choice = self._choice
        if choice is None:                  # else it is tried again, and what was chosen still holds
            choice = self._choice = choose(route, request, self.client.worker.chance)
        self._backend = backend = site.backends[route.index][choice.index]
        backend.tally.inflight += 1
        if self._rescued is not None:
            self._go_home(backend)
            return True
        return not backend.fleet.down or self._find_instead(route, backend)

    # ---- where the version is down, or full

    def _find_instead(self, route: CompiledRoute, backend: Backend) -> bool:
        """Say where a request for a version that is down goes; False when it was refused."""
        fleet = backend.fleet
        if fleet.may_be_tried(self):
            return True
        backends = self._site.backends[route.index]
        to = destination(route.route, backend.version, {each.version: each.fleet.state for each in backends})
        if to == backend.version:
            self.regardless = True
            return True
        home = backend.home
        if to is not None and home is not None and home.guard.spill():
            backend.tally.diverted += 1
            self._is_diverted = True
            self._spilled, self.regardless = home.guard, home.fleet.down
            self._move_home(home)
            return True
        if to is not None:
            fleet.places.shed("spill")
        elif route.route.when_down == "hold" and home is not None and fleet.state == "down":
            return True                     # it will find no place, and wait for one
        if self.request.length and self._upload is None:
            self.request.keep_alive = False  # its body is still to come, and is no request
        self.fail(VERSION_DOWN, f"no server of version {backend.version} takes requests at present")
        return False

    def _go_home(self, backend: Backend) -> None:
        """To the rescue comes the baseline, whatever is chosen now, and however it is."""
        home = backend.home
        if home is not None:
            self._move_home(home)
        self.regardless = (home or backend).fleet.down

    def _move_home(self, home: Backend) -> None:
        """Have the baseline answer in the chosen version's place. No session is to begin at a version that did not."""
        choice = self._choice
        self._backend.tally.inflight -= 1  # type: ignore[union-attr]
        home.tally.inflight += 1
        self._backend = home
        cookie = choice.set_cookie if choice is not None and not home.keeps_sessions else None
        self._choice = Choice(home.index, home.version, choice.reason if choice is not None else "split", cookie)

    def _no_place(self, head: bytes) -> None:
        """Wait until there is a place, if there is room to wait."""
        backend = self._backend
        if self._upload is not None:
            self._upload.flow_to(None)
        if self.is_called or not backend.fleet.places.wait(self, backend.priority):  # type: ignore[union-attr]
            self._refuse_place()
        else:
            self._waiting = head

    def no_place(self) -> None:
        """It has waited in vain."""
        if self._waiting is not None:
            self._refuse_place()

    def _refuse_place(self) -> None:
        backend = self._backend
        if backend is not None:
            self.fail(VERSION_DOWN if backend.fleet.down else VERSION_BUSY,
                      f"no server of version {backend.version} has had a place for this request")

    def place_free(self) -> None:
        """Its turn has come; a snapshot of the meantime may send it elsewhere."""
        head, self._waiting = self._waiting, None
        if head is None:
            return
        if self._site is not self.client.worker.site:
            self.begin_again(called=True)
            return
        self._trying_since = self.client.worker.clock()
        self._set_deadline()
        self.is_called = True
        self._attempt(head)
        self.is_called = False

    @abstractmethod
    def begin_again(self, *, called: bool = False) -> None:
        """Choose by the snapshot of now, and make another attempt. `called`: it has its place where it has waited."""

    def _set_deadline(self) -> None:
        """Time for this attempt, within what there is for all of them."""
        upload = self._upload
        if upload is None or upload.done or self.waits_for_continue:
            since = self._trying_since or self.started
            self.client.deadline = min(since + self._site.timeouts.response_head,
                                       self.client.worker.clock() + self.within_s)

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
