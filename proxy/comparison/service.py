"""The life of the comparer: it reads at once and compares in slices, so that whoever asks is answered in between.

Invariants: a slice ends after `SLICE_S` and one comparison more, and after it the CPU is somebody else's for a while:
who works on in one go keeps it for milliseconds, however low its priority, and clients wait for the worker that would
have it. Only what grows into a backlog is worked on without pauses. Everything is in one thread; nobody waits. The end
of the line to the supervisor is the end of this process.
"""

from __future__ import annotations

import asyncio
import socket
import time

import msgspec

from proxy.clock import Clock, monotonic
from proxy.comparison.backlog import Backlog
from proxy.comparison.intake import Feed, Intake
from proxy.comparison.recording import Recording
from proxy.comparison.shelf import BUSY, Shelf
from proxy.comparison.summing import Summing
from proxy.comparison.telling import tell
from proxy.ipc.channel import Line, open_line
from proxy.ipc.comparing import (
    Configure,
    FromComparer,
    Question,
    Record,
    Recorded,
    Reply,
    ToComparer,
    Unrecord,
    framed,
    read_by_comparer,
)
from proxy.ipc.frames import FrameError
from proxy.ipc.pairs import Pair

SLICE_S = 0.0003
PAUSE_S = 0.001
CALM = 500
"""Pairs that may wait before there are no more pauses, and slices last `LONG_SLICE_S`."""
LONG_SLICE_S = 0.004
SUMMARY_S = 1.0
_read = msgspec.msgpack.Decoder(Pair).decode


class _Envelope(msgspec.Struct, array_like=True, tag="pair"):
    """The beginning of a `Pair`: all that is looked at of one that finds no room."""

    route: str


_read_envelope = msgspec.msgpack.Decoder(_Envelope).decode


class Service:
    """`channel`: our end of the line to the supervisor. `door`: the listening socket that workers come to."""

    def __init__(self, channel: socket.socket, door: socket.socket, most_bytes: int, clock: Clock = monotonic) -> None:
        self._channel = channel
        self._door = door
        self._clock = clock
        self._shelf = Shelf()
        self._summing = Summing(self._shelf, clock)
        self._recording = Recording(self._send_lines)
        self._backlog: Backlog[Feed] = Backlog(most_bytes)
        self._intake = Intake(self._receive)
        self._line: Line[ToComparer] | None = None
        self._dropped = 0
        self._comparing = False

    async def run(self) -> None:
        """Compare until the supervisor is gone."""
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        self._line = await open_line(self._channel, read_by_comparer, self._hear, gone.set)
        server = await loop.create_unix_server(lambda: Feed(self._intake), sock=self._door, backlog=512)
        summing = loop.create_task(self._sum_up(), name="summaries")
        try:
            await gone.wait()
        finally:
            summing.cancel()
            server.close()

    # ---- what workers send

    def _receive(self, feed: Feed, payload: bytes) -> None:
        if self._backlog.put(feed, payload):
            if not self._comparing:
                self._comparing = True
                asyncio.get_running_loop().call_soon(self._compare_some)
            return
        self._dropped += 1
        try:
            envelope = _read_envelope(payload)
        except msgspec.DecodeError:
            return      # no pair: what it was does not matter now
        if (book := self._shelf.books.get(envelope.route)) is not None:
            book.skip(BUSY)
            self._shelf.active[envelope.route] = None

    def _compare_some(self) -> None:
        """Compare for one slice, and let everybody else have their turn before the next."""
        backlog, clock = self._backlog, self._clock
        calm = len(backlog) <= CALM
        until = clock() + (SLICE_S if calm else LONG_SLICE_S)
        try:
            while backlog and clock() < until:
                self._compare(*backlog.take())
            self._recording.flush()
        finally:        # a fault of ours is logged by the loop, and costs one pair and not all that follow
            self._comparing = bool(backlog)
            if backlog and calm:
                asyncio.get_running_loop().call_later(PAUSE_S, self._compare_some)
            elif backlog:
                asyncio.get_running_loop().call_soon(self._compare_some)

    def _compare(self, feed: Feed, payload: bytes) -> None:
        if feed.is_cut:
            return
        try:
            pair = _read(payload)
        except msgspec.DecodeError:
            feed.cut()
            return
        if (book := self._shelf.take(pair)) is not None and pair.head:
            self._recording.take(pair, book.endpoint_of(pair).partition(" ")[2])

    # ---- what the supervisor says and is told

    def _hear(self, message: ToComparer) -> None:
        match message:
            case Configure(routes):
                self._shelf.configure(routes, time.time())
            case Question(number, about, route, options):
                self._send(Reply(number, tell(self._shelf, about, route, options, time.time())))
            case Record():
                self._recording.begin(message)
                self._intake.want(self._recording.routes)
            case Unrecord(stream):
                self._recording.end(stream)
                self._intake.want(self._recording.routes)

    def _send(self, message: FromComparer) -> None:
        if self._line is None:
            return
        try:
            self._line.send_framed(framed(message))
        except FrameError:
            if isinstance(message, Reply):      # too much to tell: better nothing than silence
                self._line.send_framed(framed(Reply(message.number, None)))

    def _send_lines(self, recorded: Recorded) -> bool:
        return self._line is not None and self._line.writable and self._line.send_framed(framed(recorded))

    async def _sum_up(self) -> None:
        while True:     # the first one at once: it says that we are there
            self._shelf.make_room()
            dropped, self._dropped = self._dropped, 0
            broken, self._intake.broken = self._intake.broken, 0
            self._send(self._summing.take(dropped, broken))
            self._recording.flush()
            await asyncio.sleep(SUMMARY_S)
