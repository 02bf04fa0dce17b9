"""The line from a worker to the comparer: pairs out, wishes in.

Invariants: it never waits. What does not fit its bound, or comes while nobody listens, is refused, and the caller
counts it; what still waits here when the comparer is lost is counted here. What was written counts as told: how much of
it a comparer has read before it died, nobody knows. Only a process of this user is told anything.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, cast

import msgspec

from proxy.ipc import heirloom
from proxy.ipc.frames import FrameError, Frames, frame
from proxy.ipc.pairs import FRAME_LIMIT, Pair, Wanted

if TYPE_CHECKING:
    from proxy.dataplane.worker import Worker

AT_ONCE = 64 * 1024
"""Bytes that are written together: a write per pair would cost more than the pair."""
WAITING = 4 * 1024 * 1024
"""Bytes that the comparer has not taken; beyond them nothing is added."""
_AGAIN_S = 1.0
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Wanted).decode


class Line(asyncio.Protocol):
    """See the module. `requests_of`: the routes whose requests the comparer wants to see."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._address = ""
        self._transport: asyncio.WriteTransport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._again_at = 0.0
        self._waiting: deque[tuple[str, bytes]] = deque()       # with the route of each
        self._size = 0
        self._frames = Frames(FRAME_LIMIT)
        self.requests_of: frozenset[str] = frozenset()

    def lead_to(self, address: str) -> None:
        """The comparer listens at this abstract address from now on; empty: there is none."""
        if address != self._address:
            self.close()
            self._address = address
            self._again_at = 0.0
            self.sweep()

    def send(self, pair: Pair) -> bool:
        """Send it soon; False where it cannot be."""
        if self._transport is None or self._size > WAITING:
            return False
        try:
            framed = frame(_encode(pair), FRAME_LIMIT)
        except FrameError:
            return False
        self._waiting.append((pair.route, framed))
        self._size += len(framed)
        if self._size >= AT_ONCE:
            self._flush(self._transport)
        return True

    def sweep(self) -> None:
        """Write what waits; connect where nobody is connected."""
        if self._transport is not None:
            self._flush(self._transport)
        elif self._address and self._connecting is None and self._worker.now >= self._again_at:
            self._again_at = self._worker.now + _AGAIN_S
            self._connecting = self._worker.spawn(self._connect(), "comparer")

    def close(self) -> None:
        """End the connection; nothing is sent any more."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self._transport is not None:
            while self._waiting and not self._transport.is_closing():
                self._write(self._transport)        # it ends when all of it is taken
            self._transport.close()
        self._forget()
        self._address = ""

    async def _connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.connect("\0" + self._address)      # on this machine, so it is done or refused at once
            if heirloom.peer_of(sock)[1] != os.geteuid():
                raise PermissionError           # without its supervisor the name is free for anybody
            await self._worker.loop.create_unix_connection(lambda: self, sock=sock)
        except OSError:
            sock.close()        # it is starting, or gone: tried again with a later sweep
        self._connecting = None

    def _flush(self, transport: asyncio.WriteTransport) -> None:
        """What the transport does not get rid of waits here, where it is counted if it is lost."""
        while self._waiting and transport.get_write_buffer_size() <= AT_ONCE and not transport.is_closing():
            self._write(transport)

    def _write(self, transport: asyncio.WriteTransport) -> None:
        batch, size = [], 0
        while self._waiting and size < AT_ONCE:
            framed = self._waiting.popleft()[1]
            batch.append(framed)
            size += len(framed)
        self._size -= size
        transport.write(b"".join(batch))

    def _forget(self) -> None:
        self._transport = None
        for route, _ in self._waiting:
            skipped = self._worker.counters.shadow(route).skipped
            skipped["comparer_busy"] = skipped.get("comparer_busy", 0) + 1
        self._waiting.clear()
        self._size = 0
        self._frames = Frames(FRAME_LIMIT)
        self.requests_of = frozenset()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The comparer listens."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """What the comparer wants. What cannot be read ends the connection."""
        try:
            for payload in self._frames.feed(data):
                self.requests_of = frozenset(_decode(payload).requests_of)
        except (FrameError, msgspec.MsgspecError):
            if self._transport is not None:
                self._transport.abort()

    def resume_writing(self) -> None:
        """A comparer has caught up, this one or the one before."""
        if self._transport is not None:
            self._flush(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The comparer is gone; a successor listens at the same address."""
        if self._transport is None or self._transport.is_closing():     # else it is the one before that ended late
            self._forget()
