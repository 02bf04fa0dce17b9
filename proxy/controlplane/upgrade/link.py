"""The line between a supervisor and its successor: JSON messages, and descriptors that come along with them.

The two may be of different releases, so whoever listens takes what he knows and ignores the rest. Descriptors belong to
the message that announces them (`descriptors`: how many), in the order in which they were given.

Invariant: what was posted is sent in order; after the end of the line `hear` raises LineEnded for ever.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from proxy.errors import TurnoutError
from proxy.ipc.descriptors import receive
from proxy.ipc.frames import FrameError, Frames, frame

Message = dict[str, Any]

MAX_WAITING = 64 * 1024 * 1024
"""Bytes that may wait for the other side: beyond, it is taken for dead. Counters of 10,000 routes are a tenth of it."""
_AT_ONCE = 200
"""Descriptors with one message; the kernel allows 253 (SCM_MAX_FD)."""
_READ = 256 * 1024

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class LineEnded(TurnoutError):  # noqa: N818  it is no error when it was to be expected
    """The other side is gone, or talks what cannot be read; the message says which."""


class Link:
    """One end of `socket.socketpair()`, which it owns. Needs a running event loop."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._frames = Frames()
        self._descriptors: deque[int] = deque()
        self._heard: asyncio.Queue[tuple[Message, list[int]] | None] = asyncio.Queue()
        self._waiting: deque[tuple[memoryview, list[int]]] = deque()
        self._bytes_waiting = 0
        self._sent = asyncio.Event()
        self._sent.set()
        self.ended: str | None = None
        self._loop.add_reader(sock, self._read)

    def post(self, say: str, descriptors: Sequence[int] = (), **facts: object) -> None:
        """Send a message as soon as the other side takes it. Nothing happens when the line has ended.

        `descriptors` are copied, at most 200 of them.
        """
        if self.ended is not None:
            return
        if len(descriptors) > _AT_ONCE:
            raise ValueError(f"{len(descriptors)} descriptors are too many for one message")
        message = {**facts, "say": say, "descriptors": len(descriptors)}
        data = frame(msgspec.json.encode(message))
        self._waiting.append((memoryview(data), [os.dup(each) for each in descriptors]))
        self._bytes_waiting += len(data)
        self._sent.clear()
        if len(self._waiting) == 1:
            self._write()
        if self._bytes_waiting > MAX_WAITING:
            self._end("it does not take what it is told")

    async def flushed(self) -> None:
        """Wait until everything posted has left, or the line has ended."""
        await self._sent.wait()

    async def hear(self) -> tuple[Message, list[int]]:
        """Return the next message, and its descriptors, which are the caller's. Raises LineEnded."""
        heard = await self._heard.get()
        if heard is None:
            self._heard.put_nowait(None)
            raise LineEnded(self.ended or "it has ended")
        return heard

    def close(self) -> None:
        """End the line from this side."""
        self._end("it was closed here")

    def _read(self) -> None:
        try:
            data, descriptors = receive(self._sock, _READ, _AT_ONCE)
            self._descriptors += descriptors
            if not data:
                self._end("it has ended")
                return
            for payload in self._frames.feed(data):
                self._take(_decode(payload))
        except BlockingIOError:
            return
        except OSError as error:
            self._end(f"it was cut: {error.strerror}")
        except (FrameError, msgspec.DecodeError, IndexError, TypeError) as error:
            self._end(f"it talks what cannot be read: {error}")

    def _take(self, message: Message) -> None:
        descriptors = [self._descriptors.popleft() for _ in range(message.pop("descriptors", 0))]
        self._heard.put_nowait((message, descriptors))

    def _write(self) -> None:
        while self._waiting:
            data, descriptors = self._waiting[0]
            try:
                taken = socket.send_fds(self._sock, [data], descriptors) if descriptors else self._sock.send(data)
            except BlockingIOError:
                self._loop.add_writer(self._sock, self._write)
                return
            except OSError as error:
                self._end(f"it was cut: {error.strerror}")
                return
            _close(descriptors)  # with the first byte they have left
            self._bytes_waiting -= taken
            if taken < len(data):
                self._waiting[0] = (data[taken:], [])
            else:
                self._waiting.popleft()
        self._loop.remove_writer(self._sock)
        self._sent.set()

    def _end(self, because: str) -> None:
        if self.ended is not None:
            return
        self.ended = because
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        for _, descriptors in self._waiting:
            _close(descriptors)
        self._waiting.clear()
        _close(self._descriptors)
        self._sent.set()
        self._heard.put_nowait(None)


def _close(descriptors: Sequence[int] | deque[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
