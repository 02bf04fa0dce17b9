"""Open-loop load: requests leave when their time has come, whether or not earlier ones have been answered.

A request's latency counts from the moment it was due, so a proxy that stalls is charged for everybody it kept waiting
(a closed loop, and one paced per connection, would politely wait with it). Arrivals are those of many independent
users: exponential gaps around the given rate, the same sequence for every proxy of a round.

Run as a program of its own, on the load's core: python -m benchmarks.loads.openloop '{"port": …}' prints one JSON line.
"""

from __future__ import annotations

import gc
import json
import random
import select
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass

from benchmarks.loads import client, requests
from benchmarks.loads.timer import Timer
from benchmarks.rounds import percentile

GRACE_NS = 1_000_000_000                        # for answers after the last request was due
WARM_S = 0.4                                    # requests due before this are sent but not counted


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send: requests per second, for how long, over how many connections (more would wait for a free one)."""

    port: int
    rate: float
    seconds: float
    connections: int = 256
    seed: int = 0


def schedule(plan: Plan) -> list[int]:
    """When each request is due, in ns after the start. Pure: the same plan gives the same moments."""
    chance = random.Random(plan.seed)
    moments, moment, end = [], 0.0, plan.seconds + WARM_S
    while (moment := moment + chance.expovariate(plan.rate)) < end:
        moments.append(int(moment * 1e9))
    return moments


class OpenLoop:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.moments = schedule(plan)
        self.heads = [requests.head(number, "/").encode() for number in range(requests.COOKIES)]
        self.connections = {c.fileno(): c for c in (client.connect(plan.port) for _ in range(plan.connections))}
        self.free = deque(self.connections)
        self.due: dict[int, int] = {}           # descriptor → when its request was due
        self.partial: dict[int, bytes] = {}
        self.whole: set[int] = set()            # lengths at which an answer was found complete
        self.latencies: list[int] = []
        self.failed = 0
        self.next = 0
        self.poll = select.epoll()
        self.timer = Timer()

    def run(self) -> dict[str, float]:
        """Send everything, wait for the answers, return the figures (µs)."""
        self.poll.register(self.timer.fd, select.EPOLLIN)
        for descriptor, connection in self.connections.items():
            connection.setblocking(False)
            self.poll.register(descriptor, select.EPOLLIN)
        gc.disable()
        start = time.monotonic_ns() + 10_000_000
        self.timer.set(start)
        end = start + self.moments[-1] + GRACE_NS
        while (self.next < len(self.moments) or self.due) and time.monotonic_ns() < end:
            for descriptor, _ in self.poll.poll(1.0):
                if descriptor != self.timer.fd:
                    self._read(descriptor, start)
            self._send_what_is_due(start)
        return self._figures()

    def _send_what_is_due(self, start: int) -> None:
        moments, free, now = self.moments, self.free, time.monotonic_ns() - start
        while self.next < len(moments) and moments[self.next] <= now and free:
            descriptor = free.popleft()
            self.due[descriptor] = moments[self.next]
            self.next += 1
            self.connections[descriptor].send(self.heads[self.next % requests.COOKIES] + b"open-%d\r\n\r\n" % self.next)
        waits = self.next < len(moments) and free
        self.timer.set(start + moments[self.next] if waits else 0)

    def _read(self, descriptor: int, start: int) -> None:
        try:
            piece = self.connections[descriptor].recv(65_536)
        except OSError:
            piece = b""
        data = self.partial.pop(descriptor, b"") + piece
        if not piece or (len(data) not in self.whole and not self._complete(descriptor, data)):
            if not piece:
                self._lost(descriptor)
            return
        due = self.due.pop(descriptor)
        self.free.append(descriptor)
        if data[9:12] != b"200":
            self.failed += 1
        elif due >= WARM_S * 1e9:
            self.latencies.append(time.monotonic_ns() - start - due)

    def _complete(self, descriptor: int, data: bytes) -> bool:
        head, separator, body = data.partition(b"\r\n\r\n")
        if separator and len(body) == int(client.parse_head(head)[1]["content-length"]):
            self.whole.add(len(data))
            return True
        self.partial[descriptor] = data
        return False

    def _lost(self, descriptor: int) -> None:
        self.poll.unregister(descriptor)
        self.connections.pop(descriptor).close()
        if self.due.pop(descriptor, None) is not None:
            self.failed += 1
        elif descriptor in self.free:
            self.free.remove(descriptor)

    def _figures(self) -> dict[str, float]:
        ordered = sorted(self.latencies)
        unfinished = len(self.due) + len(self.moments) - self.next
        figures = {"answered": float(len(ordered)), "failed": float(self.failed), "unfinished": float(unfinished)}
        if ordered:
            figures |= {name: percentile(ordered, percent) / 1000 for name, percent in PERCENTILES.items()}
        return figures


PERCENTILES = {"p50_us": 50, "p99_us": 99, "p999_us": 99.9}


def argument(plan: Plan) -> str:
    """The plan as this program's argument."""
    return json.dumps(asdict(plan))


def main() -> None:
    sys.stdout.write(json.dumps(OpenLoop(Plan(**json.loads(sys.argv[1]))).run()) + "\n")


if __name__ == "__main__":
    main()
