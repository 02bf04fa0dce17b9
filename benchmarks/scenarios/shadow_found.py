"""Fifty differences planted in 2 % of a candidate's answers, under noise in five fields: which of them are reported.

The whole program with a control: every request goes to the candidate and once more to the baseline. A group that is
reported and that no plant brings is false.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks import shadowed
from benchmarks.bench import Bench, Run, answers
from benchmarks.live import Behind, LiveProxy, in_words, live
from benchmarks.loads.admin import ROOT
from benchmarks.loads.plants import PLAIN, PLANTS, TYPES
from benchmarks.loads.wrk import LoadError
from benchmarks.peers import Peer
from benchmarks.processes import free_port, wait_until_it_answers
from benchmarks.shadowed import Case

PER_S = 1500
TURNS = 32                                      # how often each difference is planted
EVERY, QUICK_EVERY = 50, 10                     # one planted in so many answers
SHARES = {PLAIN: 6, "/json/found/text": 1, "/json/found/bytes": 1}
ROUTE = Case("found", "candidate", 'control: true, compare: {headers: ["*"], samples: 1, per_second: 1000000}')
SHADOW = f"/api/v1/routes/{ROUTE.name}/shadow"
COMPARED_WITHIN_S = 20.0
SLOWER = 3.0                                    # than it is sent, at most: then it is given up


class ShadowFound:
    """See the module."""

    name = "shadow-found"
    title = "50 differences planted in 2 % of the answers, under noise in 5 fields, with a control"
    together = False

    def takes(self, peer: Peer) -> bool:
        return peer.name == "turnout"

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields one run."""
        every = QUICK_EVERY if bench.effort.quick else EVERY
        ports = {"old": free_port(), "new": free_port()}
        service = bench.programs.start(
            "noisy", [sys.executable, "-m", "benchmarks.loads.noisy_service", json.dumps({**ports, "every": every})],
            sorted({bench.cores.proxy, bench.cores.load}), {"PYTHONPATH": str(ROOT)})
        wait_until_it_answers(service, lambda: answers(ports["old"]))
        behind = Behind(shadowed.versions({"candidate": ports["new"]}), shadowed.routes([ROUTE]),
                        (f"127.0.0.1:{ports['old']}",))
        with live(bench, self.name, behind=behind) as one:
            one.admin.must("DELETE", f"{SHADOW}/differences")
            with one.load(PER_S, raw=_requests()) as load:
                _wait_until_compared(one, planted_in(every))
                account = load.stop()
            report = _report_when_compared(one)
            listed = one.admin.must("GET", f"{SHADOW}/differences?all=true&limit=500&samples=0")
        bench.programs.stop(service)
        figures, flags = judge(listed["differences"])
        totals = report["totals"]
        figures |= {"compared": totals["compared"], "copied": totals["copied"],
                    "dropped": report["comparer"]["dropped"], "fraction": report["fraction"],
                    **{f"skipped_{why}": n for why, n in totals["skipped"].items()}}
        lost = in_words(account.losses)
        yield Run(self.name, "", "turnout", 0, {name: float(value) for name, value in figures.items()}, flags + lost)


def planted_in(every: int) -> int:
    """How many requests it takes until each difference was planted so often as it must be."""
    in_turn = {endpoint: sum(plant.endpoint == endpoint for plant in PLANTS) for endpoint in TYPES}
    answers_to_each = max(in_turn[endpoint] * every * TURNS / share for endpoint, share in SHARES.items())
    return int(answers_to_each * sum(SHARES.values()))


def _requests() -> list[str]:
    return [f"GET {endpoint} HTTP/1.1\r\nHost: shop.example.com\r\nAccept: */*\r\n\r\n"
            for endpoint, share in SHARES.items() for _ in range(share)]


def _wait_until_compared(one: LiveProxy, count: int) -> None:
    """Wait for so many comparisons, however many copies are shed meanwhile. LoadError when that takes too long."""
    give_up = time.monotonic() + SLOWER * count / PER_S + COMPARED_WITHIN_S
    while (compared := one.admin.must("GET", SHADOW)["totals"]["compared"]) < count:
        if time.monotonic() > give_up:
            raise LoadError(f"only {compared} of {count} answers were compared")
        time.sleep(1.0)


def _report_when_compared(one: LiveProxy) -> Any:
    """The report, once nothing more comes. LoadError when that takes too long."""
    before, give_up = -1, time.monotonic() + COMPARED_WITHIN_S
    while time.monotonic() < give_up:
        report = one.admin.must("GET", SHADOW)
        if report["totals"]["compared"] == before > 0:
            return report
        before = report["totals"]["compared"]
        time.sleep(1.5)
    raise LoadError(f"answers were still being compared after {COMPARED_WITHIN_S:g} s")


def judge(listed: Iterable[dict[str, Any]]) -> tuple[dict[str, float], tuple[str, ...]]:
    """How many plants were found and missed, and how many groups are false; flags name the missed and the false."""
    groups = {(group["endpoint"], group["path"], group["kind"]): group["verdict"] for group in listed}
    reported = {key for key, verdict in groups.items() if verdict == "different"}
    planted = {plant.key for plant in PLANTS}
    theirs = planted | {(plant.endpoint, *each) for plant in PLANTS for each in plant.with_it}
    missed, false = sorted(planted - reported), sorted(reported - theirs)
    flags = [f"missed: {' '.join(key)} ({groups.get(key, 'not seen')})" for key in missed]
    flags += [f"false: {' '.join(key)}" for key in false]
    return {"planted": float(len(planted)), "found": float(len(planted & reported)), "missed": float(len(missed)),
            "false_groups": float(len(false)),
            "noise_groups": float(sum(verdict == "noise" for verdict in groups.values()))}, tuple(flags)
