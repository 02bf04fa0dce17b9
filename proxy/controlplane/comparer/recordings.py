"""Lines of recorded pairs on their way from the comparer to whoever reads them.

Invariant: a reader that is slow makes nobody wait: beyond `MOST_WAITING` bytes lines are lost, and the reader is told
how many, at the place where they are missing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from proxy.ipc.comparing import Record, Recorded

MOST_STREAMS = 4
MOST_WAITING = 4 * 1024 * 1024
OFF = "off"
"""Why a stream ends: nothing of its route is compared any more; or this process leaves, and its successor goes on."""
LEAVING = "leaving"


class RecordStream:
    """One reader's view, until either side closes it, which `why` says. `begin` is what the comparer is told."""

    def __init__(self, begin: Record, on_close: Callable[[RecordStream], None]) -> None:
        self.begin = begin
        self.closed = False
        self.why = ""
        self._on_close = on_close
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._lost = 0
        self._wake = asyncio.Event()

    def offer(self, recorded: Recorded) -> None:
        """What the comparer has sent."""
        self._lost += recorded.lost
        for line in recorded.lines:
            if self._bytes + len(line) > MOST_WAITING:
                self._lost += 1
            else:
                self._lines.append(line)
                self._bytes += len(line)
        self._wake.set()

    async def take(self, within_s: float) -> bytes | None:
        """All that there is, each line with its end; empty when nothing came in time; None at the end of the stream."""
        if not self._lines and not self._lost and not self.closed:
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), within_s)
            except TimeoutError:
                return b""
        if self.closed and not self._lines and not self._lost:
            return None
        lines, lost = self._lines, self._lost
        self._lines, self._bytes, self._lost = deque(), 0, 0
        if lost:
            lines.append(b'{"lost":%d}' % lost)
        return b"".join([line + b"\n" for line in lines])

    def close(self, why: str = "") -> None:
        """End it, also while somebody waits for its next line. Any number of times; the first says why."""
        if not self.closed:
            self.closed = True
            self.why = why
            self._wake.set()
            self._on_close(self)
