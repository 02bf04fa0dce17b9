"""A live Turnout with a route for each way in which a shadow may behave, and what it says of its copies.

Each route has an account of its own, so copies that hang on in one of them are not charged to another.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import proc
from benchmarks.bench import Bench
from benchmarks.live import LiveProxy
from benchmarks.loads import odd_service
from benchmarks.loads.admin import TOKEN
from benchmarks.processes import Program, StartError, free_port, wait_until_it_answers

VERSION = "  {name}: {{servers: [\"http://127.0.0.1:{port}\"]}}\n"
ROUTE = """\
  - name: {name}
    match: {{path: {path}}}
    split: {{old: 1}}
"""
SHADOW = "    shadow: {{to: {to}, percent: 100, {more}}}\n"
SAMPLE = re.compile(r'^turnout_shadow_(requests|skipped|compared)_total\{([^}]*)\} (\S+)$', re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Case:
    """A route of its own: `to` the version its copies go to, empty for none; `more`: the rest of its `shadow`."""

    name: str
    to: str = ""
    more: str = ""
    rests_s: float = 0.0                        # until nothing of it is under way any more

    @property
    def path(self) -> str:
        return f"/json/{self.name}"


def routes(cases: Sequence[Case]) -> str:
    """The routes as lines of the file."""
    return "".join(ROUTE.format(name=case.name, path=case.path)
                   + (SHADOW.format(to=case.to, more=case.more) if case.to else "") for case in cases)


def versions(ports: Mapping[str, int]) -> str:
    """A version for each of these ports."""
    return "".join(VERSION.format(name=name, port=port) for name, port in ports.items())


def odd(bench: Bench, parts: Sequence[str]) -> tuple[dict[str, int], Program]:
    """The service that plays these parts, and the port of each."""
    ports = {part: free_port() for part in parts}
    command = [sys.executable, str(Path(odd_service.__file__)), json.dumps(ports)]
    program = bench.programs.start("odd", command, sorted({bench.cores.proxy, bench.cores.load}))
    try:
        wait_until_it_answers(program, lambda: "ready" in program.log.read_text())
    except StartError:
        bench.programs.stop(program)
        raise
    return ports, program


def counts(one: LiveProxy) -> dict[tuple[str, str], float]:
    """(route, what) → how many so far. `what`: `copies_OUTCOME`, `skipped_REASON`, `compared_RESULT`."""
    request = urllib.request.Request(f"http://127.0.0.1:{one.place.admin_port}/metrics",
                                     headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return parse_counts(answer.read().decode())


def parse_counts(exposition: str) -> dict[tuple[str, str], float]:
    """What `counts` says, out of the text of /metrics."""
    found = {}
    for family, labels, value in SAMPLE.findall(exposition):
        label = dict(LABEL.findall(labels))
        kind = {"requests": "copies", "skipped": "skipped", "compared": "compared"}[family]
        what = next(value for name, value in label.items() if name != "route")
        found[label["route"], f"{kind}_{what}"] = float(value)
    return found


def of_route(after: Mapping[tuple[str, str], float], before: Mapping[tuple[str, str], float],
             route: str) -> dict[str, float]:
    """What was added to the counts of one route."""
    return {what: more for (name, what), count in sorted(after.items())
            if name == route and (more := count - before.get((name, what), 0.0))}


def comparers(one: LiveProxy) -> list[int]:
    """The process that compares, if there is one."""
    return [process.pid for process in proc.tree(one.proxy.program.pid)
            if b"proxy.comparison" in (proc.PROC / str(process.pid) / "cmdline").read_bytes()]
