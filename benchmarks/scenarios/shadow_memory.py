"""Uploads of 10 MiB, a thousand at once, all copied to a shadow that swallows them: what that takes of the workers.

One shadow accepts no connection, so that all is held here; one accepts and reads nothing. The same uploads without a
shadow tell what the uploads themselves take. Each case has a Turnout of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence

from benchmarks import proc, shadowed
from benchmarks.bench import Bench, Run
from benchmarks.live import Behind, live
from benchmarks.loads import uploads
from benchmarks.peers import Peer
from benchmarks.shadowed import Case

MIB = 1024**2
SIZE = 10 * MIB
COUNT = 1000
QUICK_COUNT = 200
CAP = 64 * MIB
SAMPLE_S = 0.05
SHADOW = (f"methods: [POST], max_body: 16MiB, memory: {CAP // MIB}MiB, in_flight: {COUNT}, timeout: 10s, compare: off")
CASES = (Case("plain"), Case("full", "full", SHADOW), Case("deaf", "deaf", SHADOW))


class ShadowMemory:
    """See the module."""

    name = "shadow-memory"
    title = "10 MiB uploads copied to a blackhole, 1,000 at once, two workers"
    together = False

    def takes(self, peer: Peer) -> bool:
        return peer.name == "turnout"

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields a run per case and round."""
        ports, service = shadowed.odd(bench, ("sink", "full", "deaf"))
        sink = (f"127.0.0.1:{ports['sink']}",)
        for number in range(1 if bench.effort.quick else 2):
            plain: dict[str, float] = {}
            for case in CASES:
                versions = shadowed.versions({name: port for name, port in ports.items() if name != "sink"})
                behind = Behind(versions, shadowed.routes([case]), sink)
                figures = _measure(bench, f"{self.name}-{case.name}-{number}", behind, case)
                if case.to:
                    figures["of_cap"] = max(0.0, figures["grew_mib"] - plain["grew_mib"]) * MIB / CAP
                plain = plain or figures
                failed = (f"{figures['failed']:g} uploads failed",) if figures["failed"] else ()
                yield Run(self.name, case.name, "turnout", number, figures, failed)
        bench.programs.stop(service)


def _measure(bench: Bench, label: str, behind: Behind, case: Case) -> dict[str, float]:
    """All uploads through one Turnout, its workers watched meanwhile and for a while after."""
    count = QUICK_COUNT if bench.effort.quick else COUNT
    with live(bench, label, behind=behind) as one:
        workers, before = one.workers(), shadowed.counts(one)
        started = most = proc.memory(workers).rss
        plan = uploads.Plan(one.place.port, count, SIZE, case.path)
        program = uploads.start(plan, one.cores)
        while program.poll() is None:
            most = max(most, proc.memory(workers).rss)
            time.sleep(SAMPLE_S)
        said = json.loads(program.communicate()[0])
        return {**said, "grew_mib": (most - started) / MIB, "before_mib": started / MIB,
                **shadowed.of_route(shadowed.counts(one), before, case.name)}
