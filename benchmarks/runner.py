"""One run from beginning to end: programs up, scenarios in order, everything ended, one result."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import machine, origin, results
from benchmarks.bench import Bench, Effort, Run, answers, raise_descriptor_limit
from benchmarks.loads.wrk import LoadError
from benchmarks.peers import Peer
from benchmarks.processes import Programs, StartError, choose_cores, wait_until_it_answers
from benchmarks.scenarios import STANDING, Scenario

Say = Callable[[str], None]
MEMORY = Path("/dev/shm")


def run(peers: Sequence[Peer], scenarios: Sequence[Scenario], effort: Effort,
        say: Say) -> tuple[dict[str, Any], list[Run]]:
    """Measure `scenarios` with those of `peers` that are installed. Returns the description and the runs."""
    present = [peer for peer in peers if peer.find()]
    skipped = {peer.title: peer.get for peer in peers if peer not in present}
    for title, get in skipped.items():
        say(f"skipping {title}: not here; get it with: {get}")
    cores = choose_cores(os.sched_getaffinity(0))
    started = {"when": machine.now().isoformat(timespec="seconds"), **machine.revision(), "machine": machine.describe()}
    descriptors = raise_descriptor_limit()
    where = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="turnout-bench-", dir=where) as name, Programs(Path(name)) as programs:
        service, program = origin.start(programs, cores.load, os.geteuid() == 0, descriptors)
        wait_until_it_answers(program, lambda: answers(service.old_port) and answers(service.new_port))
        bench = Bench(programs, cores, effort, say, service, descriptors)
        runs = [one for scenario in scenarios for one in _measure(bench, scenario, scenarios, present)]
        configs = results.configurations(bench.configs, programs.folder)
    return {
        **started, "effort": asdict(effort), "cores": asdict(cores), "cores_shared": cores.shared,
        "versions": {peer.title: peer.version() for peer in present} | machine.tool_versions(),
        "splits": {peer.title: peer.split for peer in present},
        "skipped": skipped, "notes": bench.notes, "configurations": configs,
    }, runs


def _measure(bench: Bench, scenario: Scenario, all_of_them: Sequence[Scenario], peers: Sequence[Peer]) -> Iterator[Run]:
    """One scenario; a peer or a load that fails is noted and does not end the run."""
    bench.say(f"{scenario.name}: {scenario.title}")
    taking = [peer for peer in peers if scenario.takes(peer)]
    if not taking:
        return
    for group in [taking] if scenario.together else [[peer] for peer in taking]:
        try:
            for one in scenario.run(bench, group):
                bench.say(f"  {_line(one)}")
                yield one
        except (StartError, LoadError, OSError) as error:
            bench.note(f"{scenario.name} {'' if scenario.together else group[0].name}".strip(), str(error))
    if not any(later in STANDING for later in all_of_them[all_of_them.index(scenario) + 1:]):
        bench.stop_standing()


def _line(one: Run) -> str:
    shown = "  ".join(f"{name} {value:,.1f}" for name, value in one.figures.items())
    return f"{one.peer:8} {one.case:5} #{one.round + 1}  {shown}{''.join(f'  ! {flag}' for flag in one.flags)}"
