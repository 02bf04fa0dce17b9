"""What workers have to know of servers: each other's news at once, what probes say, and all of it when they start.

Invariant: a worker is told of a server only after the snapshot that names it: what follows from a new snapshot is sent
in the next turn of the loop, when the snapshot has been sent.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from proxy.controlplane.health.book import HealthBook
from proxy.controlplane.health.pages import Key
from proxy.ipc.channel import framed
from proxy.ipc.messages import Noticed, Probed


class Workers(Protocol):
    """Whoever can speak to the workers: the supervisor."""

    def tell(self, message: bytes, *, but: int | None = None) -> None:
        """Send an encoded message to every worker that has a snapshot, except to the one with this `life`."""


class Relay:
    """See the module."""

    def __init__(self, book: HealthBook, workers: Workers) -> None:
        self._book = book
        self._workers = workers
        self._told: tuple[Key, ...] = ()
        self._due = False

    def noticed(self, life: int, news: Noticed) -> None:
        """Take in what a worker says, and tell the others if it is new."""
        if self._book.noticed(news):
            self._workers.tell(framed(news), but=life)

    def greeting(self) -> bytes:
        """Everything that a worker has to know that has just got its first snapshot, as encoded messages."""
        out = self._book.out_by_probes()
        probed = [framed(Probed(out))] if out else []
        return b"".join(probed + [framed(news) for news in self._book.newest()])

    def out_changed(self) -> None:
        """Tell the workers what is out by probes, if that is something else than they were told."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._tell_out)

    def _tell_out(self) -> None:
        self._due = False
        out = self._book.out_by_probes()
        if out != self._told:
            self._told = out
            self._workers.tell(framed(Probed(out)))
