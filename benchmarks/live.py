"""One Turnout that is changed while it serves: its API, the load on it, what the service noted, and what was lost."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench, Proxy
from benchmarks.loads import steady
from benchmarks.loads.admin import Admin
from benchmarks.loads.wrk import LoadError
from benchmarks.peers.base import Place
from benchmarks.peers.live import Live

RATE = 5000                                     # requests per second
WORKERS = 2
READY_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Behind:
    """What stands behind it besides the service: `versions` and `routes` as YAML, and servers for the old version in
    the service's place, which then need not be able to do what the service can. `more`: other keys of the file;
    `timeouts`: more of them, each with a comma behind it."""

    versions: str = ""
    routes: str = ""
    old: tuple[str, ...] = ()
    more: str = ""
    timeouts: str = ""


@dataclass(frozen=True, slots=True)
class LiveProxy:
    """It is up, and `admin` asks it."""

    bench: Bench
    proxy: Proxy
    peer: Live
    admin: Admin

    @property
    def place(self) -> Place:
        return self.proxy.place

    @property
    def cores(self) -> list[int]:
        """Both cores: two workers on one would only measure how they take turns."""
        return sorted({self.bench.cores.proxy, self.bench.cores.load})

    def load(self, rate: float = RATE, seed: int = 0, **more: Any) -> steady.Running:
        """A steady load that has begun. `more`: of its plan."""
        record = str(self.bench.folder / f"record-{time.monotonic_ns()}")
        return steady.Running(steady.Plan(self.place.port, rate, record, seed=seed, **more), self.cores)

    def supervisor(self) -> int:
        """The process id of the one that is in charge now."""
        return int(self.admin.must("GET", "/api/v1/status")["pid"])

    def workers(self) -> list[int]:
        """The process ids of its workers that are there."""
        return [worker["pid"] for worker in self.admin.must("GET", "/api/v1/status")["workers"] if worker["pid"]]

    def wait_until_ready(self) -> None:
        """Until it is at full strength. LoadError when that takes too long."""
        give_up = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < give_up:
            with contextlib.suppress(OSError):
                status, said = self.admin.ask("GET", "/readyz")
                if status == 200 and not said["reasons"]:
                    return
            time.sleep(0.02)
        raise LoadError(f"not ready within {READY_WITHIN_S:g} s")


@contextlib.contextmanager
def live(bench: Bench, label: str, access_log: str = "off", cores: Sequence[int] = (),
         behind: Behind = Behind()) -> Iterator[LiveProxy]:
    """Turnout for the length of a block, with its journal on disk."""
    with tempfile.TemporaryDirectory(prefix="turnout-bench-state-", dir="/var/tmp") as state_dir:
        peer = Live(state_dir, access_log, behind.versions, behind.routes, behind.more,
                    behind.timeouts)
        place = bench.place(peer, label, behind.old, workers=WORKERS)
        with bench.up(peer, place, not behind.old, cores or sorted({bench.cores.proxy, bench.cores.load})) as proxy:
            admin = Admin(place.admin_port)
            try:
                yield LiveProxy(bench, proxy, peer, admin)
            finally:
                admin.close()


def noted(bench: Bench, version: str, since: int = 0) -> list[int]:
    """When each request was sent that has come to this version's `/noted`, sorted; those sent after `since`."""
    path: Path = bench.folder / f"noted-{version}"
    moments = (int(line) for line in path.read_text().split() if line.isdigit())
    return sorted(moment for moment in moments if moment >= since)


def lost_between(account: steady.Account, since: int, until: int) -> list[steady.Loss]:
    """What was sent, or should have been, in this span and was lost."""
    return [loss for loss in account.losses if since <= loss.sent < until]


def in_words(losses: Sequence[steady.Loss]) -> tuple[str, ...]:
    """A flag per kind of loss."""
    kinds: dict[str, int] = {}
    for loss in losses:
        how = " on a connection idle for long" if loss.idle_ns > steady.STALE_NS else ""
        kinds[f"{loss.why}{how}"] = kinds.get(f"{loss.why}{how}", 0) + 1
    return tuple(f"{count} lost: {why}" for why, count in kinds.items())
