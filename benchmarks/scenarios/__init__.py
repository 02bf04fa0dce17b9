"""What is measured, in the order of a run. The first ones share proxies that stay up; the others start their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from benchmarks.bench import Bench, Run
from benchmarks.peers import Peer
from benchmarks.scenarios import throughput
from benchmarks.scenarios.blackhole import Blackhole
from benchmarks.scenarios.candidate_death import CandidateDeath
from benchmarks.scenarios.change import Change
from benchmarks.scenarios.chaos import ChaosRun
from benchmarks.scenarios.flat import MANY_ROUTES, MANY_SERVERS
from benchmarks.scenarios.flood import Flood
from benchmarks.scenarios.giant import Giant
from benchmarks.scenarios.idle import Idle
from benchmarks.scenarios.kill import Kill
from benchmarks.scenarios.kill_server import KillServer
from benchmarks.scenarios.latency import Latency
from benchmarks.scenarios.orphan import Orphan
from benchmarks.scenarios.overload import Overload
from benchmarks.scenarios.remembering import Remembering
from benchmarks.scenarios.resilient_cpu import ResilientCpu
from benchmarks.scenarios.shadow import Shadow
from benchmarks.scenarios.shadow_found import ShadowFound
from benchmarks.scenarios.shadow_memory import ShadowMemory
from benchmarks.scenarios.steadiness import Steadiness


class Scenario(Protocol):
    """One thing to measure. `together`: all peers in one call, in turn; otherwise a call for each."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def together(self) -> bool: ...

    def takes(self, peer: Peer) -> bool:
        """Whether it has anything to say about `peer`."""

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Measure, yielding each run as soon as it is known."""


STANDING: tuple[Scenario, ...] = (throughput.BROWSER, throughput.BODY_16K, throughput.BODY_1M, throughput.UPLOAD_1M,
                                  throughput.CONNECTIONS, Latency())
OWN: tuple[Scenario, ...] = (MANY_ROUTES, MANY_SERVERS, Idle(), Giant(), Kill())
LIVE: tuple[Scenario, ...] = (Change(), Steadiness(), Orphan(), Flood(), Remembering())
SHADOWS: tuple[Scenario, ...] = (Shadow(), ShadowMemory(), ShadowFound())
FAULTS: tuple[Scenario, ...] = (KillServer(), CandidateDeath(), Blackhole(), ResilientCpu(), Overload(), ChaosRun())
SCENARIOS = STANDING + OWN + LIVE + SHADOWS + FAULTS
