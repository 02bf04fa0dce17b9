"""Minutes of mixed faults of servers of both versions, under a steady load of GETs and POSTs: every failure that a
client sees, by its cause and by the faults that were on.

What is done is drawn from a seed (`--seed`; it is printed, and stands in the figures): the same seed does the same at
the same moments, though not to the same requests. See `benchmarks.mischief` for what may be lost under which fault.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import mischief
from benchmarks.bench import Bench, Run
from benchmarks.failing import RETRY, Failing, Group, failing, route
from benchmarks.fickle import Fickle, got_twice
from benchmarks.loads import steady
from benchmarks.mischief import Act, Fault
from benchmarks.peers import Peer
from benchmarks.rounds import percentile

RATE = 1_000
POSTS = 10                                      # one request in so many
SECONDS = 120.0
QUICK_SECONDS = 15.0
SETTLE_S = 0.5
HEALTH = ("probe: {path: /probe, interval: 250ms, timeout: 250ms, rise: 1, fall: 2}, "
          "eject: {failures: 5, for: 500ms, at_most: 2s}, breaker: {for: 1s}")
GAUGES = ("inflight_requests", "server_inflight", "queue_length")
COUNTED = ("retries", "rescues", "diverted", "retry_budget_exhausted", "ejections", "shed")
TOLD_WITHIN_S = 5.0
SHOWN = 12                                      # causes named one by one; the rest is counted


@dataclass(frozen=True, slots=True)
class Chaos:
    """What happened: moments in ns, the mischief, and all that clients and servers say. `left`: what workers still
    count as in flight or waiting when nobody asks any more."""

    seed: int
    began: int
    faults: Sequence[Fault]
    account: steady.Account
    posted: int
    posts_twice: Sequence[str]
    left: int
    counts: Mapping[str, float]


class ChaosRun:
    """See the module."""

    name = "chaos"
    title = f"kills, stops, resets, blackholes, 500s and more under {RATE:,} requests/s, two workers"
    together = False

    def takes(self, peer: Peer) -> bool:
        return peer.name == "turnout"

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields one run."""
        seconds = bench.effort.chaos_s or (QUICK_SECONDS if bench.effort.quick else SECONDS)
        seed = random.SystemRandom().randrange(10**6) if bench.effort.seed is None else bench.effort.seed
        bench.say(f"  seed {seed}, {seconds:g} s")
        groups = [Group("stable", mischief.OLD, more=HEALTH), Group("candidate", mischief.NEW, "new", HEALTH)]
        split = route("stable: 75, candidate: 25", f"baseline: stable\nrescue: true\n{RETRY}")
        with failing(bench, self.name, groups, split) as behind, \
                behind.load(RATE, posts=POSTS, seed=seed) as load:
            time.sleep(SETTLE_S)
            faults, began = mischief.schedule(seed, seconds), time.monotonic_ns()
            _do(behind, mischief.acts(faults), began)
            time.sleep(max(0.0, seconds - (time.monotonic_ns() - began) / 1e9))
            account, got = load.stop(), behind.got()
            left, counts = _left(behind), behind.counts()
        posted = sum(each.method == "POST" for each in got)
        yield judge(self.name, Chaos(seed, began, faults, account, posted, got_twice(got), left, counts))


def _left(behind: Failing) -> int:
    """What is in flight; workers tell that now and then, so a while is waited for it to become nothing."""
    give_up = time.monotonic() + TOLD_WITHIN_S
    while True:
        left = sum(value for name, value in behind.counts().items() if name.startswith(GAUGES))
        if not left or time.monotonic() > give_up:
            return int(left)
        time.sleep(SETTLE_S)


def _do(behind: Failing, acts: Sequence[Act], began: int) -> None:
    servers = {"old": behind.servers["stable"], "new": behind.servers["candidate"]}
    for act in acts:
        time.sleep(max(0.0, act.at_s - (time.monotonic_ns() - began) / 1e9))
        _act(servers[act.fault.version][act.fault.server], act)


def _act(server: Fickle, act: Act) -> None:
    if act.does == "begin":
        server.fail(mischief.KINDS[act.fault.kind])
    else:
        server.heal()


def judge(scenario: str, chaos: Chaos) -> Run:
    """Every loss with its cause; those that should not be are flagged."""
    due: Counter[str] = Counter()
    undue: dict[str, list[float]] = {}
    for loss in chaos.account.losses:
        sent, lost = ((moment - chaos.began) / 1e9 for moment in (loss.sent, loss.lost))
        faults = mischief.on(chaos.faults, sent, lost)
        if mischief.is_due(loss.method, loss.why, faults):
            due[f"{loss.method} {loss.why}"] += 1
        else:
            names = ", ".join(str(fault) for fault in faults) or "nobody at fault"
            undue.setdefault(f"{loss.method} {loss.why}: {names}", []).append(sent)
    latencies = chaos.account.latencies(chaos.began, steady.NEVER)
    figures = {
        "seed": float(chaos.seed), "faults": float(len(chaos.faults)), "sent": float(chaos.account.sent),
        "answered": float(len(chaos.account.ends)), "posts_at_servers": float(chaos.posted),
        "lost_duly": float(due.total()), "lost_unduly": float(sum(map(len, undue.values()))),
        "posts_twice": float(len(chaos.posts_twice)), "left": float(chaos.left),
        **{name: sum(value for sample, value in chaos.counts.items() if sample.startswith(f"{name}_total"))
           for name in COUNTED},
        "foreign": float(sum(loss.why == steady.FOREIGN for loss in chaos.account.losses)),
        "p99_ms": percentile(latencies, 99) / 1e6, "slowest_ms": latencies[-1] / 1e6}
    return Run(scenario, "", "turnout", 0, figures | _by_cause(due), _flags(undue, chaos))


def _by_cause(due: Counter[str]) -> dict[str, float]:
    return {f"duly: {why}": float(count) for why, count in sorted(due.items())}


def _flags(undue: Mapping[str, Sequence[float]], chaos: Chaos) -> tuple[str, ...]:
    most = sorted(undue.items(), key=lambda found: -len(found[1]))
    shown = [f"{len(when)} times from {min(when):.1f} s on {why}" for why, when in most[:SHOWN]]
    if len(undue) > SHOWN:
        shown.append(f"and {len(undue) - SHOWN} other causes")
    if chaos.posts_twice:
        shown.append(f"POST seen twice: {', '.join(chaos.posts_twice[:SHOWN])}")
    return tuple([*shown, f"seed {chaos.seed}"] if shown else ())
