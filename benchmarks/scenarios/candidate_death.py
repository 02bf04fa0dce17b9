"""A candidate with a quarter of the traffic fails whole, all of its servers at once: what clients and the baseline see.

`killed`: SIGKILL; `stopped`: SIGSTOP, so that connections are made and nobody answers; `failing`: every answer is a
500. Idempotent traffic, rescue on. Errors are counted before the version is known to be down, and after that until its
servers are well again; requests at the baseline's servers are divided by what clients sent in the same span.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.bench import Bench, Run
from benchmarks.failing import PROBE, RETRY, Failing, Group, failing, lost_in, route, sent_in
from benchmarks.live import in_words
from benchmarks.loads import steady
from benchmarks.peers import Peer

RATE = 2_500
CASES = {"killed": "kill", "stopped": "stop", "failing": "status 500"}
ROUNDS = 2
DEAD_S = 2.0
SETTLE_S = 0.75


@dataclass(frozen=True, slots=True)
class Death:
    """Moments in ns: of the death, of the version seen down, of the healing. `rescued`: requests, by /metrics."""

    case: str
    number: int
    since: int
    down: int
    healed: int
    rescued: float


class CandidateDeath:
    """See the module."""

    name = "candidate-death"
    title = f"the whole candidate, a quarter of {RATE:,} GET/s, dies with rescue on, two workers"
    together = False

    def takes(self, peer: Peer) -> bool:
        return peer.name == "turnout"

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields a run per case and round."""
        groups = [Group("stable", 2), Group("candidate", 2, "new", PROBE)]
        split = route("stable: 75, candidate: 25", f"baseline: stable\nrescue: true\n{RETRY}")
        with failing(bench, self.name, groups, split) as behind, behind.load(RATE) as load:
            time.sleep(SETTLE_S)
            deaths = [_die(behind, case, number) for number in range(1 if bench.effort.quick else ROUNDS)
                      for case in CASES]
            account, baseline = load.stop(), [got.came for got in behind.got("stable")]
        for death in deaths:
            yield judge(self.name, death, account, baseline)


def _die(behind: Failing, case: str, number: int) -> Death:
    servers = behind.servers["candidate"]
    before = _rescued(behind)
    since = time.monotonic_ns()
    for server in servers:
        server.fail(CASES[case])
    down = behind.wait_state("candidate", "down")
    time.sleep(DEAD_S)
    healed = time.monotonic_ns()
    for server in servers:
        server.heal()
    behind.wait_state("candidate", "up")
    behind.wait_traffic(servers[0])
    time.sleep(SETTLE_S)
    return Death(case, number, since, down, healed, _rescued(behind) - before)


def _rescued(behind: Failing) -> float:
    return sum(value for name, value in behind.counts().items() if name.startswith("rescues_total"))


def judge(scenario: str, death: Death, account: steady.Account, baseline: Sequence[int]) -> Run:
    """What was lost before and after the version was down, and what the baseline got of it."""
    before, after = lost_in(account, death.since, death.down), lost_in(account, death.down, death.healed)
    sent = sent_in(account, death.since, death.healed)
    at_baseline = sum(death.since <= came < death.healed for came in baseline)
    return Run(scenario, death.case, "turnout", death.number, {
        "errors_before": float(len(before)), "errors_after": float(len(after)), "rescued": death.rescued,
        "down_ms": (death.down - death.since) / 1e6, "sent": float(sent), "baseline_ratio": at_baseline / max(1, sent),
    }, in_words(before + after))
