"""One end of the socket pair between the supervisor and a process of its own: messages in, messages out.

`Line` is for any two ends that agree on their messages; `Channel` is what supervisor and worker say to each other.

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
from typing import Any, Generic, TypeVar, cast

import msgspec

from proxy.ipc.frames import FrameError, Frames, frame
from proxy.ipc.messages import Message, encode
from proxy.ipc.reader import Reader

Heard = TypeVar("Heard")

MAX_BACKLOG = 8 * 1024 * 1024
"""Bytes that may wait for the peer when another message is sent; one snapshot of any permitted size always fits."""


def framed(message: Message) -> bytes:
    """Return the message as it is sent. Raises FrameError when it is too large for anybody."""
    return frame(encode(message))


class Line(asyncio.Protocol, Generic[Heard]):
    """Framed messages over one end of an AF_UNIX stream pair; see `open_line`.

    `read` makes a message of a payload, or raises msgspec.DecodeError: that ends the line.
    """

    def __init__(
        self, read: Callable[[bytes], Heard], on_message: Callable[[Heard], None], on_closed: Callable[[], None]
    ) -> None:
        self._read = read
        self._on_message = on_message
        self._on_closed = on_closed
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._paused = False
        # What arrives while `open_channel` has not returned: a turn of the loop or two, so it needs no bound. (Pausing
        # the transport would do, if uvloop heeded it that early.)
        self._early: list[Heard] | None = []
        self.reason: str | None = None

    @property
    def writable(self) -> bool:
        """Whether the channel is open and the peer keeps up with what it is sent."""
        return self._transport is not None and not self._paused

    def send_framed(self, data: bytes) -> bool:
        """Queue what `frame` returned; False when the line is closed or has to be, because the peer does not read."""
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

    def _deliver(self, message: Heard) -> None:
        if self._early is not None:
            self._early.append(message)
        elif self.reason is None:
            self._on_message(message)

    def data_received(self, data: bytes) -> None:
        """Cut frames and hand on each message (called by the event loop)."""
        try:
            messages = [self._read(payload) for payload in self._frames.feed(data)]
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


class Channel(Line[Message]):
    """A line between supervisor and worker; see `open_channel`."""

    def send(self, message: Message) -> bool:
        """Queue the message; False when the channel is closed or has to be, because the peer does not read.

        Raises FrameError for a message that is too large to be sent to anybody; the channel stays usable.
        """
        return self.send_framed(framed(message))


async def open_line(
    sock: socket.socket, read: Callable[[bytes], Heard], on_message: Callable[[Heard], None],
    on_closed: Callable[[], None],
) -> Line[Heard]:
    """Open a line over one end of `socket.socketpair()`, which it owns from then on.

    The first message comes after the caller has got the line, so it can be answered.
    """
    return await _opened(sock, Line(read, on_message, on_closed))


async def open_channel(
    sock: socket.socket, on_message: Callable[[Message], None], on_closed: Callable[[], None]
) -> Channel:
    """The same between supervisor and worker."""
    return await _opened(sock, Channel(Reader().read, on_message, on_closed))


_L = TypeVar("_L", bound=Line[Any])


async def _opened(sock: socket.socket, line: _L) -> _L:
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.create_unix_connection(lambda: line, sock=sock)
    loop.call_soon(line.start)
    return line
