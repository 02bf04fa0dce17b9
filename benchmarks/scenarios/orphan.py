"""The supervisor is killed with SIGKILL under load and started again with the same command: what is lost, how long the
new one needs until it is ready, and whether it knows the last change.

Its workers serve on without it. The new supervisor takes their sockets over, and they leave when they have finished.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence

from benchmarks import proc
from benchmarks.bench import Bench, Run
from benchmarks.live import READY_WITHIN_S, LiveProxy, in_words, live
from benchmarks.loads.wrk import LoadError
from benchmarks.peers import Peer
from benchmarks.processes import Program
from benchmarks.rounds import percentile

ALONE_S = (0.0, 1.0, 0.0)                       # before each restart: how long nobody supervises
AFTERMATH_S = 1.5


class Orphan:
    """See the module."""

    name = "orphan"
    title = "supervisor killed with -9 and started anew under 5,000 requests/s, two workers"
    together = False

    def takes(self, peer: Peer) -> bool:
        return peer.name == "turnout"

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields a run per kill."""
        for number, alone_s in enumerate(ALONE_S[:1] if bench.effort.quick else ALONE_S):
            yield measure(bench, self.name, number, alone_s)


def measure(bench: Bench, scenario: str, number: int, alone_s: float) -> Run:
    """One Turnout, one kill."""
    with live(bench, f"orphan-{number}") as one, one.load(seed=number) as load, contextlib.ExitStack() as stack:
        time.sleep(0.5)
        before = one.admin.must("PUT", "/api/v1/routes/r0/split", {"split": {"old": 60, "new": 40}})["revision"]
        orphans = [process for pid in one.workers() if (process := proc.read(pid)) is not None]
        os.kill(one.proxy.program.pid, signal.SIGKILL)
        one.proxy.program.process.wait()
        one.admin.close()
        killed = time.monotonic_ns()
        time.sleep(alone_s)
        began = time.monotonic()
        program = bench.programs.start(f"orphan-{number}-again", one.peer.command(one.place), one.cores,
                                       one.peer.environ(one.place))
        stack.callback(bench.programs.stop, program)
        ready_s = _ready_after(one, program, began)
        known = one.admin.must("GET", "/api/v1/status")["revision"] == before
        time.sleep(AFTERMATH_S)
        left = sum(proc.runs(process) for process in orphans)
        account = load.stop()
    latencies = account.latencies(killed, account.ends[-1])
    figures = {
        "ready_s": ready_s, "alone_s": alone_s, "lost": float(len(account.losses)), "answered": float(len(latencies)),
        "p99_ms": percentile(latencies, 99) / 1e6, "slowest_ms": latencies[-1] / 1e6, "orphans_left": float(left),
        "revision_known": float(known),
    }
    flags = in_words(account.losses) + (() if known else ("the last change was forgotten",))
    return Run(scenario, "", "turnout", number, figures, flags)


def _ready_after(one: LiveProxy, program: Program, began: float) -> float:
    while time.monotonic() - began < READY_WITHIN_S:
        with contextlib.suppress(OSError):
            status, _ = one.admin.ask("GET", "/readyz")
            if status == 200:
                return time.monotonic() - began
        if program.process.poll() is not None:
            raise LoadError(f"the new supervisor ended: {program.tail()}")
        time.sleep(0.005)
    raise LoadError(f"the new supervisor was not ready within {READY_WITHIN_S:g} s: {program.tail()}")
