"""What a worker lets in: connections while there is room for them, and no more of one client than it may have.

Without room nothing is accepted: connections wait in the kernel's queue, and those that are there go on. A client that
has too much is told so, and loses nobody else anything. Invariant: every connection that took a seat leaves it.

Each worker enforces the whole limit of a client: its connections spread over the workers as chance has it, and shares
would refuse a client that had its connections in one place. So a client gets at most as much as all workers allow.
"""

from __future__ import annotations

import math
import resource
import socket
import sys
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.core.overload.clients import Key, Rates, Seats
from proxy.core.overload.room import (
    connections_left,
    connections_within,
    is_too_large,
    memory_within,
    most_connections,
)
from proxy.dataplane.footprint import give_back, group_memory, machine_memory, resident_memory
from proxy.dataplane.servers import ServerPool, shed_idle
from proxy.errors import TOO_MANY_CONNECTIONS, TOO_MANY_REQUESTS
from proxy.http1.refusal import render

if TYPE_CHECKING:
    from proxy.dataplane.exchange import Exchange
    from proxy.dataplane.site import Site
    from proxy.telemetry.counters import Counters

WEIGHED_EVERY_S = 0.5
WEIGHED_EVERY = 128
"""How often a worker looks at its own size, by time and by accepted connections: it takes 9 µs, and what these bring
in between is some megabytes, or some tens when each is as large as it may be."""
TIDIED = 256
"""Clients looked at in a sweep, so that those of yesterday are forgotten without a pause that anybody notices."""

_MAPPED = bytes(10) + b"\xff\xff"
_UNREAD = 64 * 1024
"""Bytes read of a connection that is turned away: what is left unread would turn its end into a reset."""
_TURNED_AWAY = render(TOO_MANY_CONNECTIONS, "close one of them, or let it serve more requests", keep_alive=False)


class Admission:
    """See the module. `workers`: how many share `limits.connections` and `limits.memory` evenly."""

    def __init__(self, counters: Counters, workers: int) -> None:
        self._counters = counters
        self._workers = workers
        self._seats = Seats()
        self._weighed_at = 0.0
        self._unweighed = 0
        self._too_large = False
        self._rates_by: tuple[float | None, int | None] = (None, None)
        self.rates: Rates | None = None
        """Of requests, by address; None without a limit."""
        self.most = 1
        """Client connections that this worker may have now."""
        self.scarce = ""
        """What there is too little of for one more than that: one of `telemetry.names.PAUSE_REASONS`."""
        self.most_at_last = 1
        """Client connections that it may have when it leaves: as many as descriptors and memory allow, since who is in
        the queue then may have nobody else to come to."""

    def follow(self, site: Site) -> None:
        """Go by the limits of this site. Where the rate has changed, every client begins anew with a full burst."""
        self._site = site
        limits = site.limits
        self._allowed = max(1, limits.connections // self._workers)
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._affordable = connections_within(descriptors)
        self._for_servers = connections_left(descriptors, self._allowed)
        memory = limits.memory if limits.memory is not None else memory_within(group_memory(), machine_memory())
        self._memory = None if memory is None else memory // self._workers
        rates_by = (limits.client_rate, limits.client_burst)
        if rates_by != self._rates_by:
            self._rates_by = rates_by
            self.rates = None if rates_by[0] is None else Rates(rates_by[0], rates_by[1])
        self._bound()

    def _bound(self) -> None:
        self.most, self.scarce = most_connections(self._allowed, self._affordable, too_large=self._too_large)
        self.most_at_last, _ = most_connections(sys.maxsize, self._affordable, too_large=self._too_large)

    def sweep(self, now: float, of_shadows: Collection[ServerPool]) -> None:
        """Look at what grows: the worker itself, what it remembers of clients, and its idle connections to servers.

        These stay as many as were ever needed at once, for each server; together they could take the descriptors of
        those that are needed now. Those to shadow servers (`of_shadows`) give way first: no client waits for them.
        """
        if self.rates is not None:
            self.rates.tidy(now, TIDIED)
        if now - self._weighed_at >= WEIGHED_EVERY_S:
            self._weighed_at = now
            self._weigh()
        if self._for_servers is not None and self._counters.upstream_connections > self._for_servers:
            self._shed(self._counters.upstream_connections - self._for_servers, of_shadows)

    def _shed(self, count: int, of_shadows: Collection[ServerPool]) -> None:
        idle = sum(len(pool.idle) for pool in of_shadows)
        shed_idle(of_shadows, count)
        if count > idle:
            shed_idle(self._site.pools.values(), count - idle)

    def _weigh(self) -> None:
        self._unweighed = 0
        was = self._too_large
        if self._memory is None and not was:
            return
        self._too_large = is_too_large(resident_memory(), self._memory, was=was)
        if self._too_large:
            give_back()  # else what clients no longer use would keep others out
            self._too_large = is_too_large(resident_memory(), self._memory, was=was)
        self._bound()

    # ---- clients

    def seat(self, sock: socket.socket, peer: object) -> Key | None:
        """The seat of a connection that was accepted just now; None where it was turned away and is closed.

        `peer` as `socket.accept` gives it. Trusted proxies and clients on Unix sockets are many clients each.
        """
        address = peer[0] if isinstance(peer, tuple) else ""
        self._unweighed += 1
        if self._unweighed >= WEIGHED_EVERY:
            self._weigh()
        key = key_of(address)
        most = self._site.limits.client_connections
        if self._seats.take(key, most) or (self._site.trusts(address) and self._seats.take(key, None)):
            return key
        self._counters.limited("connections")
        self._counters.refused(TOO_MANY_CONNECTIONS.slug)
        _turn_away(sock)
        return None

    def grants(self, exchange: Exchange) -> bool:
        """Whether this request is within its client's rate; where it is not, it is answered here and now.

        A trusted proxy that names no client, and a client on a Unix socket, may be anybody: they are not limited.
        """
        rates, client, request = self.rates, exchange.client, exchange.request
        hop = client.hop
        if rates is None or not request.client or (hop.trusted and request.client == hop.peer):
            return True
        wait_s = rates.take(key_of(request.client), exchange.started)
        if not wait_s:
            return True
        self._counters.limited("rate")
        seconds = math.ceil(wait_s)
        exchange.fail(replace(TOO_MANY_REQUESTS, retry_after_s=seconds), f"come again in {seconds} s")
        return False

    def leave(self, key: Key) -> None:
        """A connection that had this seat is gone."""
        self._seats.leave(key)


def key_of(address: str) -> Key:
    """Who is limited as one client, by its textual address: an IPv4 address, or a /64 of IPv6.

    A /64 is what a single subscriber, and often a single host, is given to pick addresses from at will (RFC 6177,
    RFC 8981), so a limit on each of them would be none. IPv4 addresses in IPv6 (RFC 4291 §2.5.5.2) are IPv4.
    """
    if ":" not in address:
        return address
    packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    return socket.inet_ntoa(packed[12:]) if packed.startswith(_MAPPED) else packed[:8]


def _turn_away(sock: socket.socket) -> None:
    """Say why, and close at once: no time is spent on a client that takes too much, and no descriptor either.

    The answer is there before the end of the connection, unless more of a request comes behind what is read here.
    """
    with sock:
        try:
            sock.send(_TURNED_AWAY, socket.MSG_DONTWAIT)
            sock.shutdown(socket.SHUT_WR)
            sock.recv(_UNREAD, socket.MSG_DONTWAIT)
        except OSError:
            return  # nothing to read yet, or nobody there any more
