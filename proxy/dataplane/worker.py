"""The worker: one process, one loop, nothing but the data plane.

It owns the listening sockets it was given, every connection, and the one `site` that requests read. Changing how it
serves is `apply`: compile, then one assignment (invariant 2).
"""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
from collections.abc import Callable, Collection, Coroutine, Iterable
from functools import partial
from itertools import chain, count, islice
from typing import TYPE_CHECKING, Any

from proxy.clock import Clock, monotonic
from proxy.core.split import advance
from proxy.dataplane.accesslog import Logbook
from proxy.dataplane.admission import Admission
from proxy.dataplane.client import ClientConnection
from proxy.dataplane.grace import Tunnels
from proxy.dataplane.listener import Listener
from proxy.dataplane.outbox import Outbox
from proxy.dataplane.servers import ServerPool
from proxy.dataplane.shadow.shadows import Shadows
from proxy.dataplane.site import Site
from proxy.telemetry.counters import Counters

if TYPE_CHECKING:
    from proxy.core.router import CompiledRoute
    from proxy.core.snapshot import Snapshot
    from proxy.dataplane.upload import Upload
    from proxy.http1.forward import Hop
    from proxy.http1.request import Request
    from proxy.ipc.messages import Noticed

SWEEP_S = 0.25
SWEEPS_PER_S = 4
QUIET_S = 1.0
"""How long an idle connection stays open after draining began: a request that is already on its way is answered."""

_REQUEST_ID = re.compile(rb"[!-~]{1,128}")


class Dice:
    """The worker's chance: smooth draws per route, and keys nobody can guess."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def draw(self, route: CompiledRoute, /) -> float:
        """The next point of the route's sequence; its start differs from worker to worker."""
        last = self._last.get(route.name)
        drawn = self._last[route.name] = secrets.randbelow(1 << 32) / (1 << 32) if last is None else advance(last)
        return drawn

    def fresh_key(self) -> bytes:
        """A key for a client that has none."""
        return secrets.token_hex(12).encode("ascii")


class Worker:
    """See the module. `workers`: how many share `limits.connections` and `limits.memory` evenly."""

    def __init__(self, snapshot: Snapshot, *, workers: int = 1, clock: Clock = monotonic) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = clock
        self.now = clock()
        """The time of the last sweep: exact enough for deadlines, and costs nothing to read."""
        self.counters = Counters()
        self.admission = Admission(self.counters, workers)
        self.workers = workers
        self._tasks: set[asyncio.Task[None]] = set()
        self.chance = Dice()
        self.outbox = Outbox(self.loop)
        self._retired: dict[ServerPool, float] = {}
        """Pools that get no exchange any more, while they have connections; until when one may be under way to be."""
        self.shadows = Shadows(self, ServerPool)
        self.shadows.follow(snapshot, workers)
        self.tell: Callable[[Noticed], None] = _nobody_hears
        """Told what traffic has shown of a server or a version."""
        self._probed: dict[str, frozenset[str]] = {}
        self.site = Site(snapshot, self)
        self.admission.follow(self.site)
        self._logbook = Logbook(clock, self.counters)
        self.log = self._logbook.follow(snapshot.policy.access_log)
        """The access log; None where it is off."""
        self.clients: set[ClientConnection] = set()
        self.uploads: set[Upload] = set()
        self.tunnels = Tunnels()
        self._id_prefix = secrets.token_hex(8).encode("ascii")
        self._ids = map(b"%016x".__mod__, count(1))  # counted and written without a frame of Python
        self._listeners: list[Listener] = []
        self._turn = 0
        self._sweeping = self.loop.call_later(SWEEP_S, self._sweep)
        self._is_leaving = False
        self._emptied: asyncio.Future[None] | None = None
        self._on_quiet: Callable[[], None] | None = None

    # ---- what it serves by

    def apply(self, snapshot: Snapshot, cut: Collection[tuple[str, str]] = ()) -> None:
        """Serve by this snapshot from the next request on.

        `cut`: (route, version) pairs whose running exchanges and tunnels are ended then.
        """
        before = self.site
        self.shadows.follow(snapshot, self.workers)
        site = Site(snapshot, self, before)
        self.site = site
        self.admission.follow(site)
        self.log = self._logbook.follow(snapshot.policy.access_log)
        self.tunnels.steer(before, site, self.clock())
        self._send_on(before, site)
        if before.pools is not site.pools:
            for server, pool in before.pools.items():
                if server not in site.pools:
                    self.retire(pool)
        if cut:
            self._cut(frozenset(cut))
        self._regulate()

    def _send_on(self, before: Site, site: Site) -> None:
        """Nobody waits for a version that is no more, or has lost its last weight."""
        for fleet in before.fleets.values():
            if fleet.places.room:
                fleet.places.send_on(lambda asker: asker.steered_to is None or not site.carries(asker.steered_to))
        if before.fleets is not site.fleets:
            self.counters.retain_fleets(site.fleets)

    def hear(self, news: Noticed) -> None:
        """What another worker has noticed."""
        fleet = self.site.fleets.get(news.version)
        if fleet is not None:
            fleet.hear(news)

    def hear_probes(self, out: Iterable[tuple[str, str]]) -> None:
        """These servers (version, address), and no others, are out by what probes say."""
        probed: dict[str, set[str]] = {}
        for version, address in out:
            probed.setdefault(version, set()).add(address)
        self._probed = {version: frozenset(addresses) for version, addresses in probed.items()}
        for version, fleet in self.site.fleets.items():
            fleet.hear_probes(self.probed_out(version))

    def probed_out(self, version: str) -> frozenset[str]:
        """The addresses of this version that are out by what probes say."""
        return self._probed.get(version, frozenset())

    def _cut(self, pairs: frozenset[tuple[str, str]]) -> None:
        """End what these versions are working on."""
        for client in list(self.clients):
            exchange = client.exchange
            if exchange is not None and exchange.steered_to in pairs:
                exchange.withdraw()

    def request_id(self, request: Request, hop: Hop) -> bytes:
        """The id that follows this request through every log: a trusted proxy's, else one of our own."""
        if hop.trusted:
            given = request.header(b"x-request-id")
            if given is not None and _REQUEST_ID.fullmatch(given):
                return given
        return self._id_prefix + next(self._ids)

    # ---- connections

    def listen(self, sock: socket.socket) -> None:
        """Accept connections from this listening socket. The worker owns its copy; whoever made it keeps it alive."""
        listener = Listener(self.loop, sock, partial(ClientConnection, self), self._room, self.admission)
        self._listeners.append(listener)
        listener.open()

    def admit(self, client: ClientConnection) -> None:
        """A connection has been accepted."""
        self.clients.add(client)
        counters = self.counters
        counters.accepted += 1
        counters.connections += 1
        if self._is_leaving:
            client.last_one = True  # it was in the queue when draining began
        if len(self.clients) >= self.admission.most:
            self._regulate()

    def dismiss(self, client: ClientConnection) -> None:
        """A connection is gone."""
        self.clients.discard(client)
        self.counters.connections -= 1
        self.admission.leave(client.seat)
        if len(self.clients) == self.admission.most - 1:
            self._regulate()  # somebody may be waiting for this place
        if self._emptied is not None and not self.clients and not self._emptied.done():
            self._emptied.set_result(None)

    def _room(self) -> int:
        """How many connections may still be accepted; those that are about to be admitted count already."""
        return self.admission.most - len(self.clients) - sum(listener.joining for listener in self._listeners)

    def _last_room(self) -> int:
        """The same while the queue is emptied, for the last time."""
        return self._room() - self.admission.most + self.admission.most_at_last

    def _regulate(self) -> None:
        """Without room connections wait in the kernel's queue instead of being accepted and refused."""
        full = len(self.clients) >= self.admission.most
        for listener in self._listeners:
            if full:
                listener.close()
            elif not listener.is_open and not self._is_leaving:
                listener.open()
        exhausted = any(listener.is_exhausted for listener in self._listeners)
        self.counters.accept_paused = self.admission.scarce if full else "descriptors" if exhausted else ""

    def retire(self, pool: ServerPool) -> None:
        """No new exchange comes to this pool; its connections count until the last one is gone."""
        pool.retire()
        self._retired[pool] = self.now + self.site.timeouts.connect

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a task that the worker owns until it ends."""
        task = self.loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ---- time

    def _sweep(self) -> None:
        """Compare every deadline: one pass over a set costs less than a timer per request."""
        self._sweeping = self.loop.call_later(SWEEP_S, self._sweep)  # first: whatever fails below, time goes on
        now = self.clock()
        lag_s = now - self.now - SWEEP_S
        self.counters.lag_s = max(self.counters.lag_s, lag_s)
        self.now = now
        for client in [client for client in self.clients if client.deadline < now]:
            client.on_deadline()
        for upload in list(self.uploads):
            upload.check_rate(now)
        self.tunnels.sweep(now)
        self.shadows.sweep(now, lag_s)
        self._logbook.sweep()
        for pool in self.site.pools.values():
            pool.sweep(now)
        for fleet in self.site.fleets.values():
            fleet.sweep(now)
        self._sweep_guards(now)
        self._retired = {pool: until for pool, until in self._retired.items() if pool.connections or until > now}
        pools = chain(self.site.pools.values(), self.shadows.pools, self._retired)
        self.counters.upstream_connections = sum(len(pool.connections) for pool in pools)
        self.admission.sweep(now, self.shadows.pools)
        self._regulate()
        self._tell_if_quiet()

    def _sweep_guards(self, now: float) -> None:
        """Credit their budgets: each once in a second, a part of them in each sweep, since there may be thousands."""
        self._turn = (self._turn + 1) % SWEEPS_PER_S
        for guard in islice(self.site.guards.values(), self._turn, None, SWEEPS_PER_S):
            guard.sweep(now)

    # ---- leaving

    async def drain(self, within_s: float, on_quiet: Callable[[], None] | None = None) -> int:
        """Accept nothing new, finish what is under way, then leave. Returns how many connections had to be cut.

        `on_quiet` is called once, as soon as no request can begin here any more; what then still runs is the rest.
        """
        self._is_leaving = True
        for listener in self._listeners:
            listener.finish(self._last_room)
        for listener in self._listeners:
            await listener.joined()
        self._emptied = self.loop.create_future()   # not before: the last client may leave while these join
        quiet_by = self.clock() + min(QUIET_S, within_s / 2)
        for client in list(self.clients):
            client.drain(quiet_by)
        self._on_quiet = on_quiet
        self._tell_if_quiet()
        cut = 0
        if self.clients:
            await asyncio.wait([self._emptied], timeout=within_s)
            cut = len(self.clients)
        if cut:
            for client in list(self.clients):
                client.transport.abort()
            await self._emptied  # each is counted and logged as it goes
        self.close()
        self._tell_if_quiet()
        return cut

    def _tell_if_quiet(self) -> None:
        """Looked at in sweeps: looking whenever a connection ends would be quadratic work when many do."""
        if self._on_quiet is not None and not any(client.may_begin for client in self.clients):
            on_quiet, self._on_quiet = self._on_quiet, None
            on_quiet()

    def close(self) -> None:
        """End everything now."""
        self._sweeping.cancel()
        self.outbox.flush()
        for listener in self._listeners:
            listener.shut()
        self._listeners.clear()
        for client in list(self.clients):
            client.transport.abort()
        for pool in self.site.pools.values():
            pool.retire()
        self.shadows.close()
        for task in list(self._tasks):
            task.cancel()
        self.log = None
        self._logbook.close()


def _nobody_hears(_news: Noticed) -> None:
    """Nobody is there to be told."""
