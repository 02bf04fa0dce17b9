"""One of three servers falls silent: how long requests are still sent to it, with a probe every 250 ms.

`silent`: it accepts and reads, and says when each request came; `stopped`: SIGSTOP, after which the requests themselves
tell when clients sent them, as soon as it goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.bench import Bench, Run
from benchmarks.failing import Failing, Group, failing, lost_in, route
from benchmarks.fickle import Fickle, Got
from benchmarks.live import in_words
from benchmarks.loads import steady
from benchmarks.peers import Peer
from benchmarks.rounds import percentile

RATE = 2_000
CASES = {"silent": "silent", "stopped": "stop"}
ROUNDS = 2
WATCHED_S = 3.5
READ_S = 0.3                                    # for one that was stopped, to read what had come meanwhile
SETTLE_S = 0.75


@dataclass(frozen=True, slots=True)
class Silence:
    """A server's. Moments in ns; `until` it was told to go on."""

    case: str
    number: int
    since: int
    until: int
    got: tuple[Got, ...]


class Blackhole:
    """See the module."""

    name = "blackhole"
    title = f"one of three servers falls silent under {RATE:,} GET/s, two workers"
    together = False

    def takes(self, peer: Peer) -> bool:
        return peer.name == "turnout"

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields a run per case and round."""
        rounds = 1 if bench.effort.quick else ROUNDS
        with failing(bench, self.name, [Group("three", 3)], route("three: 1")) as behind, behind.load(RATE) as load:
            time.sleep(SETTLE_S)
            silences = [_fall_silent(behind, case, number) for number in range(rounds) for case in CASES]
            account = load.stop()
        for silence in silences:
            yield judge(self.name, silence, account)


def _fall_silent(behind: Failing, case: str, number: int) -> Silence:
    servers = behind.servers["three"]
    server: Fickle = servers[number % len(servers)]
    known, since = len(server.got()), time.monotonic_ns()
    server.fail(CASES[case])
    time.sleep(WATCHED_S)
    until = time.monotonic_ns()
    if case == "stopped":
        server.go_on()
        time.sleep(READ_S)
    got = tuple(server.got()[known:])
    server.heal()
    behind.wait_traffic(server)
    time.sleep(SETTLE_S)
    return Silence(case, number, since, until, got)


def judge(scenario: str, silence: Silence, account: steady.Account) -> Run:
    """When the last request was sent there, and what clients lost."""
    moments = [got.sent if silence.case == "stopped" else got.came for got in silence.got]
    vain = [moment for moment in moments if silence.since <= moment < silence.until]
    lost, latencies = lost_in(account, silence.since, silence.until), account.latencies(silence.since, silence.until)
    return Run(scenario, silence.case, "turnout", silence.number, {
        "last_ms": (max(vain, default=silence.since) - silence.since) / 1e6, "sent_in_vain": float(len(vain)),
        "errors": float(len(lost)), "p99_ms": percentile(latencies, 99) / 1e6}, in_words(lost))
