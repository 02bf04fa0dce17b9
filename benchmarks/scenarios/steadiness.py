"""What operating Turnout costs its clients: requests lost while weights change, files are reloaded, programs replaced
and workers killed, one after another under one steady load.

Upgrades begin when the former supervisor and its workers have left. A killed worker takes its own connections with it:
those, known from /proc before the kill, are counted apart; everything else that is lost, new connections included, is
lost by fault.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks import proc
from benchmarks.bench import Bench, Run
from benchmarks.live import LiveProxy, in_words, live
from benchmarks.loads import steady
from benchmarks.loads.wrk import LoadError
from benchmarks.peers import Peer
from benchmarks.processes import kill
from benchmarks.rounds import percentile

AMOUNTS = {"changes": 200, "reloads": 50, "upgrades": 5, "kills": 5}
QUICK_AMOUNTS = {"changes": 20, "reloads": 8, "upgrades": 1, "kills": 1}
EVERY_S = 0.05
AFTER_KILL_S = 1.0
AFTERMATH_S = 0.5                               # before the next kind of thing begins
LEFT_WITHIN_S = 15.0


@dataclass(slots=True)
class Phase:
    """One kind of thing, done so many times. Moments in ns; `theirs`: client ports of workers that were killed."""

    kind: str
    since: int
    until: int = 0
    times: int = 0
    theirs: set[int] = field(default_factory=set)


class Steadiness:
    """See the module."""

    name = "steadiness"
    title = "changes, reloads, upgrades and kills under 5,000 requests/s, two workers"
    together = False

    def takes(self, peer: Peer) -> bool:
        return peer.name == "turnout"

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields a run per kind of thing, all of one Turnout."""
        amounts = QUICK_AMOUNTS if bench.effort.quick else AMOUNTS
        with live(bench, "steadiness") as one, one.load() as load:
            time.sleep(AFTERMATH_S)
            phases = [_do(one, kind, times) for kind, times in amounts.items()]
            account = load.stop()
            for phase in phases:
                yield judge(self.name, phase, account)


def _do(one: LiveProxy, kind: str, times: int) -> Phase:
    phase = Phase(kind, time.monotonic_ns())
    doing: dict[str, Callable[[LiveProxy, Phase], None]] = {
        "changes": change, "reloads": reload, "upgrades": upgrade, "kills": kill_a_worker}
    for _ in range(times):
        doing[kind](one, phase)
        phase.times += 1
    time.sleep(AFTERMATH_S)
    phase.until = time.monotonic_ns()
    return phase


def change(one: LiveProxy, phase: Phase) -> None:
    """Move weight."""
    share = 10 + phase.times % 80
    one.admin.must("PUT", "/api/v1/routes/r0/split", {"split": {"old": 100 - share, "new": share}})
    time.sleep(EVERY_S)


def reload(one: LiveProxy, phase: Phase) -> None:
    """Change the file and have it read; LoadError if that changed nothing."""
    before = one.admin.must("GET", "/api/v1/status")["revision"]
    one.peer.write(one.place, 10 + (phase.times + 1) % 2)
    after = one.admin.must("POST", "/api/v1/config/reload", {})["revision"]
    if after <= before:
        raise LoadError(f"the reload changed nothing: revision {before} before, {after} after")
    time.sleep(EVERY_S)


def upgrade(one: LiveProxy, _: Phase) -> None:
    """Replace the program in place, and wait until the former one has left."""
    former = [process for pid in (one.supervisor(), *one.workers()) if (process := proc.read(pid)) is not None]
    one.admin.must("POST", "/api/v1/upgrade", {})
    one.admin.close()
    one.wait_until_ready()
    give_up = time.monotonic() + LEFT_WITHIN_S
    while (left := [process.pid for process in former if proc.runs(process)]) and time.monotonic() < give_up:
        time.sleep(0.05)
    if left:
        raise LoadError(f"{len(left)} processes of the former program did not leave")


def kill_a_worker(one: LiveProxy, phase: Phase) -> None:
    """SIGKILL to the one with the most connections, then wait for its successor."""
    workers = one.workers()
    owners = proc.connection_owners(one.place.port, workers)
    victim = max(workers, key=list(owners.values()).count)
    phase.theirs.update(port for port, owner in owners.items() if owner == victim)
    kill(victim)
    time.sleep(AFTER_KILL_S)
    one.wait_until_ready()


def judge(scenario: str, phase: Phase, account: steady.Account) -> Run:
    """What was lost in a phase, and by whose fault."""
    lost = [loss for loss in account.losses if phase.since <= loss.lost < phase.until]
    by_fault = [loss for loss in lost if loss.port not in phase.theirs]
    latencies = account.latencies(phase.since, phase.until)
    figures = {
        "times": float(phase.times), "answered": float(len(latencies)), "lost": float(len(by_fault)),
        "lost_idle": float(sum(loss.idle_ns > steady.STALE_NS for loss in by_fault)),
        "lost_with_victim": float(len(lost) - len(by_fault)), "seconds": (phase.until - phase.since) / 1e9,
        "p99_ms": percentile(latencies, 99) / 1e6, "slowest_ms": latencies[-1] / 1e6,
    }
    return Run(scenario, phase.kind, "turnout", 0, figures, in_words(by_fault))
