"""What was received and is not compared yet, bounded in bytes.

Invariant: what is held never takes more than `most` bytes, whoever sends how fast. Who loses is the newest; the one who
sent it is not slowed by that.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Sender = TypeVar("Sender")

MOST_BYTES = 32 * 1024 * 1024
"""A second or two of pairs of 2 KiB at the rate at which they are compared."""
_OVERHEAD = 128
"""What Python takes for a `bytes` and its place in the queue, at most."""


class Backlog(Generic[Sender]):
    """Payloads in the order in which they came, each with who sent it."""

    __slots__ = ("_items", "_most", "bytes")

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._items: deque[tuple[Sender, bytes]] = deque()
        self._most = most
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, sender: Sender, payload: bytes) -> bool:
        """Keep it for later; False when there is no room for it."""
        size = len(payload) + _OVERHEAD
        if self.bytes + size > self._most:
            return False
        self._items.append((sender, payload))
        self.bytes += size
        return True

    def take(self) -> tuple[Sender, bytes]:
        """The oldest. Raises IndexError when there is none."""
        sender, payload = self._items.popleft()
        self.bytes -= len(payload) + _OVERHEAD
        return sender, payload
