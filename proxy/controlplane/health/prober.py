"""Probes every server that is to be probed, each in its own rhythm, and tells the book how that ended.

Invariants: each probed server has one task, which ends when the server or its way of being probed is no longer
configured; at most `MOST_AT_ONCE` probes are under way, later ones wait. What we cannot do says nothing about a server.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import structlog

from proxy.clock import Clock, monotonic
from proxy.controlplane.health.ask import Asker
from proxy.controlplane.health.book import HealthBook
from proxy.controlplane.health.pages import Key
from proxy.controlplane.tasks import reported
from proxy.core.health.pauses import TICK_S, Pauses
from proxy.core.health.probing import Probing, pause_s
from proxy.core.route import Server
from proxy.core.snapshot import Snapshot

log = structlog.get_logger("health")

MOST_AT_ONCE = 256
"""Each takes a descriptor and, at a server that is silent, all of its time-out. With 1 s and 0.5 s, as configured
unless one says otherwise, 500 silent servers take nothing from the others."""
_COMPLAIN_EVERY_S = 60.0


class Prober:
    """See the module. `draw`: chance, in [0, 1). `on_out` is told that other servers than before are out.

    `at_once`: probes that may be under way.
    """

    def __init__(self, book: HealthBook, on_out: Callable[[], None], *, clock: Clock = monotonic,
                 wall: Clock = time.time, draw: Callable[[], float] = random.random,
                 at_once: int = MOST_AT_ONCE) -> None:
        self._book = book
        self._on_out = on_out
        self._clock = clock
        self._draw = draw
        self._asker = Asker(clock, wall)
        self._pauses = Pauses(clock())
        self._places = asyncio.Semaphore(at_once)
        self._tasks: dict[Key, tuple[Probing, asyncio.Task[None]]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._complained_at: float | None = None

    def follow(self, snapshot: Snapshot) -> None:
        """Probe the servers of this snapshot, which the book knows already. Who is probed in the same way goes on."""
        servers = {(version.name, server.address): server
                   for version in snapshot.versions for server in version.servers}
        judges = dict(self._book.judges())
        for key, (judge, task) in list(self._tasks.items()):
            if judges.get(key) is not judge:
                del self._tasks[key]
                self._end(task)
        for key, judge in judges.items():
            if key not in self._tasks:
                task = asyncio.create_task(self._probe(key, servers[key], judge), name=f"probe {key[0]} {key[1]}")
                self._tasks[key] = judge, reported(task, "health")

    def tick(self) -> None:
        """Look at the clock and at everybody's silence; due every `TICK_S` seconds."""
        now = self._clock()
        paused_s = self._pauses.tick(now)
        if paused_s:
            for _, judge in self._book.judges():
                judge.paused(now, paused_s)
        if self._book.looked():
            self._on_out()

    async def run(self) -> None:
        """Tick until cancelled."""
        self._pauses = Pauses(self._clock())
        while True:
            await asyncio.sleep(TICK_S)
            self.tick()

    async def stop(self) -> None:
        """End every probe and close what is open."""
        for _, task in self._tasks.values():
            self._end(task)
        self._tasks.clear()
        if self._ending:
            await asyncio.wait(self._ending)
        await self._asker.close()

    def _end(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _probe(self, key: Key, server: Server, judge: Probing) -> None:
        interval_s = judge.probe.interval_s
        due = self._clock() + self._draw() * interval_s  # not all at once
        while True:
            await asyncio.sleep(max(0.0, due - self._clock()))
            async with self._places:
                began = self._clock()
                await self._probe_once(key, server, judge, began)
            due = began + pause_s(interval_s, self._draw())

    async def _probe_once(self, key: Key, server: Server, judge: Probing, began: float) -> None:
        judge.asked(began)
        result = await self._asker.ask(server, judge.probe)
        if isinstance(result, OSError):
            judge.unasked()
            self._complain(result)
        elif self._book.probed(key, result, paused=self._pauses.touched(began, self._clock())):
            self._on_out()

    def _complain(self, error: OSError) -> None:
        now = self._clock()
        if self._complained_at is None or now - self._complained_at >= _COMPLAIN_EVERY_S:
            self._complained_at = now
            log.error("servers are not probed: this host does not allow it", because=error.strerror or str(error))
