"""What a worker serves by, compiled from one snapshot: one object, so that a change is one assignment (invariant 2).

Everything that can be worked out before a request comes is worked out here.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from proxy.core.balance import LeastInFlight
from proxy.core.router import Router, RouteTable
from proxy.core.snapshot import Snapshot
from proxy.dataplane.servers import ServerPool
from proxy.http1.body import ChunkBounds
from proxy.http1.request import RequestParser
from proxy.http1.response import ResponseParser
from proxy.http1.target import host_name
from proxy.telemetry.counters import Counters, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.core.route import Server

HOSTS_KEPT = 4096
"""Host values whose table is remembered; beyond that the memory starts afresh: inventing names costs only time."""


class Backend:
    """One version as one route sees it: the servers to choose from, and the tally of what it answered."""

    __slots__ = ("authority", "servers", "tally", "version")

    def __init__(self, version: str, servers: LeastInFlight[ServerPool], tally: Tally) -> None:
        self.authority = servers.servers[0].authority
        self.version = version
        self.servers = servers
        self.tally = tally


class Site:
    """The compiled form of a snapshot."""

    __slots__ = ("_trusted", "backends", "balancers", "chunk_bounds", "hosts", "limits", "pools", "requests",
                 "responses", "router", "snapshot", "timeouts")

    def __init__(self, snapshot: Snapshot, counters: Counters, open_pool: Callable[[Server], ServerPool],
                 before: Site | None = None) -> None:
        self.snapshot = snapshot
        self.router = Router(snapshot)
        self.limits = limits = snapshot.policy.limits
        self.timeouts = snapshot.policy.timeouts
        self.requests = RequestParser(line=limits.request_line, head=limits.head, fields=limits.headers,
                                      wanted=self.router.needs)
        self.responses = ResponseParser(head=limits.response_head, fields=limits.response_headers)
        self.chunk_bounds = ChunkBounds(limits.chunk_line, limits.chunk_extensions, limits.trailers,
                                        limits.trailer_fields)
        self._trusted = tuple(ipaddress.ip_network(network) for network in snapshot.policy.trusted_proxies)
        self.hosts: dict[bytes, RouteTable | None] = {}
        known = before.pools if before else {}
        servers = {server for version in snapshot.versions for server in version.servers}
        self.pools: dict[Server, ServerPool] = {server: known.get(server) or open_pool(server) for server in servers}
        self.balancers = self._balancers(before)
        self.backends = tuple(
            tuple(self._backend(route.name, version, counters) for version in route.versions)
            for route in self.router.routes
        )

    def _backend(self, route: str, version: str, counters: Counters) -> Backend:
        return Backend(version, self.balancers[version][1], counters.tally(route, version))

    def _balancers(self, before: Site | None) -> dict[str, tuple[tuple[Server, ...], LeastInFlight[ServerPool]]]:
        """Servers of each version. Those that did not change keep their counts of what is in flight."""
        kept = before.balancers if before else {}
        return {
            version.name: kept[version.name] if kept.get(version.name, ((),))[0] == version.servers
            else (version.servers, LeastInFlight([self.pools[server] for server in version.servers]))
            for version in self.snapshot.versions
        }

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
