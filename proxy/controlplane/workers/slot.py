"""The place of one worker: its sockets stay, the processes in it come and go.

Invariant: at most one process lives in a slot, and as long as the slot is not told to stop, one lives or is about to be
started. Connections that arrive in between wait on the slot's sockets.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from proxy.clock import Clock
from proxy.controlplane.child import pause
from proxy.controlplane.workers.lifecycle import Backoff, State
from proxy.controlplane.workers.listeners import Bound
from proxy.controlplane.workers.process import WorkerProcess
from proxy.ipc.messages import Noticed, Stats

log = structlog.get_logger("supervisor")


@dataclass(frozen=True, slots=True)
class Crew:
    """What all slots of a supervisor have in common."""

    command: Sequence[str]
    workers: int
    clock: Clock
    lives: itertools.count[int]
    first_words: Callable[[], bytes | None]
    """Returns the snapshot that a new worker is to start with, as an encoded `Apply`, and what it has to know besides;
    None: it is to wait."""
    on_stats: Callable[[int, Stats], None]
    on_gone: Callable[[int], None]
    """Told the life of every process that has ended."""
    on_change: Callable[[], None]
    """Told that a worker came to serve, begins nothing any more, or has ended."""
    on_event: Callable[[str, dict[str, Any]], None]
    """Told what belongs into the journal: a verb and what there is to know about it."""
    on_noticed: Callable[[int, Noticed], None]
    """Told what a worker process, by its life, has noticed of a server."""


class Slot:
    """One of N places for a worker; `run` is its task."""

    def __init__(self, index: int, sockets: Sequence[Bound], crew: Crew) -> None:
        self.index = index
        self.restarts = 0
        self.early_deaths = 0
        """Processes in a row that ended before they served."""
        self.last_end: str | None = None
        self.process: WorkerProcess | None = None
        self.cut = 0
        self._sockets = sockets
        self._crew = crew
        self._backoff = Backoff()
        self._stopping = asyncio.Event()

    @property
    def state(self) -> State:
        """The state of the process in this slot; DEAD while there is none."""
        return self.process.state if self.process is not None else State.DEAD

    async def run(self) -> None:
        """Keep a worker alive here until `stop` was called and the last one has left."""
        while not self._stopping.is_set():
            started_at = self._crew.clock()
            await self._live_once()
            if self._stopping.is_set():
                return
            self.restarts += 1
            delay_s = self._backoff.delay_s(self._crew.clock() - started_at)
            facts = {"worker": self.index, "because": self.last_end, "restarts": self.restarts, "in_s": delay_s}
            log.error("worker replaced", **facts)
            self._crew.on_event("worker-replaced", facts)
            await pause(delay_s, self._stopping)

    def stop(self, within_s: float) -> None:
        """Start no other worker, and tell the present one to leave within so many seconds."""
        self._stopping.set()
        if self.process is not None:
            self.process.drain(within_s)

    def kill(self, reason: str) -> None:
        """End the present worker now; a successor follows unless the slot was stopped."""
        if self.process is not None:
            self.process.kill(reason)

    async def _live_once(self) -> None:
        crew = self._crew
        process = WorkerProcess(self.index, next(crew.lives), crew.clock, crew.on_stats, crew.on_change,
                                crew.first_words, crew.on_noticed)
        try:
            await process.start(crew.command, crew.workers, self._sockets)
        except OSError as error:
            self.last_end = f"it could not be started: {error.strerror or error}"
            self.early_deaths += 1
            crew.on_change()
            return
        self.process = process
        if self._stopping.is_set():
            process.drain(0.0)
        try:
            self.last_end = await process.exited()
        finally:
            self.process = None
            self.cut += process.cut
            crew.on_gone(process.life)
        self.early_deaths = 0 if process.revision else self.early_deaths + 1
        crew.on_change()
