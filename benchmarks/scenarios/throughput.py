"""CPU per request under closed-loop load: browser-like requests, 16 KiB and 1 MiB bodies, uploads, many connections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.bench import Bench, Run
from benchmarks.loads import wrk
from benchmarks.peers import Peer


@dataclass(frozen=True, slots=True)
class Case:
    """One way to load a proxy; `case` names it among the cases of its scenario."""

    connections: int
    case: str = ""
    path: str = "/"
    upload: int = 0


@dataclass(frozen=True, slots=True)
class Throughput:
    """Loads every peer with every case, peer after peer, round after round."""

    name: str
    title: str
    cases: tuple[Case, ...]
    fewer_rounds: int = 0
    together: bool = True

    def takes(self, peer: Peer) -> bool:
        return True

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields runs as they are measured."""
        proxies = bench.standing(peers)
        for number in range(max(1, bench.effort.rounds - self.fewer_rounds)):
            for one in proxies:
                for case in self.cases:
                    load = wrk.Load(one.place.port, case.connections, bench.effort.seconds, case.path, 1, case.upload)
                    outcome = wrk.run(load, bench.folder, bench.cores.load, one.pids())
                    yield Run(self.name, case.case, one.name, number, outcome.figures, one.flags + outcome.flags)


MIB = 1024 * 1024
BROWSER = Throughput("browser", "browser-like requests, 64 connections", (Case(64),))
BODY_16K = Throughput("body16k", "16 KiB responses, 64 connections", (Case(64, path="/16k"),), fewer_rounds=2)
BODY_1M = Throughput("body1m", "1 MiB responses, 16 connections", (Case(16, path="/1m"),), fewer_rounds=2)
UPLOAD_1M = Throughput("upload1m", "1 MiB uploads, 16 connections", (Case(16, upload=MIB),), fewer_rounds=2)
CONNECTIONS = Throughput("connections", "browser-like requests, 2,000 connections (and 64)",
                         (Case(64, "64"), Case(2000, "2000")), fewer_rounds=2)
