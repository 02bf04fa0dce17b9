"""Memory per idle keep-alive connection: 10,000 connections that each have served one request.

A proxy needs a second descriptor per connection in the worst case, so half of the limit on descriptors is the most.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator, Sequence

from benchmarks import proc
from benchmarks.bench import Bench, Proxy, Run
from benchmarks.loads import client, requests
from benchmarks.peers import Peer

CONNECTIONS = 10_000
ENOUGH = 9_000                                  # fewer are flagged
SPARE = 200                                     # descriptors that are neither connections nor kept for their servers
SETTLE_S = 0.5                                  # until the proxy has closed what it need not keep
RESET_ON_CLOSE = struct.pack("ii", 1, 0)        # no TIME_WAIT for thousands of connections
TRIED_AGAIN = 100


class Idle:
    """See the module."""

    name = "idle"
    title = "10,000 idle keep-alive connections"
    together = False

    def takes(self, peer: Peer) -> bool:
        return True

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields a run per peer: bytes per connection, from the proportional set size of the worker processes."""
        wanted = min(CONNECTIONS, bench.descriptors // 2 - SPARE)
        for peer in peers:
            with bench.up(peer, bench.place(peer, "idle")) as one:
                yield self._measure(one, wanted)

    def _measure(self, one: Proxy, wanted: int) -> Run:
        flags = list(one.flags)
        if wanted < ENOUGH:
            flags.append(f"only {wanted} connections: the limit on descriptors forbids more")
        workers = one.workers()
        before = proc.memory(workers)
        with contextlib.ExitStack() as stack:
            held: list[socket.socket] = []
            try:
                held.extend(stack.enter_context(served_once(one.place.port, number)) for number in range(wanted))
            except OSError as error:
                flags.append(f"connection {len(held) + 1} failed: {error}")
            time.sleep(SETTLE_S)
            after = proc.memory(workers)
            if dead := sum(not still_serves(c) for c in held[::max(1, len(held) // TRIED_AGAIN)]):
                flags.append(f"{dead} of {TRIED_AGAIN} connections did not live")
        count = max(1, len(held))
        return Run(self.name, "", one.name, 0, {
            "bytes_each": (after.pss - before.pss) / count, "rss_bytes_each": (after.rss - before.rss) / count,
            "connections": float(count), "before_bytes": float(before.pss)}, tuple(flags))


def served_once(port: int, number: int) -> socket.socket:
    """A connection that has had one answer and now idles."""
    connection = client.connect(port)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    client.exchange(connection, requests.request(number, "/", f"idle-{number}"))
    return connection


def still_serves(connection: socket.socket) -> bool:
    """Whether it answers another request."""
    try:
        return client.exchange(connection, requests.request(1, "/", "again")).status == 200
    except OSError:
        return False
