"""What a proxy under test has to tell: where it is, how it is configured and started, what its worker processes are."""

from __future__ import annotations

import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import proc


@dataclass(frozen=True, slots=True)
class Place:
    """What a proxy is configured for: its port and folder, the servers of both versions, routes, workers, limits."""

    port: int
    folder: Path
    old: tuple[str, ...]
    new: tuple[str, ...]
    admin_port: int = 0
    routes: int = 1
    workers: int = 1
    descriptors: int = 20_000

    @property
    def prefixes(self) -> list[str]:
        """The path of each route: `/r0`, `/r1`, … and `/` for what is left, `routes` in all."""
        return [*(f"/r{number}" for number in range(self.routes - 1)), "/"]


class Peer(ABC):
    """A proxy. `split` says in words how it sends a tenth of the cookies to the new version."""

    name: str
    title: str
    get: str                                    # how to get it where it is missing
    split: str
    routes: bool = False                        # takes part in the scenario of 1,000 routes
    servers: bool = False                       # … of 50 servers
    workers: bool = False                       # … of the killed worker: has worker processes that are replaced
    program: str = ""                           # the command looked for
    version_arguments: tuple[str, ...] = ("-v",)

    def find(self) -> str | None:
        """The program's path, or None where it is not installed."""
        return shutil.which(self.program)

    def version(self) -> str:
        """The first thing in what it says about itself that looks like a version."""
        found = self.find()
        if found is None:
            return "missing"
        said = subprocess.run([found, *self.version_arguments], capture_output=True, text=True, timeout=20, check=False)
        match = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
        return match.group() if match else "unknown"

    @abstractmethod
    def files(self, place: Place) -> Mapping[str, str]:
        """Its configuration files: name → content. Pure."""

    @abstractmethod
    def command(self, place: Place) -> list[str]:
        """What to start."""

    def environ(self, place: Place) -> dict[str, str]:
        """What to set in its environment."""
        return {}

    def worker_pids(self, root: int) -> list[int]:
        """The processes that carry traffic: `root` itself unless it only supervises."""
        return [root]


def children(root: int) -> list[int]:
    """The processes directly below `root`."""
    return [process.pid for process in proc.tree(root) if process.parent == root]
