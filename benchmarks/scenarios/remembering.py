"""What metrics and the access log cost per request.

`lines`: CPU of a worker that writes an access log ÷ requests, minus that of one that writes none, both up side by side
and loaded in turn; what the kernel does for the writing is in it. `code`: the code of both alone, in a loop over real
objects (`loads.remembering`). The difference of two loads is small against their noise; the loop repeats well.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.bench import Bench, Run
from benchmarks.live import LiveProxy, live
from benchmarks.loads import wrk
from benchmarks.peers import Peer
from benchmarks.processes import settle

ROOT = Path(__file__).parents[2]
ROUNDS = 20
SPAN_S = 1.0                                    # short, so that what else the machine does hits both alike


class Remembering:
    """See the module."""

    name = "remembering"
    title = "cost of metrics and access log per request"
    together = False

    def takes(self, peer: Peer) -> bool:
        return peer.name == "turnout"

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields the loop's figures, then a run per round of the loads."""
        for number in range(1 if bench.effort.quick else 3):
            yield Run(self.name, "code", "turnout", number, code(bench))
        path = bench.folder / "access.log"
        core = [bench.cores.proxy]
        with live(bench, "silent", cores=core) as silent, live(bench, "logging", str(path), cores=core) as logging:
            for number in range(2 if bench.effort.quick else ROUNDS):
                pair = (silent, logging) if number % 2 == 0 else (logging, silent)
                found = {id(one): _cpu(bench, one) for one in pair}
                yield judge(self.name, number, found[id(silent)], found[id(logging)])
                os.truncate(path, 0)


def _cpu(bench: Bench, one: LiveProxy) -> wrk.Outcome:
    return wrk.run(wrk.Load(one.place.port, 64, SPAN_S), bench.folder, bench.cores.load, one.workers())


def judge(scenario: str, number: int, silent: wrk.Outcome, logging: wrk.Outcome) -> Run:
    """The difference within a round."""
    without, with_log = silent.figures["cpu_us"], logging.figures["cpu_us"]
    figures = {"lines_us": with_log - without, "off_us": without, "on_us": with_log}
    return Run(scenario, "lines", "turnout", number, figures, silent.flags + logging.flags)


def code(bench: Bench) -> dict[str, float]:
    """Run the loop on the proxy's core."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.loads.remembering", str(bench.folder)], cwd=ROOT,
                          capture_output=True, text=True, check=False, timeout=60,
                          preexec_fn=settle([bench.cores.proxy]))
    if done.returncode:
        raise wrk.LoadError(f"the loop failed: {done.stderr[-2000:]}")
    figures = {name: float(value) for name, value in json.loads(done.stdout).items()}
    return figures | {"both_us": figures["metrics_us"] + figures["line_written_us"]}
