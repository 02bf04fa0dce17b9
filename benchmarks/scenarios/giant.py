"""1 GiB through the proxy, down and up, with a reader that is slow at first: by how much its workers' memory grows.

All peers at once: memory is measured, not time. Both ends stream; nobody but the proxy could hold the body.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket

from benchmarks import proc
from benchmarks.bench import Bench, Proxy, Run, answers
from benchmarks.loads import client, giant_service
from benchmarks.peers import Peer
from benchmarks.processes import free_port, wait_until_it_answers

GIB = 1024**3
MIB = 1024**2
SERVICE = Path(giant_service.__file__)
SAMPLE_S = 0.05
GIVE_UP_S = 120.0


@dataclass(slots=True)
class Transfer:
    """One body through one proxy, in a thread of its own."""

    one: Proxy
    direction: str
    slow_s: float
    moved: int = 0
    took_s: float = 0.0
    error: str = ""
    thread: threading.Thread = field(init=False)

    def start(self) -> None:
        self.thread = threading.Thread(target=self._run, name=f"{self.direction} {self.one.name}")
        self.thread.start()

    def _run(self) -> None:
        began = time.monotonic()
        try:
            with client.connect(self.one.place.port, GIVE_UP_S) as connection:
                self.moved = download(connection, self.slow_s) if self.direction == "down" else \
                    upload(connection, self.slow_s)
        except (OSError, ValueError, IndexError) as error:
            self.error = f"{type(error).__name__}: {error}"
        self.took_s = time.monotonic() - began

    @property
    def flags(self) -> tuple[str, ...]:
        if self.error:
            return (self.error,)
        return () if self.moved == GIB else (f"{self.moved} bytes arrived instead of {GIB}",)


def download(connection: socket, slow_s: float) -> int:
    """Ask for a GiB, read it slowly, then fast. Returns the bytes of the body."""
    connection.sendall(f"GET /down/{GIB} HTTP/1.1\r\nHost: shop.example.com\r\n\r\n".encode())
    received = giant_service.read_head(connection)
    early = len(received.partition(b"\r\n\r\n")[2])
    return early + giant_service.read_body(connection, GIB - early, slow_s)


def upload(connection: socket, slow_s: float) -> int:
    """Send a GiB to a service that reads slowly, then fast. Returns how many bytes it says it has read."""
    head = f"POST /up/{slow_s} HTTP/1.1\r\nHost: shop.example.com\r\nContent-Length: {GIB}\r\n\r\n"
    connection.sendall(head.encode())
    for _ in range(GIB // len(giant_service.PIECE)):
        connection.sendall(giant_service.PIECE)
    return int(client.read_answer(connection).body)


class Giant:
    """See the module."""

    name = "giant"
    title = "1 GiB body, slow reader"
    together = True

    def takes(self, peer: Peer) -> bool:
        return True

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields a run per direction (`down`, `up`) and peer."""
        port = free_port()
        service = bench.programs.start("giant", [sys.executable, str(SERVICE), str(port)], [bench.cores.load])
        wait_until_it_answers(service, lambda: answers(port))
        address = (f"127.0.0.1:{port}",)
        slow_s = 3.0 if bench.effort.quick else 10.0
        places = ((peer, bench.place(peer, "giant", address, address)) for peer in peers)
        proxies = bench.start_each(places, check=False)
        for direction in ("down", "up"):
            yield from self._move(direction, proxies, slow_s)
        for program in [*(one.program for one in proxies), service]:
            bench.programs.stop(program)

    def _move(self, direction: str, proxies: list[Proxy], slow_s: float) -> Iterator[Run]:
        transfers = [Transfer(one, direction, slow_s) for one in proxies]
        before = {one.name: proc.memory(one.workers()).pss for one in proxies}
        most = dict(before)
        for transfer in transfers:
            transfer.start()
        while any(transfer.thread.is_alive() for transfer in transfers):
            for one in proxies:
                most[one.name] = max(most[one.name], proc.memory(one.workers()).pss)
            time.sleep(SAMPLE_S)
        for transfer in transfers:
            name = transfer.one.name
            yield Run(self.name, direction, name, 0, {
                "grew_mib": (most[name] - before[name]) / MIB, "before_mib": before[name] / MIB,
                "seconds": transfer.took_s}, transfer.flags)
