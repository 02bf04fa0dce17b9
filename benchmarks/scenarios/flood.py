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
ROUNDS = 14
SPAN_S = 1.0
SETTLE_S = 0.15                                 # at the begin of a span, not counted


class Flood:
    """See the module."""

    name = "flood"
    title = "data traffic at 5,000 requests/s while the admin API is flooded with 500 requests/s, two workers"
    together = False

    def takes(self, peer: Peer) -> bool:
        return peer.name == "turnout"

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields a run per span."""
        spans: list[tuple[str, int, int, int]] = []
        with live(bench, "flood") as one, one.load() as load, contextlib.ExitStack() as stack:
            ports = {"elsewhere": bench.service.old_port, "flooded": one.place.admin_port}
            floods = {case: stack.enter_context(_flood(one, port)) for case, port in ports.items()}
            time.sleep(2 * SETTLE_S)
            for number in range(3 if bench.effort.quick else ROUNDS):
                order = CASES if number % 2 == 0 else CASES[::-1]
                spans += [(case, number, *_span(floods.get(case))) for case in order]
            account, answered = load.stop(), {case: flood.stop() for case, flood in floods.items()}
        for case, number, since, until in spans:
            latencies = account.latencies(since, until)
            figures = {"p50_ms": percentile(latencies, 50) / 1e6, "p99_ms": percentile(latencies, 99) / 1e6,
                       "answered": float(len(latencies))}
            lost = [loss for loss in account.losses if since <= loss.sent < until]
            yield Run(self.name, case, "turnout", number, figures, in_words(lost))
        yield Run(self.name, "api", "turnout", 0, answers(answered["flooded"]))


def _flood(one: LiveProxy, port: int) -> steady.Running:
    record = str(one.bench.folder / f"record-flood-{port}")
    plan = steady.Plan(port, PER_S, record, connections=8, raw=requests_of(port), paused=True)
    return steady.Running(plan, one.cores)


def _span(flood: steady.Running | None) -> tuple[int, int]:
    """When the span began and ended (ns)."""
    if flood is not None:
        flood.resume()
    time.sleep(SETTLE_S)
    since = time.monotonic_ns()
    time.sleep(SPAN_S)
    until = time.monotonic_ns()
    if flood is not None:
        flood.pause()
    return since, until


def answers(flood: steady.Account) -> dict[str, float]:
    """What the admin API answered to the flood, and how fast."""
    good, took = flood.statuses.get("200", 0), flood.latencies(0, steady.NEVER)
    return {"good": float(good), "bad": float(sum(flood.statuses.values()) - good),
            "unanswered": float(len(flood.losses)), "p50_ms": percentile(took, 50) / 1e6,
            "p99_ms": percentile(took, 99) / 1e6}


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
