"""One story per test: origins, a worker and clients that end together, and the proof that nothing is left behind.

Whatever happened, at the end of a story nobody is in flight any more: no server is counted as busy, no tally has a
request, and no server connection belongs to an exchange.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from proxy.core.route import Server
from proxy.core.snapshot import Snapshot
from proxy.dataplane.servers import ServerPool
from proxy.dataplane.site import Site
from proxy.dataplane.worker import Worker
from tests.support.origins import Origin, Script, StrictOrigin
from tests.support.strict import Message
from tests.support.wire import Address, Wire, open_socket
from tests.support.worker import RunningWorker, a_snapshot

AnyOrigin = TypeVar("AnyOrigin", bound=Origin)
SWEPT_S = 1.0
"""Added to a time-out when the clock is moved: deadlines are set from the last sweep and compared in the next."""


class WatchedWorker(RunningWorker):
    """A worker that remembers every site it served by, so that nothing of a former one is forgotten."""

    def __init__(self, snapshot: Snapshot, **options: Any) -> None:
        super().__init__(snapshot, **options)
        self.counted: dict[tuple[str, ...], float] = {}
        self.sites: list[Site] = [self.worker.site]

    def apply(self, snapshot: Snapshot) -> None:
        super().apply(snapshot)
        self.sites.append(self.worker.site)

    @property
    def pools(self) -> list[ServerPool]:
        return [*{id(pool): pool for site in self.sites for pool in site.pools.values()}.values()]

    def pool(self, place: Origin | Address | Server) -> ServerPool:
        """The pool of a server in the current site."""
        address = place.address if isinstance(place, Origin) else place
        for server, pool in self.worker.site.pools.items():
            if server == address or (server.unix_path or (server.host, server.port)) == address:
                return pool
        raise KeyError(place)

    def is_quiet(self, worker: Worker) -> bool:
        """Whether nothing is in flight, by every way of counting."""
        busy = [
            balancer.in_flight(server)
            for site in self.sites for balancer in site.fleets.values() for server in balancer.servers
        ]
        tallies = [backend.tally.inflight for site in self.sites for backends in site.backends for backend in backends]
        lent = [connection for pool in self.pools for connection in pool.connections if connection.exchange is not None]
        working = [client for client in worker.clients if client.exchange is not None]
        return worker.shadows.is_quiet and not (any(busy) or any(tallies) or lent or working or worker.uploads)

    def count(self, name: str, *labels: str) -> float:
        """What was counted so far under `turnout_NAME` and these label values."""
        def collect(worker: Worker) -> None:
            for metric, values, increment in worker.counters.collect().counters:
                key = (metric, *values)
                self.counted[key] = self.counted.get(key, 0) + increment
        self.call(collect)
        return self.counted.get((f"turnout_{name}", *labels), 0)

    def codes(self, version: str = "old", route: str = "all") -> dict[int, int]:
        """Requests counted for a version, by status."""
        self.count("requests_total")
        return {int(key[3]): int(value) for key, value in self.counted.items()
                if key[:3] == ("turnout_requests_total", route, version)}

    def expire(self, timeout_s: float) -> None:
        """Let this much time pass, and the sweep that notices it."""
        self.pass_time(timeout_s + SWEPT_S)


class Story:
    """Makes what a test needs and ends it in the right order."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._workers: list[WatchedWorker] = []
        self._ends = contextlib.ExitStack()

    def origin(self, script: Script, **options: Any) -> Origin:
        return self._ends.enter_context(Origin(script, **options))

    def join(self, origin: AnyOrigin) -> AnyOrigin:
        """Have this one end with the story."""
        self._ends.enter_context(origin)
        return origin

    def strict(self, answer: Callable[[Message], bytes] | None = None, **options: Any) -> StrictOrigin:
        return self._ends.enter_context(StrictOrigin(answer, **options) if answer else StrictOrigin(**options))

    def worker(self, *old: Origin | Address | Server, host: str = "127.0.0.1", unix_path: str | None = None,
               **snapshot: Any) -> WatchedWorker:
        """A worker in front of these servers; `snapshot`: see `a_snapshot`."""
        return self.serving(a_snapshot(*old, **snapshot), host=host, unix_path=unix_path)

    def serving(self, snapshot: Snapshot, **options: Any) -> WatchedWorker:
        worker = WatchedWorker(snapshot, **options)
        self._workers.append(worker)
        self._ends.callback(worker.close)
        return worker

    def client(self, worker: RunningWorker, *, receive_buffer: int = 0) -> Wire:
        """A connection that stays open until the end; `receive_buffer` in bytes for one that takes in little."""
        wire = Wire.__new__(Wire)
        wire.received = b""
        if receive_buffer:
            wire.sock = small_socket(worker.address, receive_buffer)
        else:
            wire.sock = open_socket(worker.address)
        self._ends.callback(wire.close)
        return wire

    def end(self) -> None:
        """Prove that nothing is in flight, then end everything."""
        with self._ends:
            for worker in self._workers:
                try:
                    worker.wait_until(worker.is_quiet)
                except TimeoutError:
                    raise AssertionError(f"still in flight: {describe(worker)}") from None


def small_socket(address: Address, receive_buffer: int) -> socket.socket:
    """A client socket whose window stays small."""
    assert not isinstance(address, str)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(15.0)
    sock.connect(address)
    return sock


def describe(worker: WatchedWorker) -> str:
    """What is still going on, for whoever has to find out why."""
    lines = [f"pool {pool.label}: {[c.exchange for c in pool.connections]}" for pool in worker.pools]
    for site in worker.sites:
        lines += [f"{name}: {[balancer.in_flight(s) for s in balancer.servers]}"
                  for name, balancer in site.fleets.items()]
        lines += [f"{b.tally.route}/{b.version}: {b.tally.inflight}" for bs in site.backends for b in bs]
    lines.append(f"uploads {worker.worker.uploads}, clients {[c.exchange for c in worker.worker.clients]}")
    return "; ".join(lines)


def get(target: str = "/", *fields: str) -> bytes:
    """A GET of HTTP/1.1."""
    return request("GET", target, *fields)


def request(method: str, target: str, *fields: str, body: bytes = b"", version: str = "1.1") -> bytes:
    """A request with a Host field; the length of `body` is announced when there is one."""
    lines = [f"{method} {target} HTTP/{version}", "Host: shop.example", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def flood(client: Wire, data: bytes) -> None:
    """Send this again and again, until it is not taken any more."""
    client.sock.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        while True:
            client.send(data)


def dead_address() -> Address:
    """A port on which nobody listens, and which nobody else gets as long as this process lives."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    _HELD.append(sock)
    host, port = sock.getsockname()
    return host, port


_HELD: list[socket.socket] = []


@contextlib.contextmanager
def full_backlog(host: str = "127.0.0.1", port: int = 0) -> Iterator[Address]:
    """A server whose accept queue is full: connects are neither taken nor refused."""
    with socket.socket() as full:
        full.bind((host, port))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        try:
            yield full.getsockname()
        finally:
            for sock in waiting:
                sock.close()
