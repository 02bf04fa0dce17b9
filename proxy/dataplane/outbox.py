"""Small messages of one turn of the loop, sent together at its end.

Each write wakes whoever reads at the other end. Written one by one between other work, fifty messages wake a sleeping
neighbour fifty times; written in one go, once. On a loopback connection (a sidecar) that is a tenth of the cost of a
request.

Invariant: whoever writes to a client or closes its connection by any other way flushes first, so nothing is overtaken.
Only whole messages come here, and at most `MESSAGES` of `SMALL` bytes wait.
"""

from __future__ import annotations

import asyncio

MESSAGES = 64
SMALL = 32 * 1024
"""Larger ones are written at once: their cost is in their bytes."""


class Outbox:
    """See the module."""

    __slots__ = ("_loop", "_waiting", "turn")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.turn = 0
        """Grows with every flush: what was added in the current turn has not been written yet."""
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def add(self, transport: asyncio.Transport, data: bytes) -> int:
        """Write at the end of this turn, or at once if nothing more fits in. Returns the turn at whose end it is."""
        turn = self.turn
        waiting = self._waiting
        waiting.append((transport, data))
        if len(waiting) == 1:
            self._loop.call_soon(self.flush)
        elif len(waiting) == MESSAGES:
            self.flush()
        return turn

    def flush(self) -> None:
        """Write now what waits."""
        if not self._waiting:
            return
        self.turn += 1
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            try:
                transport.write(data)
            except RuntimeError:  # uvloop's word for a transport that was closed in the meantime
                continue
