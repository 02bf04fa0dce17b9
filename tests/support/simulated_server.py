"""A server with places and a queue, and workers in front of it that admit by their limits, all in simulated time.

Requests come at random (Poisson) and take times distributed exponentially: M/M/c. Who finds the limit of its worker
used up is refused. Each run is the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random

from proxy.core.overload.gradient import Gradient

OverTime = Callable[[float], float]
LOOK_S = 0.25


def steady(value: float) -> OverTime:
    """Always the same."""
    return lambda _: value


def steps(*pairs: tuple[float, float]) -> OverTime:
    """From each time on the value beside it."""
    return lambda now: [value for begin, value in pairs if now >= begin][-1]


class SimulatedServer:
    """`rate`: requests per second; `places`: requests it works on at once; `service_s`: how long it takes for one."""

    def __init__(self, limits: Sequence[Gradient], rate: OverTime, places: OverTime, service_s: OverTime):
        self.limits, self.rate, self.places, self.service_s = limits, rate, places, service_s
        self.chance = Random(1)
        self.now = 0.0
        self.busy = 0
        self.queue: deque[tuple[int, float]] = deque()
        self.in_flight = [0] * len(limits)
        self.most = [0] * len(limits)
        self.answered = [0] * len(limits)
        self.answered_s = [0.0] * len(limits)
        self.answers: list[tuple[float, float]] = []        # when, after how long
        self.refused: list[float] = []                      # when
        self._number = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._at(0.0, self._arrive)
        self._at(LOOK_S, self._look)

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._events[0][0] <= until:
            self.now, _, happens = heappop(self._events)
            happens()

    def goodput(self, begin: float, end: float) -> float:
        """Answers per second."""
        return sum(begin <= at < end for at, _ in self.answers) / (end - begin)

    def mean_s(self, begin: float, end: float) -> float:
        """How long the answers took that came in this time."""
        took = [took_s for at, took_s in self.answers if begin <= at < end]
        return sum(took) / len(took)

    def share_refused(self, begin: float, end: float) -> float:
        """The part of the requests that were refused, from 0 to 1."""
        refused = sum(begin <= at < end for at in self.refused) / (end - begin)
        return refused / (refused + self.goodput(begin, end))

    def _at(self, when: float, happens: Callable[[], None]) -> None:
        heappush(self._events, (when, next(self._number), happens))

    def _arrive(self) -> None:
        self._at(self.now + self.chance.expovariate(self.rate(self.now)), self._arrive)
        worker = self.chance.randrange(len(self.limits))
        if self.in_flight[worker] >= self.limits[worker].limit:
            self.refused.append(self.now)
            return
        self.in_flight[worker] += 1
        self.most[worker] = max(self.most[worker], self.in_flight[worker])
        self.queue.append((worker, self.now))
        self._serve()

    def _serve(self) -> None:
        while self.queue and self.busy < self.places(self.now):
            worker, came = self.queue.popleft()
            self.busy += 1
            took_s = self.chance.expovariate(1 / self.service_s(self.now))
            self._at(self.now + took_s, partial(self._answer, worker, came))

    def _answer(self, worker: int, came: float) -> None:
        self.busy -= 1
        self.in_flight[worker] -= 1
        self.answered[worker] += 1
        self.answered_s[worker] += self.now - came
        self.answers.append((self.now, self.now - came))
        self._serve()

    def _look(self) -> None:
        for worker, limit in enumerate(self.limits):
            limit.look(self.now, self.answered[worker], self.answered_s[worker], self.most[worker])
            self.answered[worker], self.answered_s[worker], self.most[worker] = 0, 0.0, self.in_flight[worker]
        self._at(self.now + LOOK_S, self._look)
