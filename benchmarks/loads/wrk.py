"""wrk: closed-loop load, as fast as the proxy answers. Measures what the proxy's processes used meanwhile."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks import proc
from benchmarks.loads import requests
from benchmarks.processes import settle

HERE = Path(__file__).parent


class LoadError(Exception):
    """The load generator itself failed."""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk is to do. `warm`: requests before counting begins (connections and pools exist by then)."""

    port: int
    connections: int
    seconds: float
    path: str = "/"
    routes: int = 1
    upload: int = 0

    @property
    def warm(self) -> int:
        return 0 if self.upload else 3 * self.connections


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a load did, counted from its warm point: requests, seconds, CPU seconds of the proxy, what went wrong."""

    requests: int
    seconds: float
    cpu_s: float
    errors: dict[str, int]
    warmed: bool = True

    @property
    def figures(self) -> dict[str, float]:
        """CPU µs per request (the main figure) and requests per second."""
        return {"cpu_us": self.cpu_s / max(self.requests, 1) * 1e6, "rps": self.requests / max(self.seconds, 1e-9)}

    @property
    def flags(self) -> tuple[str, ...]:
        """Everything that failed, in words; empty for a clean run."""
        cold = () if self.warmed else ("too slow to warm up in this time: setting up connections is in the figures",)
        return cold + tuple(f"{count} {kind} errors" for kind, count in self.errors.items() if count)


def arguments(load: Load, folder: Path) -> list[str]:
    """wrk's command line; writes the heads that its script reads."""
    base = ["wrk", "-t", "1", "-c", str(load.connections), "-d", f"{max(1, round(load.seconds))}s",
            "--timeout", "10s"]
    url = f"http://127.0.0.1:{load.port}/"
    if load.upload:
        return [*base, "-s", str(HERE / "upload.lua"), url, "--", str(load.upload)]
    heads = folder / f"heads-{load.path.strip('/').replace('/', '-')}-{load.routes}"
    if not heads.exists():
        heads.write_text(requests.write_heads(load.path, load.routes), newline="")
    return [*base, "-s", str(HERE / "browser.lua"), url, "--", str(heads), str(load.warm)]


def run(load: Load, folder: Path, core: int, pids: Sequence[int]) -> Outcome:
    """Run wrk on `core`; `pids` are all the processes of the proxy. Raises LoadError if wrk says nothing."""
    process = subprocess.Popen(arguments(load, folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=settle([core]))
    try:
        assert process.stdout is not None
        return _watch(process.stdout, load, pids)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _watch(output: IO[bytes], load: Load, pids: Sequence[int]) -> Outcome:
    before, began = proc.cpu_s(pids), time.monotonic()
    warm_said, said = False, []
    for line in output:
        if line.startswith(b"warm"):
            before, began, warm_said = proc.cpu_s(pids), time.monotonic(), True
        elif line.startswith(b"{"):
            used, seconds = proc.cpu_s(pids) - before, time.monotonic() - began
            return parse_report(line.decode(), load, warm_said, seconds, used)
        said.append(line.decode(errors="replace"))
    raise LoadError(f"wrk gave no report: {''.join(said)[-2000:]}")


def parse_report(line: str, load: Load, warm_said: bool, seconds: float, cpu_s: float) -> Outcome:
    """Read the line that the scripts print at their end. Pure."""
    report = json.loads(line)
    errors = {kind: int(count) for kind, count in report["errors"].items()}
    counted = report["sent"] - load.warm if warm_said else report["requests"]
    return Outcome(requests=max(0, counted), seconds=seconds, cpu_s=cpu_s, errors=errors,
                   warmed=warm_said or not load.warm)
