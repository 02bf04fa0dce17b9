"""A supervisor with real workers and nothing around it: no file, no journal, no admin API, so it starts in no time.

As a program it says what happens on stdout, a JSON object per line, and does what it is told on stdin: `apply
REVISION VERSION` sends everything to that version and ends what the other one still works on; `upgrade`
(or SIGUSR2) starts a successor, which has the misfortune that may follow: refuses, dies-early, dawdles, stalls,
dies-late, dies-elsewhere; or the predecessor cannot-pack. An empty line, or SIGTERM, drains. `bare(...)` starts it.
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
from proxy.controlplane.errors import HandingOver
from proxy.controlplane.journal.errors import JournalError
from proxy.controlplane.supervisor import Supervisor
from proxy.controlplane.upgrade.handover import Estate, Handover, Household, UpgradeFailed
from proxy.controlplane.upgrade.inheritance import Inheritance, inheritance
from proxy.controlplane.upgrade.orphans import Orphans, find_orphans
from proxy.controlplane.workers.listeners import Heirlooms, addresses_of, open_listeners
from proxy.controlplane.workers.process import WORKER_COMMAND
from proxy.core.listen import Listen
from proxy.core.route import Route
from proxy.core.snapshot import Snapshot
from proxy.telemetry.names import REQUESTS
from tests.support.deadline import WITHIN_S, wait_until
from tests.support.origins import Origin
from tests.support.worker import a_snapshot

Json = dict[str, Any]
MISFORTUNE = "TURNOUT_TEST_MISFORTUNE"
ELSEWHERE = "127.0.0.2:0"
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

    def heard(self, what: str, time: int = 1) -> Json:
        """Wait until it says something of this kind for the first time, or the second…"""

        def look() -> Json | None:
            found = [said for said in list(self.said) if said["say"] == what]
            return found[time - 1] if len(found) >= time else None

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
         orphan_s: float = 60.0, drain_s: float = 10.0, upgrade_s: float = 15.0, frozen_s: float = 15.0,
         worker: tuple[str, ...] = ()) -> Iterator[Bare]:
    """Start one; at the end of the block nothing of it is left, its orphans included. `worker`: another command."""
    plan = {"old": old.address, "new": (new or old).address, "weight": weight, "listen": listen, "workers": workers,
            "orphan": orphan_s, "drain": drain_s, "upgrade": upgrade_s, "frozen": frozen_s,
            "worker": worker}
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
    os.write(1, json.dumps({"say": what, **facts}).encode() + b"\n")  # at once: a successor says something, too


def _listen(address: str) -> Listen:
    if address.startswith("unix:"):
        return Listen("", 0, address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    return Listen(host, int(port))


def _snapshot(plan: Json) -> Snapshot:
    return a_snapshot(tuple(plan["old"]), new=(tuple(plan["new"]),), weight=plan["weight"],
                      timeouts={"orphan": plan["orphan"], "drain": plan["drain"]})


class _Program:
    """What a composition root does, and nothing else."""

    def __init__(self, plan: Json) -> None:
        self.plan = plan
        self.began = monotonic()
        self.frozen = False
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.handover: Handover

    async def run(self) -> int:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
        loop = asyncio.get_running_loop()
        inherited = await inheritance()
        misfortune = os.environ.get(MISFORTUNE) if inherited else None
        if misfortune == "refuses":
            assert inherited is not None
            inherited.fail("it does not want to")
            await inherited.close()
            return 1
        listens = [_listen(ELSEWHERE if misfortune == "dies-elsewhere" else self.plan["listen"])]
        orphans = find_orphans(addresses_of(listens)) if inherited is None else Orphans()
        heirlooms = Heirlooms(orphans.sockets) if inherited is None else inherited.data
        supervisor = Supervisor(_snapshot(self.plan), open_listeners(listens, self.plan["workers"], heirlooms),
                                self.plan["workers"], worker_command=tuple(self.plan["worker"]) or WORKER_COMMAND)
        self.supervisor = supervisor
        supervisor.follow(orphans)
        household = Household(self.estate, self.freeze, self.thaw)
        self.handover = Handover(supervisor, household, within_s=self.plan["upgrade"],
                                 frozen_s=self.plan["frozen"])
        loop.add_signal_handler(signal.SIGTERM, self.told.put_nowait, "")
        loop.add_signal_handler(signal.SIGUSR2, self.told.put_nowait, "upgrade")
        if inherited is None:
            loop.add_reader(sys.stdin, lambda: self.told.put_nowait(sys.stdin.readline().strip()))
            await supervisor.start()
        else:
            await self.succeed(inherited, misfortune)
        _say("serving", listen=supervisor.listeners.addresses, workers=sorted(supervisor.pids.values()),
             orphans=[orphan.pid for orphan in orphans.members], took_s=monotonic() - self.began, pid=os.getpid())
        while (words := (await self.told.get()).split()):
            await self.obey(words)
            if self.handover.taken.is_set():
                await self.handover.finish(self.plan["drain"])
                return 0
        stopped = await supervisor.stop(self.plan["drain"])
        _say("left", cut=stopped.cut, answered=sum(supervisor.fold.counters(REQUESTS).values()))
        return 0

    async def succeed(self, inherited: Inheritance, misfortune: str | None) -> None:
        supervisor = self.supervisor
        _die_if(misfortune == "dies-early")
        await supervisor.prepare()
        if misfortune == "dawdles":
            await asyncio.Event().wait()
        final = await inherited.ready(supervisor)
        if misfortune == "stalls":
            await asyncio.Event().wait()
        snapshot = replace(supervisor.snapshot, revision=final["revision"])
        await supervisor.start(_with_split(snapshot, final["split"]))
        if misfortune == "dies-elsewhere":
            _say("served", workers=sorted(supervisor.pids.values()))
        _die_if(misfortune in ("dies-late", "dies-elsewhere"))
        await inherited.take(supervisor)

    def estate(self) -> Estate:
        return Estate(self.supervisor.listeners)

    async def freeze(self) -> Json:
        if os.environ[MISFORTUNE] == "cannot-pack":
            raise JournalError("it cannot be read")
        self.frozen = True
        snapshot = self.supervisor.snapshot
        return {"revision": snapshot.revision, "split": snapshot.routes[0].split}

    async def thaw(self) -> None:
        assert self.frozen, "only what was frozen is thawed"
        self.frozen = False

    async def obey(self, words: list[str]) -> None:
        if words[0] == "apply":
            await _change(self.supervisor, int(words[1]), words[2])
        elif words[0] == "upgrade":
            os.environ[MISFORTUNE] = words[1] if len(words) > 1 else ""
            try:
                _say("upgraded", pid=await self.handover.upgrade())
            except (UpgradeFailed, HandingOver) as error:
                _say("not-upgraded", because=str(error), frozen=self.frozen)


def _die_if(due: bool) -> None:
    if due:
        os.kill(os.getpid(), signal.SIGKILL)


def _with_split(snapshot: Snapshot, split: list[tuple[str, float]]) -> Snapshot:
    route: Route = replace(snapshot.routes[0], split=tuple((name, weight) for name, weight in split))
    return replace(snapshot, routes=(route,))


async def _change(supervisor: Supervisor, revision: int, version: str) -> None:
    split = [(name, 100.0 if name == version else 0.0) for name in ("old", "new")]
    cut = [("all", name) for name, weight in split if not weight]
    snapshot = replace(_with_split(supervisor.snapshot, split), revision=revision)
    change = await supervisor.apply(snapshot, cut=cut)
    _say("changed", workers=change.workers, took_s=change.took_s)


if __name__ == "__main__":
    sys.exit(uvloop.run(_Program(json.loads(sys.argv[1])).run()))
