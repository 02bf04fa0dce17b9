"""Data traffic while the admin API gets 500 requests per second, half of them bad, against the same without.

Three spans take turns: `quiet` without a flood, `elsewhere` with the same flood sent to the service instead (what the
flooding program itself costs on the cores that all share), `flooded`. The bar is on flooded ÷ quiet.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence

from benchmarks.bench import Bench, Run
from benchmarks.live import LiveProxy, in_words, live
from benchmarks.loads import steady
from benchmarks.loads.admin import TOKEN
from benchmarks.peers import Peer
from benchmarks.rounds import percentile

PER_S = 500
CASES = ("quiet", "elsewhere", "flooded")
ROUNDS = 6
SPAN_S = 2.0
SETTLE_S = 0.3                                  # at the begin of a span, not counted


class Flood:
    """See the module."""

    name = "flood"
    title = "data traffic at 5,000 requests/s while the admin API is flooded with 500 requests/s, two workers"
    together = False

    def takes(self, peer: Peer) -> bool:
        return peer.name == "turnout"

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields a run per span."""
        rounds, span_s = (2, 1.0) if bench.effort.quick else (ROUNDS, SPAN_S)
        with live(bench, "flood") as one, one.load() as load:
            time.sleep(SETTLE_S)
            spans = []
            for number in range(rounds):
                order = CASES if number % 2 == 0 else CASES[::-1]
                spans += [(case, number, *_span(one, case, number, span_s)) for case in order]
            account = load.stop()
        for case, number, since, until, flood in spans:
            latencies = account.latencies(since, until)
            figures = {"p50_ms": percentile(latencies, 50) / 1e6, "p99_ms": percentile(latencies, 99) / 1e6,
                       "answered": float(len(latencies))}
            lost = [loss for loss in account.losses if since <= loss.sent < until]
            yield Run(self.name, case, "turnout", number, figures | flood, in_words(lost))


def _span(one: LiveProxy, case: str, number: int, seconds: float) -> tuple[int, int, dict[str, float]]:
    """When the span began and ended (ns), and what the flood was answered."""
    with contextlib.ExitStack() as stack:
        running = None
        if case != "quiet":
            port = one.place.admin_port if case == "flooded" else one.bench.service.old_port
            plan = steady.Plan(port, PER_S, str(one.bench.folder / "record-flood"), connections=8, seed=number,
                               raw=requests_of(port))
            running = stack.enter_context(steady.Running(plan, one.cores))
        time.sleep(SETTLE_S)
        since = time.monotonic_ns()
        time.sleep(seconds)
        until = time.monotonic_ns()
        if running is None:
            return since, until, {}
        told = running.stop()
        good = told.statuses.get("200", 0)
        return since, until, {"flood_good": float(good), "flood_bad": float(sum(told.statuses.values()) - good),
                              "flood_lost": float(len(told.losses))}


def requests_of(port: int) -> list[str]:
    """What the flood is made of: good, bad, good, bad …"""
    good = [_request(port, "GET", "/api/v1/status"), _request(port, "GET", "/api/v1/routes/r0"),
            _request(port, "GET", "/api/v1/events?limit=20"), _request(port, "GET", "/metrics")]
    bad = [_request(port, "GET", "/api/v1/status", token="wrong"),
           _request(port, "PUT", "/api/v1/routes/r0/split", body='{"split": {"old": 90,'),
           _request(port, "GET", "/api/v1/nothing-here"),
           _request(port, "PUT", "/api/v1/routes/r0/split", body=json.dumps({"split": {"old": -1, "young": "x"}}))]
    return [text for pair in zip(good, bad, strict=True) for text in pair]


def _request(port: int, method: str, path: str, token: str = TOKEN, body: str = "") -> str:
    entity = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return (f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            f"{entity}\r\n{body}")
