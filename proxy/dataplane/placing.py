"""Where a request goes: which version takes it, what becomes of it where that one is down, and its place in the queue.

The first part of an exchange. Each choice reads the snapshot of its time (invariant 1). What a version that is down
cannot take goes to the baseline, fails or waits, as the route's `when_down` says; what finds no place waits for one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from proxy.core.choice import Choice
from proxy.core.choose import choose
from proxy.core.health.effective import destination
from proxy.errors import BAD_REQUEST, NO_ROUTE, VERSION_BUSY, VERSION_DOWN, Refusal

if TYPE_CHECKING:
    from proxy.core.router import CompiledRoute
    from proxy.dataplane.client import ClientConnection
    from proxy.dataplane.fleet.member import Trial
    from proxy.dataplane.guard import Guard
    from proxy.dataplane.site import Backend, Site
    from proxy.dataplane.upload import Upload
    from proxy.http1.request import Request


class Placing(ABC):
    """See the module. The others are `Sending`, `Retrying` and `Exchange`, the only class that is made of all four."""

    # Defaults stand in the class: an instance holds what has changed, and most exchanges change little.
    _choice: Choice | None = None
    _backend: Backend | None = None
    _upload: Upload | None = None
    """The request's body, if it has one."""
    trial: Trial | None = None
    """What this attempt tries out."""
    regardless = False
    """Whether it goes to a version that is down, since there is nowhere else to go."""
    is_called = False
    """Whether it has waited for its place, and now has it."""
    _waiting: bytes | None = None
    """The head, while it waits."""
    _waits_since = 0.0
    """Since when it has waited for its place, of the worker's clock."""
    _trying_since = 0.0
    """Since when servers have time to answer it, where that is later than its begin."""
    _asked_at = 0.0
    """When the present attempt began, where it is not the first."""
    _rescued: Backend | None = None
    """The version in whose place the baseline answers."""
    _spilled: Guard | None = None
    """Where it takes the place of a request that was meant for a version that is down."""
    _is_diverted = False
    """Whether the baseline was chosen for it, since its version was down."""

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
    @abstractmethod
    def waits_for_continue(self) -> bool:
        """Whether the client rightly holds its body back until the server asks for it."""

    @abstractmethod
    def begin_again(self, *, called: bool = False) -> None:
        """Choose by the snapshot of now, and make another attempt. `called`: it has its place where it has waited."""

    @abstractmethod
    def _attempt(self, head: bytes) -> None:
        """Send this head to a server of the version that was chosen."""

    @property
    def steered_to(self) -> tuple[str, str] | None:
        """The route and the version that have this request; None while none has."""
        return None if self._backend is None else self._backend.tally.key

    @property
    def within_s(self) -> float:
        """How long a server has for the head of its answer."""
        return self._site.timeouts.response_head if self._backend is None else self._backend.within_s

    @property
    def is_held(self) -> bool:
        """Whether it waits also for a version that is down."""
        backend = self._backend
        return backend is not None and backend.when_down == "hold" and backend.home is not None

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

    def _refuse_unrouted(self) -> None:
        request = self.request
        if not self._site.is_host(request.host):
            request.keep_alive = False
            self.fail(BAD_REQUEST, "Host is not a host with an optional port")
            return
        self.fail(NO_ROUTE, "no route matches the host, path and method of this request")

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
        """Wait until there is a place, if there is room to wait; who was called is there still, and waits on."""
        backend: Backend = self._backend  # type: ignore[assignment]
        places = backend.fleet.places
        if self._upload is not None:
            self._upload.flow_to(None)
        if self.is_called:
            places.wait_on(self, backend.priority, self._waits_since)
        else:
            self._waits_since = self.client.worker.clock()
            if not places.wait(self, backend.priority):
                self._refuse_place()
                return
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
        self._trying_since, self._asked_at = self.client.worker.clock(), 0.0
        self._set_deadline()
        self.is_called = True
        self._attempt(head)
        self.is_called = False

    def _set_deadline(self) -> None:
        """Time for this attempt, within what there is for all of them; while a body comes, for its next piece."""
        upload = self._upload
        if upload is None or upload.done or self.waits_for_continue:
            since = self._trying_since or self.started
            self.client.deadline = min(since + self._site.timeouts.response_head,
                                       self.client.worker.clock() + self.within_s)
        else:                               # the body is under way: its next piece, or the server, sets a later one
            self.client.deadline = self.client.worker.now + self._site.timeouts.request_idle
