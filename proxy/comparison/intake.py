"""Connections of workers: frames come in and are handed on as they are, whatever else goes on.

Invariants: only processes of this user are heard. A connection that sends what is no frame is closed, and nothing of
what it sent afterwards is looked at. What has begun to arrive takes no more than `_MOST_PENDING` bytes over all
connections; who loses is the connection that would go beyond.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import cast

import msgspec

from proxy.ipc import heirloom
from proxy.ipc.frames import FrameError, Frames, frame
from proxy.ipc.pairs import FRAME_LIMIT, Wanted

MOST_CONNECTIONS = 512
"""Workers, and those of a predecessor; there is one for each CPU."""
_MOST_PENDING = 64 * 1024 * 1024

Receive = Callable[["Feed", bytes], None]


class Intake:
    """Every connection. `receive` gets each payload with the connection it came by."""

    def __init__(self, receive: Receive) -> None:
        self.receive = receive
        self.feeds: set[Feed] = set()
        self.pending = 0
        self.broken = 0
        """Connections that were closed for what they sent, since somebody set it to 0."""
        self._wanted = Wanted()

    def want(self, routes: tuple[str, ...]) -> None:
        """Ask every worker to put the requests of these routes into their pairs, and of no others."""
        if routes != self._wanted.requests_of:
            self._wanted = Wanted(routes)
            for feed in self.feeds:
                feed.tell(self._wanted)

    def admit(self, feed: Feed) -> bool:
        """Whether this connection may stay; if so it is told what is wanted."""
        if len(self.feeds) >= MOST_CONNECTIONS or feed.uid != os.geteuid():
            return False
        self.feeds.add(feed)
        if self._wanted.requests_of:
            feed.tell(self._wanted)
        return True


class Feed(asyncio.Protocol):
    """One worker's connection."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._frames = Frames(FRAME_LIMIT)
        self._transport: asyncio.Transport | None = None
        self.uid = -1
        self.is_cut = False
        """Whether it was closed for what it sent."""

    def tell(self, wanted: Wanted) -> None:
        """Send what the comparer asks of a worker."""
        if self._transport is not None:
            self._transport.write(frame(msgspec.msgpack.encode(wanted)))

    def cut(self) -> None:
        """Close the connection, for what came by it."""
        if not self.is_cut:
            self.is_cut = True
            self._intake.broken += 1
        self._close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, or refuse (called by the event loop)."""
        self._transport = cast(asyncio.Transport, transport)
        _, self.uid = heirloom.peer_of(transport.get_extra_info("socket"))
        if not self._intake.admit(self):
            self.cut()

    def data_received(self, data: bytes) -> None:
        """Cut frames and hand each on (called by the event loop)."""
        if self._transport is None:
            return
        before = self._frames.pending
        try:
            payloads = self._frames.feed(data)
        except FrameError:
            self._intake.pending -= before
            self._frames = Frames(FRAME_LIMIT)
            self.cut()
            return
        self._intake.pending += self._frames.pending - before
        for payload in payloads:
            self._intake.receive(self, payload)
        if self._intake.pending > _MOST_PENDING:
            self.cut()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it (called by the event loop)."""
        self._transport = None
        self._intake.pending -= self._frames.pending
        self._frames = Frames(FRAME_LIMIT)
        self._intake.feeds.discard(self)

    def _close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
