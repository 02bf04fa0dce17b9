"""Weight changes and rollbacks under load: from the call to the answer, and what still goes to the candidate after it.

An operator's program, a process of its own, makes a change every 50 ms on a connection that it keeps. Whatever was sent
between a rollback's answer and the next change must not come to the candidate: the load says in each request when it
was sent, the candidate notes that, and the operator's program asks by itself, at once after each answer.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from benchmarks.bench import Bench, Run
from benchmarks.live import in_words, live, lost_between, noted
from benchmarks.loads import admin
from benchmarks.peers import Peer
from benchmarks.rounds import percentile

CHANGES = 200                                   # … and as many rollbacks
QUICK_CHANGES = 40
EVERY_S = 0.05


class Change:
    """See the module."""

    name = "change"
    title = "weight changes and rollbacks under 5,000 requests/s, two workers, journal on disk"
    together = False

    def takes(self, peer: Peer) -> bool:
        return peer.name == "turnout"

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields a run per round, each with a Turnout of its own."""
        for number in range(1 if bench.effort.quick else 2):
            yield measure(bench, self.name, number)


def measure(bench: Bench, scenario: str, number: int) -> Run:
    """One Turnout, all changes."""
    changes = QUICK_CHANGES if bench.effort.quick else CHANGES
    with live(bench, f"change-{number}") as one, one.load(seed=number) as load:
        plan = admin.Plan(one.place.admin_port, one.place.port, changes, EVERY_S)
        told = admin.run(plan, one.cores, within_s=changes * EVERY_S * 2 + 30)
        account = load.stop()
        at_new = noted(bench, "new", since=account.sents[0])
    losses = lost_between(account, 0, account.ends[-1])
    late = sum(within(at_new, since, until) for since, until in told.quiet)
    both = sorted(told.split_us), sorted(told.rollback_us)
    figures = {
        "worst_p99_ms": max(percentile(calls, 99) for calls in both) / 1000,
        "split_p50_ms": percentile(both[0], 50) / 1000,
        "split_p99_ms": percentile(both[0], 99) / 1000,
        "rollback_p50_ms": percentile(both[1], 50) / 1000,
        "rollback_p99_ms": percentile(both[1], 99) / 1000,
        "server_p99_ms": percentile(sorted(told.took_ms), 99),
        "slowest_ms": max(told.split_us + told.rollback_us) / 1000,
        "changes": float(changes), "requests": float(account.sent), "lost": float(len(losses)),
        "at_candidate": float(len(at_new)), "late_at_candidate": float(late + told.probes_by_new),
        "probes": float(told.probes),
    }
    return Run(scenario, "", "turnout", number, figures, in_words(losses) + flags(figures))


def within(moments: Sequence[int], since: int, until: int) -> int:
    """How many of these moments, which are sorted, lie in a span."""
    return max(0, bisect_left(moments, until) - bisect_right(moments, since))


def flags(figures: dict[str, float]) -> tuple[str, ...]:
    """What makes the figures worth nothing."""
    return () if figures["at_candidate"] else ("the candidate got no traffic at all: nothing was proved",)
