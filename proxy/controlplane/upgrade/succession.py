"""Those who served before us, for as long as they are still there: what a change owes them, and how they end.

Two kinds come before a supervisor: workers whose supervisor died (`orphans`), and the workers of a supervisor that
hands over to us (`handover`). Both serve on the same sockets as we do, by a snapshot that we cannot change any more.

Invariant: no change is reported while any of them may begin a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Protocol


class Predecessor(Protocol):
    """Workers of an earlier supervisor that still serve on our sockets."""

    @property
    def has_gone(self) -> bool:
        """Whether each has ended: nothing is in flight at any of them."""

    def leave(self, within_s: float) -> None:
        """Tell them to accept nothing new and to finish within so many seconds. Told again, nothing happens."""

    async def quiet(self) -> None:
        """Wait until no request can begin at any of them. Only after `leave`."""

    async def gone(self) -> None:
        """Wait until each has ended. Only after `leave`."""

    def cut_off(self, pairs: Iterable[tuple[str, str]]) -> None:
        """End what they still work on for these (route, version) pairs."""

    def kill(self, reason: str, *, unless_quiet: bool = False) -> None:
        """End them now; `unless_quiet`: only those that may still begin a request."""

    def forget(self) -> None:
        """Leave them alone: somebody else will come for them, or their time will be up."""


class Succession:
    """Every predecessor of one supervisor. `quiet_s`: how long they may take to become quiet."""

    def __init__(self, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._members: list[Predecessor] = []
        self._told = asyncio.Event()

    def add(self, predecessor: Predecessor) -> None:
        """Follow on this one, too."""
        self._members.append(predecessor)

    @property
    def is_over(self) -> bool:
        """Whether none of their workers is there any more: until then some may still finish what they began."""
        return all(member.has_gone for member in self._members)

    def send_home(self, within_s: float) -> None:
        """Tell all to leave: our own workers serve."""
        for member in self._members:
            member.leave(within_s)
        self._told.set()

    def forget(self) -> bool:
        """Leave all alone, since we could not take their place. Returns whether there was anybody."""
        anybody = bool(self._members)
        for member in self._members:
            member.forget()
        self._members.clear()
        self._told.set()
        return anybody

    async def outlive(self, cut: Iterable[tuple[str, str]]) -> None:
        """Return when none of them begins a request any more; those that take too long are ended.

        `cut`: (route, version) pairs for which they end what they still work on.
        """
        if not self._members:
            return
        await self._told.wait()
        if cut:
            for member in self._members:
                member.cut_off(cut)
        if not await _all_done([member.quiet() for member in self._members], self._quiet_s):
            for member in self._members:
                member.kill("it still took requests by an older revision", unless_quiet=True)

    async def end(self, within_s: float) -> None:
        """Return when all have left, or were ended after so many seconds."""
        self.send_home(within_s)
        if not await _all_done([member.gone() for member in self._members], within_s):
            self.kill("it did not leave in time")

    def kill(self, reason: str) -> None:
        """End all of them now."""
        for member in self._members:
            member.kill(reason)


async def _all_done(waits: Iterable[Coroutine[Any, Any, None]], within_s: float) -> bool:
    """Whether all of them return in time; the others are given up."""
    tasks = {asyncio.create_task(wait, name="predecessor") for wait in waits}
    if not tasks:
        return True
    done, pending = await asyncio.wait(tasks, timeout=within_s)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()
    return not pending
