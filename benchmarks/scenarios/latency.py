"""Latency that a proxy adds at a fixed open-loop rate: half of Turnout's own peak, the same for every peer.

Added = the percentile via the proxy minus the same percentile of the same requests straight to the service.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.bench import Bench, Proxy, Run
from benchmarks.loads import openloop, wrk
from benchmarks.peers import Peer
from benchmarks.processes import settle

ROOT = Path(__file__).parents[2]
OVERLOADED = 0.005                              # share of unanswered requests from which a rate was too much
QUEUEING_US = 20_000                            # half of the requests waiting this long is a queue, not latency


class Latency:
    """See the module."""

    name = "latency"
    title = "added latency, open loop at half of Turnout's peak rate"
    together = True

    def takes(self, peer: Peer) -> bool:
        return True

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields one run per round for the service itself (`direct`), then one per peer."""
        proxies = bench.standing(peers)
        rate = round(peak_rate(bench, proxies) / 2, -2)
        bench.say(f"  rate: {rate:,.0f} requests/s")
        seconds = bench.effort.seconds + (0 if bench.effort.quick else 1)
        for number in range(1 if bench.effort.quick else bench.effort.rounds):
            direct = load(bench, openloop.Plan(bench.service.old_port, rate, seconds, seed=number))
            yield Run(self.name, "", "direct", number, direct | {"rate": rate}, flags(direct))
            for one in proxies:
                figures = load(bench, openloop.Plan(one.place.port, rate, seconds, seed=number))
                added = {f"added_{name}": figures[name] - direct[name] for name in openloop.PERCENTILES
                         if name in figures and name in direct}
                yield Run(self.name, "", one.name, number, figures | added | {"rate": rate}, one.flags + flags(figures))


def peak_rate(bench: Bench, proxies: list[Proxy]) -> float:
    """What Turnout serves per second with 64 connections; the first peer's rate where Turnout does not take part."""
    first = next((one for one in proxies if one.name == "turnout"), proxies[0])
    wanted = wrk.Load(first.place.port, 64, max(1.0, bench.effort.seconds))
    return wrk.run(wanted, bench.folder, bench.cores.load, first.pids()).figures["rps"]


def load(bench: Bench, plan: openloop.Plan) -> dict[str, float]:
    """Run the plan on the load's core."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.loads.openloop", openloop.argument(plan)],
                          cwd=ROOT, capture_output=True, text=True, check=False, timeout=plan.seconds + 30,
                          preexec_fn=settle([bench.cores.load]))
    if done.returncode:
        raise wrk.LoadError(f"open-loop load failed: {done.stderr[-2000:]}")
    return {name: float(value) for name, value in json.loads(done.stdout).items()}


def flags(figures: dict[str, float]) -> tuple[str, ...]:
    """What went wrong, in words."""
    found = [] if not figures["failed"] else [f"{figures['failed']:.0f} failed requests"]
    too_many_open = figures["unfinished"] > OVERLOADED * (figures["answered"] + figures["unfinished"])
    if too_many_open or figures.get("p50_us", 0.0) > QUEUEING_US:
        found.append("cannot keep this rate")
    return tuple(found)
