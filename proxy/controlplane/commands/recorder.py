"""Events that change nothing (a worker was replaced, a log-in failed): journaled when there is time, by one task.

Invariant: recording never waits and never fails its caller. What finds the queue full, or the journal unwilling, is
lost; the loss is logged and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from proxy.controlplane.commands.transactions import Transactions
from proxy.controlplane.events import Event
from proxy.controlplane.journal.errors import JournalError

log = structlog.get_logger("commands")

QUEUE = 1_000


class Recorder:
    """`run` is its task, of the owner's; `lost` counts events that never reached the journal."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._queue: list[Event] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.lost = 0

    def record(self, event: Event) -> None:
        """Journal the event soon."""
        if len(self._queue) >= QUEUE:
            self.lost += 1
            return
        self._queue.append(event)
        self._idle.clear()
        self._wake.set()

    async def flush(self) -> None:
        """Wait until everything recorded so far is in the journal, or lost."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write what is recorded, all that there is at once, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while events := self._queue:
                self._queue = []
                await self._write(events)
            self._idle.set()

    async def _write(self, events: list[Event]) -> None:
        try:
            await self._transactions.note(events)
        except JournalError as error:
            self.give_up(events, error)

    def give_up(self, events: Sequence[Event], error: JournalError) -> None:
        """Count these as lost, and say so."""
        self.lost += len(events)
        log.error("events were not journaled", events=[event.verb for event in events[:10]], reason=str(error))
