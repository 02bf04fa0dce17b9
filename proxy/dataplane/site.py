"""What a worker serves by, compiled from one snapshot: one object, so that a change is one assignment (invariant 2).

Everything that can be worked out before a request comes is worked out here.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from proxy.core.router import Router, RouteTable
from proxy.core.snapshot import Snapshot, Timeouts
from proxy.dataplane.fleet.fleet import Fleet
from proxy.dataplane.guard import Guard
from proxy.dataplane.servers import ServerPool
from proxy.http1.body import ChunkBounds
from proxy.http1.request import RequestParser
from proxy.http1.response import ResponseParser
from proxy.http1.target import host_name

if TYPE_CHECKING:
    from proxy.core.route import Server
    from proxy.core.router import CompiledRoute
    from proxy.dataplane.shadow.shadows import RouteShadow
    from proxy.dataplane.worker import Worker
    from proxy.telemetry.counters import Tally

HOSTS_KEPT = 4096
"""Host values whose table is remembered; beyond that the memory starts afresh: inventing names costs only time."""


class Backend:
    """One version as one route sees it: its servers, the tally of what it answered, its shadow, and the route's rules.

    `home`: the baseline of the route, None where this is it. `within_s`: in which the head of an answer must come.
    """

    __slots__ = ("authority", "fleet", "guard", "home", "index", "keeps_sessions", "priority", "rescue", "retry",
                 "shadow", "tally", "version", "when_down", "within_s")

    def __init__(self, route: CompiledRoute, index: int, fleet: Fleet, guard: Guard, tally: Tally,
                 shadow: RouteShadow | None, response_head_s: float) -> None:
        rules = route.route
        self.authority = fleet.servers[0].authority
        self.index = index
        self.version = route.versions[index]
        self.fleet = fleet
        self.guard = guard
        self.tally = tally
        self.shadow = shadow
        self.home: Backend | None = None
        self.retry = rules.retry
        self.rescue = rules.rescue
        self.priority = rules.priority
        self.when_down = rules.when_down
        self.keeps_sessions = rules.sticky is not None and rules.sticky.mode == "session"
        self.within_s = min(response_head_s, rules.retry.per_try_s or response_head_s)


class Site:
    """The compiled form of a snapshot."""

    __slots__ = ("_trusted", "_worker", "backends", "chunk_bounds", "fleets", "guards", "hosts", "limits", "pools",
                 "requests", "responses", "router", "snapshot", "timeouts")

    router: Router
    timeouts: Timeouts
    requests: RequestParser
    responses: ResponseParser
    chunk_bounds: ChunkBounds
    pools: dict[Server, ServerPool]
    fleets: dict[str, Fleet]
    guards: dict[str, Guard]
    backends: tuple[tuple[Backend, ...], ...]
    _trusted: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

    def __init__(self, snapshot: Snapshot, worker: Worker, before: Site | None = None) -> None:
        """`before`: what is alike is shared with it, and what it has under way goes on here."""
        self.snapshot = snapshot
        self._worker = worker
        self.router = Router(snapshot, before.router if before else None)
        self.limits = snapshot.policy.limits
        self.timeouts = snapshot.policy.timeouts
        self.hosts: dict[bytes, RouteTable | None] = {}
        self._read_heads(before)
        self._reach_servers(before)
        self._back_routes(before)

    def _read_heads(self, before: Site | None) -> None:
        """Parsers and bounds. Parsers have learnt what heads look like, so they are kept as long as they fit."""
        policy, limits = self.snapshot.policy, self.limits
        if before is not None and before.snapshot.policy == policy and before.router.needs == self.router.needs:
            self.requests, self.responses = before.requests, before.responses
            self.chunk_bounds, self._trusted = before.chunk_bounds, before._trusted
            return
        self.requests = RequestParser(line=limits.request_line, head=limits.head, fields=limits.headers,
                                      wanted=self.router.needs)
        self.responses = ResponseParser(head=limits.response_head, fields=limits.response_headers)
        self.chunk_bounds = ChunkBounds(limits.chunk_line, limits.chunk_extensions, limits.trailers,
                                        limits.trailer_fields)
        self._trusted = tuple(ipaddress.ip_network(network) for network in policy.trusted_proxies)

    def _reach_servers(self, before: Site | None) -> None:
        """Pools, and the fleets made of them: what a fleet knows of a server stays as long as the server does."""
        versions, worker = self.snapshot.versions, self._worker
        known = before.pools if before else {}
        servers = {server for version in versions for server in version.servers}
        same = before is not None and servers == known.keys()
        self.pools = known if same else {server: known.get(server) or ServerPool(server) for server in servers}
        self.fleets = before.fleets if before else {}
        if before is not None and (before.snapshot.versions is versions or before.snapshot.versions == versions) \
                and before.snapshot.drained == self.snapshot.drained:
            return
        self.fleets = {}
        for version in versions:
            pools = [self.pools[server] for server in version.servers]
            fleet = before.fleets.get(version.name) if before else None
            if fleet is None:
                fleet = Fleet(version, pools, worker, worker.workers)
            drained = {address for name, address in self.snapshot.drained if name == version.name}
            fleet.follow(version, pools, drained, worker.probed_out(version.name), worker.workers)
            self.fleets[version.name] = fleet

    def _back_routes(self, before: Site | None) -> None:
        """What each version of each route is to the data path."""
        known: dict[CompiledRoute, tuple[Backend, ...]] = {}
        if before is not None and before.fleets is self.fleets and before.timeouts == self.timeouts:
            known = dict(zip(before.router.routes, before.backends, strict=True))
        named_alike = before is not None and before.router.pairs is self.router.pairs
        self.guards = before.guards if before is not None and named_alike else self._guards(before)
        self.backends = tuple(known.get(route) or self._backends(route) for route in self.router.routes)
        if not named_alike:
            self._worker.counters.retain(self.router.pairs)

    def _guards(self, before: Site | None) -> dict[str, Guard]:
        kept = before.guards if before else {}
        return {route.name: kept.get(route.name) or Guard(route.route, self._worker.workers)
                for route in self.router.routes}

    def _backends(self, route: CompiledRoute) -> tuple[Backend, ...]:
        guard = self.guards[route.name]
        worker, head_s = self._worker, self.timeouts.response_head
        backends = tuple(
            Backend(route, index, self.fleets[version], guard, worker.counters.tally(route.name, version),
                    worker.shadows.of(route, version), head_s)
            for index, version in enumerate(route.versions))
        home = backends[route.versions.index(route.route.baseline)]
        for backend in backends:
            backend.home = None if backend is home else home
        guard.follow(route.route, [backend.tally for backend in backends], worker.workers)
        return backends

    def carries(self, pair: tuple[str, str]) -> bool:
        """Whether this version of this route gets requests by its weight."""
        place = self.router.pairs.get(pair)
        return place is not None and self.snapshot.routes[place[0]].split[place[1]][1] > 0

    def table(self, host: bytes) -> RouteTable | None:
        """The routes of a Host value; None when there is none for it, or when it is not a host at all."""
        try:
            return self.hosts[host]
        except KeyError:
            name = host_name(host) if host else b""
            table = None if name is None else self.router.table(name)
            if len(self.hosts) >= HOSTS_KEPT:
                self.hosts.clear()
            self.hosts[host] = table
            return table

    @staticmethod
    def is_host(host: bytes) -> bool:
        """Whether this Host value is one; an absent one (HTTP/1.0) is no fault."""
        return not host or host_name(host) is not None

    def trusts(self, address: str) -> bool:
        """Whether what this peer says of its client is believed. `address`: textual, empty for a Unix socket."""
        if not self._trusted or not address:
            return False
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)
        return any((mapped or parsed) in network for network in self._trusted)
