"""One of three servers killed with -9 under a steady load of GETs, and started again: what clients lose by both.

Several kills under one load, each of the next server; between them the server that was started again has to get
requests by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.bench import Bench, Run
from benchmarks.failing import Failing, Group, failing, lost_in, route
from benchmarks.live import RATE, in_words
from benchmarks.loads import steady
from benchmarks.peers import Peer
from benchmarks.rounds import percentile

KILLS = 4
QUICK_KILLS = 2
DEAD_S = 2.5
SETTLE_S = 0.75


@dataclass(frozen=True, slots=True)
class Killed:
    """One kill. Moments in ns: of the kill, of the new start, of the first request at the new one, of the end."""

    since: int
    started: int
    back: int
    until: int


class KillServer:
    """See the module."""

    name = "kill-server"
    title = "one of three servers killed with -9 under 5,000 GET/s, two workers"
    together = False

    def takes(self, peer: Peer) -> bool:
        return peer.name == "turnout"

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields a run per kill."""
        with failing(bench, self.name, [Group("three", 3)], route("three: 1")) as behind, behind.load(RATE) as load:
            time.sleep(SETTLE_S)
            kills = [_kill(behind, number) for number in range(QUICK_KILLS if bench.effort.quick else KILLS)]
            account = load.stop()
        for number, killed in enumerate(kills):
            yield judge(self.name, number, killed, account)


def _kill(behind: Failing, number: int) -> Killed:
    server = behind.servers["three"][number % 3]
    since = time.monotonic_ns()
    server.kill()
    time.sleep(DEAD_S)
    server.start()
    started = time.monotonic_ns()
    back = behind.wait_traffic(server)
    time.sleep(SETTLE_S)
    return Killed(since, started, back, time.monotonic_ns())


def judge(scenario: str, number: int, killed: Killed, account: steady.Account) -> Run:
    """What was lost from the kill until after the server's return."""
    lost = lost_in(account, killed.since, killed.until)
    latencies = account.latencies(killed.since, killed.until)
    return Run(scenario, "", "turnout", number, {
        "errors": float(len(lost)), "errors_at_return": float(len(lost_in(account, killed.started, killed.until))),
        "back_s": (killed.back - killed.started) / 1e9, "answered": float(len(latencies)),
        "p99_ms": percentile(latencies, 99) / 1e6, "slowest_ms": latencies[-1] / 1e6}, in_words(lost))
