"""Work that is put off: all of it is done, in its order, and what fails fails alone."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop

from proxy.clock import monotonic
from proxy.dataplane.shadow.chores import MOST, Chores
from tests.support.origins import answering
from tests.support.shadowing import Listener, shadowed
from tests.support.story import Story, get


class Owner:
    """What chores need of a worker."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = monotonic


def test_everything_is_done_in_its_order() -> None:
    async def run() -> list[int]:
        chores, done = Chores(Owner()), []  # type: ignore[arg-type]
        last = asyncio.Event()
        for number in range(500):
            chores.add(lambda number=number: done.append(number))   # type: ignore[misc]
        chores.add(last.set)
        await last.wait()
        return done
    assert uvloop.run(run()) == list(range(500))


def test_nothing_is_done_at_once() -> None:
    async def run() -> list[int]:
        chores, done = Chores(Owner()), []  # type: ignore[arg-type]
        chores.add(lambda: done.append(1))
        return list(done)
    assert uvloop.run(run()) == []


def test_what_fails_keeps_nobody_from_going_on() -> None:
    async def run() -> list[dict[str, Any]]:
        chores, failures = Chores(Owner()), []  # type: ignore[arg-type]
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        last = asyncio.Event()
        chores.add(lambda: 1 // 0)      # type: ignore[arg-type]
        chores.add(last.set)
        await last.wait()
        return failures
    (failure,) = uvloop.run(run())
    assert isinstance(failure["exception"], ZeroDivisionError)


def test_with_much_waiting_it_says_so() -> None:
    async def run() -> tuple[bool, bool]:
        chores = Chores(Owner())  # type: ignore[arg-type]
        for _ in range(MOST - 1):
            chores.add(lambda: None)
        before = chores.is_full
        chores.add(lambda: None)
        after = chores.is_full
        chores.close()
        return before, after
    assert uvloop.run(run()) == (False, True)


def test_an_answer_of_thousands_of_tiny_chunks_is_read_to_its_end(story: Story) -> None:
    tiny = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"
    with Listener() as comparer:
        worker = shadowed(story, story.strict(), story.origin(answering(tiny)), comparer=comparer.address)
        comparer.wait_for_worker()
        client = story.client(worker)
        client.ask(get("/first"))
        client.ask(get("/second"))
        assert [pair.shadow.body for pair in comparer.wait(2)] == [b"x" * 20_000] * 2
