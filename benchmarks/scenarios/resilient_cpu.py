"""What health, attempts and protection from overload cost where nothing ever fails: CPU per request with ÷ without.

Two Turnouts stand side by side, before the same service: one has everything configured, the other has off what can be
off. Spans of one and of the other make a pair, the first of a pair being the other one each time; the ratio is taken
within a pair. All their processes count, the supervisor with its probes too.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import proc
from benchmarks.bench import Bench, Run
from benchmarks.failing import RETRY
from benchmarks.live import Behind, LiveProxy, in_words, live
from benchmarks.loads import steady
from benchmarks.peers import Peer
from benchmarks.rounds import percentile

SERVERS = 3
PAIRS = 10
QUICK_PAIRS = 3
SPAN_S = 1.5
SETTLE_S = 0.4                                  # at the begin of a span, not counted
PATH = "/resilient"
ALL = ("probe: {path: /, interval: 1s}, eject: {failures: 5}, breaker: {failures: 50%}, panic: 30%, slow_start: 10s, "
       "in_flight: 2000, server_in_flight: 1000, queue: {length: 500, wait: 1s}, "
       "adaptive: {smallest: 100, largest: 2000}")
NOTHING = "eject: off, breaker: off"
ALL_ROUTE = f"baseline: stable\nrescue: true\nwhen_down: baseline\npriority: high\n{RETRY}"
NO_ROUTE = "baseline: stable\nretry: off"
LIMITS = "limits: {memory: 2GiB, client_connections: 1000, client_rate: 100000/s}\n"


@dataclass(frozen=True, slots=True)
class Span:
    """One of the two for a while. Moments in ns."""

    case: str
    pair: int
    since: int
    until: int
    cpu_s: float


class ResilientCpu:
    """See the module."""

    name = "resilient-cpu"
    title = "everything configured and everybody healthy, 5,000 requests/s, two workers"
    together = False

    def takes(self, peer: Peer) -> bool:
        return peer.name == "turnout"

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields a run per span."""
        with contextlib.ExitStack() as ends:
            loads: dict[str, tuple[LiveProxy, steady.Running]] = {}
            for case, behind in (("without", behind_service(bench, NOTHING, NO_ROUTE)),
                                 ("with", behind_service(bench, ALL, ALL_ROUTE, LIMITS))):
                one = ends.enter_context(live(bench, f"{self.name}-{case}", behind=behind))
                loads[case] = one, ends.enter_context(one.load(path=PATH, paused=True))
            spans = [_span(*loads[case], case, pair)
                     for pair in range(QUICK_PAIRS if bench.effort.quick else PAIRS)
                     for case in (("without", "with") if pair % 2 else ("with", "without"))]
            accounts = {case: load.stop() for case, (_, load) in loads.items()}
        for span in spans:
            yield judge(self.name, span, accounts[span.case])


def behind_service(bench: Bench, of_versions: str, of_route: str, more: str = "") -> Behind:
    """Two versions of three servers each, nine to one."""
    addresses = ", ".join(f'"http://{address}"' for address in bench.service.old(SERVERS))
    versions = "".join(f"  {name}: {{servers: [{addresses}], {of_versions}}}\n" for name in ("stable", "candidate"))
    lines = "".join(f"    {line}\n" for line in of_route.splitlines())
    route = (f"  - name: resilient\n    match: {{path: {PATH}}}\n    split: {{stable: 90, candidate: 10}}\n"
             f"    sticky: {{app_cookie: uid}}\n{lines}")
    return Behind(versions, route, more=more)


def _span(one: LiveProxy, load: steady.Running, case: str, pair: int) -> Span:
    load.resume()
    time.sleep(SETTLE_S)
    processes = one.proxy.pids()
    since, before = time.monotonic_ns(), proc.cpu_s(processes)
    time.sleep(SPAN_S)
    until, after = time.monotonic_ns(), proc.cpu_s(processes)
    load.pause()
    return Span(case, pair, since, until, after - before)


def judge(scenario: str, span: Span, account: steady.Account) -> Run:
    """CPU and latency of a span."""
    served = sum(span.since <= end < span.until for end in account.ends)
    latencies = account.latencies(span.since, span.until)
    lost = [loss for loss in account.losses if span.since <= loss.sent < span.until]
    figures = {"cpu_us": span.cpu_s * 1e6 / served, "p50_ms": percentile(latencies, 50) / 1e6,
               "p99_ms": percentile(latencies, 99) / 1e6, "answered": float(served)}
    return Run(scenario, span.case, "turnout", span.pair, figures, in_words(lost))
