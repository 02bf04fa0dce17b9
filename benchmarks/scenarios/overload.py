"""Three times the load that a service can serve: what is still served well, and how fast.

The service has 16 places and takes 20 ms for a request: 800 requests/s. Turnout lets as many through as there are
places, lets some wait for a moment, and refuses the rest at once. Beside it the same without any bound (`unbound`),
which shows what would happen to a service that is simply given everything. Goodput: answers with 200 per second. The
peak is the best span of some around what it can serve.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.bench import Bench, Run
from benchmarks.failing import Group, failing, lost_in, route
from benchmarks.live import in_words
from benchmarks.loads import steady
from benchmarks.peers import Peer
from benchmarks.rounds import percentile

PLACES = 16
SERVICE_S = 0.02
CAPACITY = PLACES / SERVICE_S
QUEUE_S = 0.2
BOUND = f"in_flight: {PLACES}, queue: {{length: 64, wait: {QUEUE_S:g}s}}, breaker: off, eject: off"
UNBOUND = "breaker: off, eject: off"
STEPS = {"unloaded": (0.1,), "peak": (0.85, 1.0, 1.15), "over": (3.0, 3.0)}
SPAN_S = 2.5
QUICK_SPAN_S = 1.0
SETTLE_S = 0.75
CONNECTIONS = 400                               # more than wait and are served at once: an open loop stays open


@dataclass(frozen=True, slots=True)
class Span:
    """A load for a while. Moments in ns."""

    step: str
    since: int
    until: int
    account: steady.Account

    @property
    def latencies(self) -> list[int]:
        """Of those that were answered in this span, however long ago they were due."""
        return sorted(end - due for due, end in zip(self.account.dues, self.account.ends, strict=True)
                      if self.since <= end < self.until)

    @property
    def goodput(self) -> float:
        """Good answers per second."""
        return sum(self.since <= end < self.until for end in self.account.ends) * 1e9 / (self.until - self.since)


class Overload:
    """See the module."""

    name = "overload"
    title = "three times the load that the service can serve, two workers"
    together = False

    def takes(self, peer: Peer) -> bool:
        return peer.name == "turnout"

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields a run for what is bounded, and one for what is not."""
        for case, more in (("bound", BOUND), ("unbound", UNBOUND)):
            group = Group("narrow", 1, more=more)
            with failing(bench, f"{self.name}-{case}", [group], route("narrow: 1", "retry: off")) as behind:
                behind.servers["narrow"][0].behave(f"limited {PLACES} {SERVICE_S:g}")
                spans = [_span(behind.load(factor * CAPACITY, connections=CONNECTIONS), step,
                               QUICK_SPAN_S if bench.effort.quick else SPAN_S)
                         for step, factors in STEPS.items() for factor in factors]
            yield judge(self.name, case, spans)


def _span(load: steady.Running, step: str, seconds: float) -> Span:
    with load:
        time.sleep(SETTLE_S)
        since = time.monotonic_ns()
        time.sleep(seconds)
        until = time.monotonic_ns()
        return Span(step, since, until, load.stop())


def judge(scenario: str, case: str, spans: Sequence[Span]) -> Run:
    """Goodput and latency under overload, by those of the peak and of a service that has nothing to do."""
    peak = max(span.goodput for span in spans if span.step == "peak")
    unloaded = next(span for span in spans if span.step == "unloaded")
    over = [span for span in spans if span.step == "over"]
    unloaded_p99 = percentile(unloaded.latencies, 99) / 1e6
    served = sorted(latency for span in over for latency in span.latencies)
    allowed = 5 * unloaded_p99 + QUEUE_S * 1e3
    lost = [loss for span in over for loss in lost_in(span.account, span.since, span.until)]
    wrong = [loss for loss in lost if not loss.why.startswith("answered 503")]
    p99 = percentile(served, 99) / 1e6 if served else 0.0
    return Run(scenario, case, "turnout", 0, {
        "peak": peak, "goodput": sum(span.goodput for span in over) / len(over),
        "goodput_ratio": sum(span.goodput for span in over) / len(over) / peak,
        "unloaded_p99_ms": unloaded_p99, "p99_ms": p99, "p99_ratio": p99 / allowed,
        "refused": float(len(lost) - len(wrong))}, in_words(wrong))
