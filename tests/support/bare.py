"""A supervisor with real workers and nothing around it: no file, no journal, no admin API, so it starts in no time.

As a program it says what happens on stdout, a JSON object per line, and does what it is told on stdin: `apply
REVISION VERSION` sends everything to that version and ends what the other one still works on; an empty line, or
SIGTERM, drains. `bare(...)`
starts it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
import uvloop

from proxy.clock import monotonic
from proxy.controlplane.listeners import addresses_of, open_listeners
from proxy.controlplane.orphans import find_orphans
from proxy.controlplane.process import WORKER_COMMAND
from proxy.controlplane.supervisor import Supervisor
from proxy.core.listen import Listen
from proxy.core.route import Route
from proxy.core.snapshot import Snapshot
from tests.support.deadline import WITHIN_S, wait_until
from tests.support.origins import Origin
from tests.support.worker import a_snapshot

Json = dict[str, Any]
ROOT = str(Path(__file__).resolve().parents[2])


class Bare:
    """A running one. `said`: everything it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[Json] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(json.loads(line))

    def heard(self, what: str) -> Json:
        """Wait for the first thing of this kind that it says."""

        def look() -> Json | None:
            return next((said for said in list(self.said) if said["say"] == what), None)

        return wait_until(look, f"it says {what!r}; it said {self.said}")

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.heard("serving")["listen"][0].rpartition(":")
        return host, int(port)

    @property
    def workers(self) -> list[int]:
        pids: list[int] = self.heard("serving")["workers"]
        return pids

    def tell(self, what: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL for the supervisor alone, and its end."""
        self.process.kill()
        self.process.wait(WITHIN_S)

    def join(self) -> None:
        self._reader.join(WITHIN_S)

    def wait(self) -> int:
        return self.process.wait(WITHIN_S)


@contextmanager
def bare(old: Origin, *, listen: str = "127.0.0.1:0", new: Origin | None = None, weight: float = 0.0, workers: int = 2,
         orphan_s: float = 60.0, drain_s: float = 10.0, worker: tuple[str, ...] = ()) -> Iterator[Bare]:
    """Start one; at the end of the block nothing of it is left, its orphans included. `worker`: another command."""
    plan = {"old": old.address, "new": (new or old).address, "weight": weight, "listen": listen, "workers": workers,
            "orphan": orphan_s, "drain": drain_s, "worker": worker}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.support.bare", json.dumps(plan)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": ROOT}, start_new_session=True,
    )
    running = Bare(process)
    try:
        yield running
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait(WITHIN_S)
        running.join()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


# ---- the program


def _say(what: str, **facts: object) -> None:
    print(json.dumps({"say": what, **facts}), flush=True)


def _listen(address: str) -> Listen:
    if address.startswith("unix:"):
        return Listen("", 0, address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    return Listen(host, int(port))


def _snapshot(plan: Json) -> Snapshot:
    return a_snapshot(tuple(plan["old"]), new=(tuple(plan["new"]),), weight=plan["weight"],
                      timeouts={"orphan": plan["orphan"], "drain": plan["drain"]})


async def _serve(plan: Json) -> None:
    began = monotonic()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    listens = [_listen(plan["listen"])]
    orphans = find_orphans(addresses_of(listens))
    listeners = open_listeners(listens, plan["workers"], orphans.sockets)
    supervisor = Supervisor(_snapshot(plan), listeners, plan["workers"],
                            worker_command=tuple(plan["worker"]) or WORKER_COMMAND)
    supervisor.follow(orphans)
    told: asyncio.Queue[str] = asyncio.Queue()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.put_nowait, "")
    asyncio.get_running_loop().add_reader(sys.stdin, lambda: told.put_nowait(sys.stdin.readline().strip()))
    await supervisor.start()
    _say("serving", listen=listeners.addresses, workers=sorted(supervisor.pids.values()),
         orphans=[orphan.pid for orphan in orphans.members], took_s=monotonic() - began)
    while (words := (await told.get()).split()):
        await _change(supervisor, int(words[1]), words[2])
    stopped = await supervisor.stop(plan["drain"])
    _say("left", cut=stopped.cut)


async def _change(supervisor: Supervisor, revision: int, version: str) -> None:
    snapshot = supervisor.snapshot
    split = tuple((name, 100.0 if name == version else 0.0) for name in ("old", "new"))
    routes: tuple[Route, ...] = (replace(snapshot.routes[0], split=split),)
    cut = [("all", name) for name, weight in split if not weight]
    change = await supervisor.apply(replace(snapshot, revision=revision, routes=routes), cut=cut)
    _say("changed", workers=change.workers, took_s=change.took_s)


if __name__ == "__main__":
    uvloop.run(_serve(json.loads(sys.argv[1])))
