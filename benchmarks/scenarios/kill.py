"""A worker is killed with SIGKILL while 200 connections are busy: what is lost on the connections of the other worker.

A connection's worker is read from /proc before the kill. New connections are opened all along: queued ones must wait
for the successor and be answered.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence

from benchmarks import proc
from benchmarks.bench import Bench, Proxy, Run
from benchmarks.loads.held import Crowd, Held
from benchmarks.peers import Peer

CONNECTIONS = 200
WORKERS = 2
BEFORE_S = 0.5
AFTER_S = 2.5
NEWCOMERS = 60


class Kill:
    """See the module."""

    name = "kill"
    title = "worker killed with -9, two workers"
    together = False

    def takes(self, peer: Peer) -> bool:
        return peer.workers

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields a run per round, for the peers that have worker processes."""
        for peer in peers:
            for number in range(1 if bench.effort.quick else 3):
                place = bench.place(peer, f"kill-{number}", workers=WORKERS)
                both = sorted({bench.cores.proxy, bench.cores.load})
                with bench.up(peer, place, cores=both) as one:
                    yield measure(self.name, one, number)


def measure(scenario: str, one: Proxy, number: int) -> Run:
    """One kill."""
    crowd = Crowd(one.place.port)
    first = [crowd.join() for _ in range(CONNECTIONS)]
    crowd.keep_busy(BEFORE_S)
    workers = one.workers()
    owners = proc.connection_owners(one.place.port, workers)
    belongs = {id(member): owners.get(member.port) for member in first}
    victim = max(workers, key=list(owners.values()).count)
    newcomers: list[Held] = []
    refused: list[str] = []

    def another() -> None:
        if len(newcomers) + len(refused) < NEWCOMERS:
            try:
                newcomers.append(crowd.join())
            except OSError as error:
                refused.append(str(error))

    os.kill(victim, signal.SIGKILL)
    crowd.keep_busy(AFTER_S, another)
    crowd.finish()
    others = [member for member in first if belongs[id(member)] != victim]
    flags = list(one.flags)
    if not others or len(others) == len(first):
        flags.append("all connections were on one worker: nothing to compare")
    return Run(scenario, "", one.name, number, figures(first, others, newcomers, len(refused)), tuple(flags))


def figures(first: list[Held], others: list[Held], newcomers: list[Held], refused: int) -> dict[str, float]:
    """Requests lost, by whose connection they were on. A lost connection loses the one request it carried."""
    waits = [member.first_answer_s for member in newcomers if member.first_answer_s is not None]
    return {
        "lost_on_others": float(sum(bool(member.lost) for member in others)),
        "lost_on_victim": float(sum(bool(member.lost) for member in first) - sum(bool(m.lost) for m in others)),
        "connections_of_others": float(len(others)),
        "lost_newcomers": float(refused + sum(bool(member.lost) for member in newcomers)),
        "slowest_newcomer_ms": max(waits, default=0.0) * 1000,
        "answered_on_others": float(sum(member.answered for member in others)),
    }
