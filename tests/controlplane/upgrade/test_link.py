from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.controlplane.upgrade.link import LineEnded, Link
from proxy.ipc.frames import frame


@asynccontextmanager
async def a_line() -> AsyncIterator[tuple[Link, Link]]:
    ours, theirs = map(Link, socket.socketpair())
    try:
        yield ours, theirs
    finally:
        ours.close()
        theirs.close()


def test_messages_come_in_order_with_the_descriptors_that_belong_to_them() -> None:
    async def test() -> None:
        files = [os.memfd_create(name) for name in ("a", "b", "c")]
        inodes = [os.fstat(file).st_ino for file in files]
        async with a_line() as (ours, theirs):
            ours.post("one", files[:2], more="facts")
            ours.post("two")
            ours.post("three", files[2:])
            for file in files:
                os.close(file)
            heard = [await theirs.hear() for _ in range(3)]
        assert [message for message, _ in heard] == [{"say": "one", "more": "facts"}, {"say": "two"}, {"say": "three"}]
        assert [os.fstat(each).st_ino for _, descriptors in heard for each in descriptors] == inodes
        assert not any(os.get_inheritable(each) for _, descriptors in heard for each in descriptors)
        for _, descriptors in heard:
            for each in descriptors:
                os.close(each)

    asyncio.run(test())


def test_a_message_larger_than_the_kernel_holds_arrives_whole() -> None:
    async def test() -> None:
        async with a_line() as (ours, theirs):
            ours.post("much", text="x" * 5_000_000)
            ours.post("last")
            message, _ = await theirs.hear()
            assert len(message["text"]) == 5_000_000
            await ours.flushed()
            assert (await theirs.hear())[0]["say"] == "last"

    asyncio.run(test())


def test_after_the_end_everything_said_before_is_heard_and_then_that_it_ended() -> None:
    async def test() -> None:
        async with a_line() as (ours, theirs):
            ours.post("last words")
            await ours.flushed()
            ours.close()
            assert (await theirs.hear())[0]["say"] == "last words"
            for _ in range(2):
                with pytest.raises(LineEnded, match="it has ended"):
                    await theirs.hear()
            theirs.post("anybody there?")

    asyncio.run(test())


@pytest.mark.parametrize("said", [frame(b"[]"), frame(b"{"), b"\xff\xff\xff\xff", frame(b'{"descriptors": 2}')])
def test_what_cannot_be_read_ends_the_line(said: bytes) -> None:
    async def test() -> None:
        ours, theirs = socket.socketpair()
        with ours:
            link = Link(theirs)
            ours.sendall(said)
            with pytest.raises(LineEnded, match="cannot be read"):
                await link.hear()

    asyncio.run(test())


def test_one_who_does_not_listen_is_given_up_before_memory_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.controlplane.upgrade.link.MAX_WAITING", 1_000_000)

    async def test() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            link = Link(ours)
            for _ in range(3):
                link.post("much", text="x" * 500_000)
            with pytest.raises(LineEnded, match="does not take"):
                await link.hear()
            await link.flushed()

    asyncio.run(test())


def test_descriptors_nobody_asked_for_are_closed_with_the_line() -> None:
    async def test() -> None:
        reader, writer = os.pipe()
        async with a_line() as (ours, theirs):
            ours.post("here", [writer])
            os.close(writer)
            _, (copy,) = await theirs.hear()
            os.close(copy)
        assert os.read(reader, 1) == b"", "no copy is left"
        os.close(reader)

    asyncio.run(test())
