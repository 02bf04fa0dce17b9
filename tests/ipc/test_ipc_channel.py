from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
import uvloop

from proxy.ipc.channel import MAX_BACKLOG, Channel, open_channel
from proxy.ipc.frames import frame
from proxy.ipc.messages import Applied, Apply, Drain, Message, Stats, encode
from tests.support.deadline import until
from tests.support.snapshots import small_snapshot

loops = pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


class End:
    """One end of a channel and everything that happened at it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.closed = 0
        self.channel: Channel

    async def open(self, sock: socket.socket) -> End:
        self.channel = await open_channel(sock, self.messages.append, self._on_closed)
        return self

    def _on_closed(self) -> None:
        self.closed += 1


def in_loop(
    factory: Callable[[], asyncio.AbstractEventLoop], test: Callable[[End, socket.socket], Awaitable[None]]
) -> None:
    """Run the test with an open end and the raw socket of the other one."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            end = await End().open(ours)
            await test(end, theirs)
            end.channel.abort()
            await until(lambda: end.closed, "the channel is closed")

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@loops
def test_messages_pass_both_ways_in_order(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def test(end: End, sock: socket.socket) -> None:
        other = await End().open(sock.dup())
        assert end.channel.send(Apply(small_snapshot()))
        assert end.channel.send(Drain(2.5))
        assert other.channel.send(Applied(1))
        await until(lambda: len(other.messages) == 2 and end.messages, "all have arrived")
        assert other.messages == [Apply(small_snapshot()), Drain(2.5)]
        assert end.messages == [Applied(1)]
        other.channel.close()
        sock.close()

    in_loop(factory, test)


@loops
def test_a_message_that_was_sent_before_the_channel_was_opened_can_be_answered(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        theirs.sendall(frame(encode(Drain(1.0))))
        answered: list[bool] = []
        channel: Channel | None = None

        def answer(_: Message) -> None:
            answered.append(channel is not None and channel.send(Applied(1)))

        closed = asyncio.Event()
        channel = await open_channel(ours, answer, closed.set)
        await until(lambda: answered, "the message came")
        assert answered == [True]
        theirs.close()
        await closed.wait()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@loops
def test_the_end_is_reported_once_and_after_the_last_message(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def test(end: End, sock: socket.socket) -> None:
        sock.sendall(frame(encode(Applied(7))))
        sock.close()
        await until(lambda: end.closed, "the end was noticed")
        assert end.messages == [Applied(7)]
        assert end.channel.reason is None
        assert not end.channel.send(Drain(1.0))
        assert not end.channel.writable
        end.channel.close()
        assert end.closed == 1

    in_loop(factory, test)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\xff\xff\xff\xff", "4294967295 bytes was announced"),
        (frame(b"\x80"), "a message cannot be read"),
        (frame(b"\xc1"), "a message cannot be read"),
    ],
)
def test_what_cannot_be_read_closes_the_channel_and_says_why(sent: bytes, reason: str) -> None:
    async def test(end: End, sock: socket.socket) -> None:
        sock.sendall(sent)
        await until(lambda: end.closed, "the channel is closed")
        assert end.channel.reason is not None
        assert reason in end.channel.reason

    in_loop(asyncio.new_event_loop, test)


def test_nothing_of_a_batch_with_a_broken_message_is_acted_on() -> None:
    async def test(end: End, sock: socket.socket) -> None:
        sock.sendall(frame(encode(Applied(1))) + frame(b"\x80"))
        await until(lambda: end.closed, "the channel is closed")
        assert end.messages == []

    in_loop(asyncio.new_event_loop, test)


def test_an_end_in_the_middle_of_a_message_is_told_from_an_orderly_one() -> None:
    async def test(end: End, sock: socket.socket) -> None:
        sock.sendall(frame(encode(Applied(1)))[:-1])
        sock.close()
        await until(lambda: end.closed, "the channel is closed")
        assert end.channel.reason == "the other end closed in the middle of a message"

    in_loop(asyncio.new_event_loop, test)


@loops
def test_a_peer_that_does_not_read_makes_the_channel_unwritable_and_is_cut_at_the_bound(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def test(end: End, _: socket.socket) -> None:
        large = Apply(replace(small_snapshot(), secret=b"x" * (MAX_BACKLOG // 4)))
        sent = 0
        while end.channel.send(large):
            sent += 1
            assert not end.channel.writable
            assert sent < 10
        assert sent >= 4
        await until(lambda: end.closed, "the channel is cut")
        assert end.channel.reason == "the other end does not read its messages"

    in_loop(factory, test)


def test_a_reader_that_catches_up_makes_it_writable_again() -> None:
    async def test(end: End, sock: socket.socket) -> None:
        while end.channel.writable:
            end.channel.send(Stats(1, [("n" * 1000, (), 1.0)] * 100))
        reader = await End().open(sock.dup())
        await until(lambda: end.channel.writable, "the reader has caught up")
        reader.channel.close()
        await until(lambda: reader.closed, "the reader is closed")

    in_loop(asyncio.new_event_loop, test)


@loops
def test_a_peer_that_died_with_messages_unread_is_an_end_and_no_fault(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def test(end: End, sock: socket.socket) -> None:
        end.channel.send(Drain(1.0))
        sock.close()
        await until(lambda: end.closed, "the end was noticed")
        assert end.channel.reason is None

    in_loop(factory, test)
