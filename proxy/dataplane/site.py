"""What a worker serves by, compiled from one snapshot: one object, so that a change is one assignment (invariant 2).

Everything that can be worked out before a request comes is worked out here.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from proxy.core.balance import LeastInFlight
from proxy.core.router import Router, RouteTable
from proxy.core.snapshot import Snapshot, Timeouts
from proxy.dataplane.servers import ServerPool
from proxy.http1.body import ChunkBounds
from proxy.http1.request import RequestParser
from proxy.http1.response import ResponseParser
from proxy.http1.target import host_name
from proxy.telemetry.counters import Counters, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.core.route import Server
    from proxy.core.router import CompiledRoute
    from proxy.dataplane.shadow.shadows import RouteShadow

HOSTS_KEPT = 4096
"""Host values whose table is remembered; beyond that the memory starts afresh: inventing names costs only time."""


def _none(_route: CompiledRoute, _version: str) -> RouteShadow | None:
    """Nothing is copied."""
    return None


class Backend:
    """One version as one route sees it: the servers to choose from, the tally of what it answered, and its shadow."""

    __slots__ = ("authority", "servers", "shadow", "tally", "version")

    def __init__(self, version: str, servers: LeastInFlight[ServerPool], tally: Tally,
                 shadow: RouteShadow | None) -> None:
        self.authority = servers.servers[0].authority
        self.version = version
        self.servers = servers
        self.tally = tally
        self.shadow = shadow


class Site:
    """The compiled form of a snapshot."""

    __slots__ = ("_shadow_of", "_trusted", "backends", "balancers", "chunk_bounds", "hosts", "limits", "pools",
                 "requests", "responses", "router", "snapshot", "timeouts")

    router: Router
    timeouts: Timeouts
    requests: RequestParser
    responses: ResponseParser
    chunk_bounds: ChunkBounds
    pools: dict[Server, ServerPool]
    balancers: dict[str, tuple[tuple[Server, ...], LeastInFlight[ServerPool]]]
    backends: tuple[tuple[Backend, ...], ...]
    _trusted: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

    def __init__(self, snapshot: Snapshot, counters: Counters, open_pool: Callable[[Server], ServerPool],
                 before: Site | None = None,
                 shadow_of: Callable[[CompiledRoute, str], RouteShadow | None] = _none) -> None:
        """`shadow_of`: the shadow of a route where a version answers it."""
        self.snapshot = snapshot
        self.router = Router(snapshot, before.router if before else None)
        self.limits = snapshot.policy.limits
        self.timeouts = snapshot.policy.timeouts
        self.hosts: dict[bytes, RouteTable | None] = {}
        self._read_heads(before)
        self._reach_servers(open_pool, before)
        self._shadow_of = shadow_of
        self._back_routes(counters, before)

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

    def _reach_servers(self, open_pool: Callable[[Server], ServerPool], before: Site | None) -> None:
        """Pools and balancers. Versions that did not change keep their counts of what is in flight."""
        versions = self.snapshot.versions
        if before is not None and (before.snapshot.versions is versions or before.snapshot.versions == versions):
            self.pools, self.balancers = before.pools, before.balancers
            return
        known, kept = (before.pools, before.balancers) if before else ({}, {})
        servers = {server for version in versions for server in version.servers}
        self.pools = {server: known.get(server) or open_pool(server) for server in servers}
        self.balancers = {
            version.name: kept[version.name] if kept.get(version.name, ((),))[0] == version.servers
            else (version.servers, LeastInFlight([self.pools[server] for server in version.servers]))
            for version in versions
        }

    def _back_routes(self, counters: Counters, before: Site | None) -> None:
        """What each version of each route is to the data path."""
        known: dict[CompiledRoute, tuple[Backend, ...]] = {}
        if before is not None and before.balancers is self.balancers:
            known = dict(zip(before.router.routes, before.backends, strict=True))
        self.backends = tuple(known.get(route) or self._backends(route, counters) for route in self.router.routes)
        if before is None or before.router.pairs is not self.router.pairs:
            counters.retain(self.router.pairs)

    def _backends(self, route: CompiledRoute, counters: Counters) -> tuple[Backend, ...]:
        return tuple(Backend(version, self.balancers[version][1], counters.tally(route.name, version),
                             self._shadow_of(route, version))
                     for version in route.versions)

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
