"""One end of the socket pair between supervisor and worker: messages in, messages out.

Invariant: `on_closed` is called exactly once for a channel that was opened, after the last `on_message`; `reason`
then says why when it was not an orderly end. Memory is bounded both ways: a frame by `MAX_FRAME`, and what the peer
does not read by `MAX_BACKLOG`. Beyond that the channel is cut: for the supervisor that means that the worker is
replaced. A worker sends its statistics only while `writable`; until then they add up in its counters, which take no
more memory with time, so nothing is lost to a supervisor that is slow.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

import msgspec

from proxy.ipc.frames import FrameError, Frames, frame
from proxy.ipc.messages import Message, encode
from proxy.ipc.reader import Reader

MAX_BACKLOG = 8 * 1024 * 1024
"""Bytes that may wait for the peer when another message is sent; one snapshot of any permitted size always fits."""


def framed(message: Message) -> bytes:
    """Return the message as it is sent. Raises FrameError when it is too large for anybody."""
    return frame(encode(message))


class Channel(asyncio.Protocol):
    """Framed messages over one end of an AF_UNIX stream pair; see `open_channel`."""

    def __init__(self, on_message: Callable[[Message], None], on_closed: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_closed = on_closed
        self._frames = Frames()
        self._reader = Reader()
        self._transport: asyncio.Transport | None = None
        self._paused = False
        # What arrives while `open_channel` has not returned: a turn of the loop or two, so it needs no bound. (Pausing
        # the transport would do, if uvloop heeded it that early.)
        self._early: list[Message] | None = []
        self.reason: str | None = None

    @property
    def writable(self) -> bool:
        """Whether the channel is open and the peer keeps up with what it is sent."""
        return self._transport is not None and not self._paused

    def send(self, message: Message) -> bool:
        """Queue the message; False when the channel is closed or has to be, because the peer does not read.

        Raises FrameError for a message that is too large to be sent to anybody; the channel stays usable.
        """
        return self.send_framed(framed(message))

    def send_framed(self, data: bytes) -> bool:
        """The same with what `framed` returned: a message for many is encoded once."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > MAX_BACKLOG:
            self._fail("the other end does not read its messages")
            return False
        transport.write(data)
        return True

    def close(self) -> None:
        """Close after what was sent has left; nothing happens when it is closed already."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once, whatever still waits to be sent."""
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport (called by the event loop)."""
        self._transport = cast(asyncio.Transport, transport)

    def start(self) -> None:
        """Hand on what has arrived already, and from now on at once."""
        early, self._early = self._early, None
        for message in early or ():
            self._deliver(message)

    def _deliver(self, message: Message) -> None:
        if self._early is not None:
            self._early.append(message)
        elif self.reason is None:
            self._on_message(message)

    def data_received(self, data: bytes) -> None:
        """Cut frames and hand on each message (called by the event loop)."""
        try:
            messages = [self._reader.read(payload) for payload in self._frames.feed(data)]
        except FrameError as error:
            self._fail(str(error))
            return
        except msgspec.DecodeError as error:
            self._fail(f"a message cannot be read: {error}")
            return
        for message in messages:
            self._deliver(message)

    def eof_received(self) -> None:
        """Note an end inside a message; the transport closes itself (called by the event loop)."""
        if self._frames.pending:
            self.reason = self.reason or "the other end closed in the middle of a message"

    def pause_writing(self) -> None:
        """Note that the peer lags (called by the event loop)."""
        self._paused = True

    def resume_writing(self) -> None:
        """Note that the peer caught up (called by the event loop)."""
        self._paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end, once (called by the event loop)."""
        self._transport = None
        self.start()
        # A peer that died with messages unread resets the stream: that is its end, and no fault of the channel.
        if exc is not None and not isinstance(exc, ConnectionError):
            self.reason = self.reason or str(exc)
        self._on_closed()


async def open_channel(
    sock: socket.socket, on_message: Callable[[Message], None], on_closed: Callable[[], None]
) -> Channel:
    """Open a channel over one end of `socket.socketpair()`, which it owns from then on.

    The first message comes after the caller has got the channel, so it can be answered.
    """
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    _, channel = await loop.create_unix_connection(lambda: Channel(on_message, on_closed), sock=sock)
    loop.call_soon(channel.start)
    return channel
