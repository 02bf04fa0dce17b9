"""What copies cost clients and workers: every way in which a shadow may behave, each beside spans without a shadow.

One Turnout, one load, a route for each case; all answer the same JSON of 2 KiB. Spans without a shadow (`off`) stand
between all others, in another order each round, and every figure is divided by the mean of its two neighbours, so that
noise that lasts strikes both. After a shadow that leaves copies hanging, nothing is measured until they have ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import proc, shadowed
from benchmarks.bench import Bench, Run
from benchmarks.live import Behind, LiveProxy, in_words, live
from benchmarks.loads import steady
from benchmarks.peers import Peer
from benchmarks.processes import free_port
from benchmarks.rounds import percentile
from benchmarks.shadowed import Case

OFF = "off"
TIMEOUT_S = 2.0                                 # of copies: short, so that what hangs is replaced all along
RESTS_S = TIMEOUT_S + 0.5
PLAIN = f"timeout: {TIMEOUT_S:g}s, compare: off"
CASES = (
    Case("copied", "new", PLAIN, 0.2),
    Case("picked", "new", 'compare: {ignore: ["$.request"]}', 0.2),
    Case("compared", "new", 'compare: {ignore: ["$.request"], per_second: 1000000}', 2.0),
    Case("dead", "dead", PLAIN, 0.2),
    Case("full", "full", PLAIN, RESTS_S),
    Case("deaf", "deaf", PLAIN, RESTS_S),
    Case("slow", "slow", PLAIN, RESTS_S),
    Case("dripping", "dripping", PLAIN, RESTS_S),
    Case("garbage", "garbage", PLAIN, 0.2),
)
BAD = tuple(case.name for case in CASES[3:])
PARTS = ("full", "deaf", "slow", "dripping", "garbage")
ROUNDS = 5
SPAN_S = 2.0
SETTLE_S = 0.5                                  # at the begin of a span, not counted


@dataclass(frozen=True, slots=True)
class Span:
    """A case for a while. Moments in ns, CPU in seconds; `comparer_s` up to the end of the rest after it."""

    case: str
    since: int
    until: int
    workers_s: float
    comparer_s: float
    counts: dict[str, float]
    fraction: float


class Shadow:
    """See the module."""

    name = "shadow"
    title = "copies of 5,000 requests/s to shadows of every kind, two workers"
    together = False

    def takes(self, peer: Peer) -> bool:
        return peer.name == "turnout"

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields a run per case and round."""
        ports, service = shadowed.odd(bench, PARTS)
        everything = (Case(OFF), *CASES)
        behind = Behind(shadowed.versions({**ports, "dead": free_port()}), shadowed.routes(everything))
        paths = [case.path for case in everything]
        rounds: list[list[Span]] = []
        with live(bench, self.name, behind=behind) as one, one.load(paths=paths, paused=True) as load:
            for number in range(2 if bench.effort.quick else ROUNDS):
                order = CASES if number % 2 == 0 else CASES[::-1]
                rounds.append(_round(one, load, [case for each in order for case in (Case(OFF), each)] + [Case(OFF)]))
            account = load.stop()
        bench.programs.stop(service)
        for number, spans in enumerate(rounds):
            yield from judge(self.name, number, spans, account)


def _round(one: LiveProxy, load: steady.Running, cases: Sequence[Case]) -> list[Span]:
    workers, comparers = one.workers(), shadowed.comparers(one)
    return [_span(one, load, case, workers, comparers) for case in cases]


def _span(one: LiveProxy, load: steady.Running, case: Case, workers: list[int], comparers: list[int]) -> Span:
    before, compared_s = shadowed.counts(one), proc.cpu_s(comparers)
    load.switch([OFF, *(each.name for each in CASES)].index(case.name))
    time.sleep(SETTLE_S)
    since, worked_s = time.monotonic_ns(), proc.cpu_s(workers)
    time.sleep(SPAN_S)
    until, workers_s = time.monotonic_ns(), proc.cpu_s(workers) - worked_s
    load.pause()
    fraction = one.admin.must("GET", f"/api/v1/routes/{case.name}/shadow")["fraction"] if case.to else 1.0
    time.sleep(case.rests_s)
    return Span(case.name, since, until, workers_s, proc.cpu_s(comparers) - compared_s,
                shadowed.of_route(shadowed.counts(one), before, case.name), fraction)


def judge(scenario: str, number: int, spans: Sequence[Span], account: steady.Account) -> Iterator[Run]:
    """A run per span; those of a shadow with their ratios to the spans before and after them."""
    measured = [_figures(span, account) for span in spans]
    for place, (span, (figures, flags)) in enumerate(zip(spans, measured, strict=True)):
        if span.case != OFF:
            around = [measured[place - 1][0], measured[place + 1][0]]
            figures |= {f"{name}_ratio": figures[name] / (sum(each[name] for each in around) / len(around))
                        for name in ("p50_ms", "p99_ms", "cpu_us")}
        round_number = number * (len(CASES) + 1) + place // 2 if span.case == OFF else number
        yield Run(scenario, span.case, "turnout", round_number, figures, flags)


def _figures(span: Span, account: steady.Account) -> tuple[dict[str, float], tuple[str, ...]]:
    latencies = account.latencies(span.since, span.until)
    served = sum(span.since <= end < span.until for end in account.ends)
    lost = [loss for loss in account.losses if span.since <= loss.lost < span.until]
    figures = {"p50_ms": percentile(latencies, 50) / 1e6, "p99_ms": percentile(latencies, 99) / 1e6,
               "cpu_us": span.workers_s * 1e6 / served, "errors": float(len(lost)), "answered": float(served)}
    if span.case != OFF:
        figures |= {"fraction": span.fraction, **span.counts}
    compared = sum(count for what, count in span.counts.items() if what.startswith("compared_"))
    if compared:
        figures["comparer_us"] = span.comparer_s * 1e6 / compared
    return figures, in_words(lost) + _flags(span)


def _flags(span: Span) -> tuple[str, ...]:
    """What makes the figures say less than they seem to."""
    if span.case == OFF:
        return ()
    made = sum(count for what, count in span.counts.items() if what.startswith("copies_"))
    found = [] if made else ["no copy was made at all: nothing was proved"]
    if span.fraction < 1.0 and span.case not in BAD:        # a bad shadow is shed rightly
        found.append(f"copies were shed: {span.fraction:.0%} were left at the end")
    return tuple(found)
