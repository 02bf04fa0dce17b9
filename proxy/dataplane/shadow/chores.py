"""Work for copies that would keep clients waiting: done between their turns, a slice at a time.

Cleaning what a pair holds takes milliseconds where bodies are large, and so do thousands of tiny chunks. Invariant:
after each slice the loop belongs to the clients for at least twice as long as the slice took, and what was begun first
is done first.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from proxy.dataplane.worker import Worker

SLICE_S = 0.001
"""After this no other work is begun."""
PAUSE_S = 0.001
"""The shortest pause between two slices, and before the first."""
MOST = 1_000
"""Pairs that may wait; what they hold counts as the copies' memory, but objects have a size, too."""


class Chores:
    """See the module."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._waiting: deque[Callable[[], None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_full(self) -> bool:
        """Whether so much waits that nothing should be added that can be left undone."""
        return len(self._waiting) >= MOST

    def add(self, work: Callable[[], None]) -> None:
        """Do this soon."""
        self._waiting.append(work)
        if self._timer is None:
            self._timer = self._worker.loop.call_later(PAUSE_S, self._run)

    def close(self) -> list[Callable[[], None]]:
        """Do nothing any more; returns what is left undone, the first first."""
        if self._timer is not None:
            self._timer.cancel()
        undone = list(self._waiting)
        self._waiting.clear()
        return undone

    def _run(self) -> None:
        clock, waiting = self._worker.clock, self._waiting     # the loop's own time stands still meanwhile
        began = clock()
        try:
            while waiting:
                waiting.popleft()()
                if clock() - began >= SLICE_S:
                    break
        finally:
            self._timer = None
            if waiting:
                self._timer = self._worker.loop.call_later(max(PAUSE_S, 2 * (clock() - began)), self._run)
