"""Clients that do not behave: what each of them costs, and that nobody else notices."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.admin.control import Patience
from proxy.admin.doors import MAX_CONNECTIONS
from tests.support.admin import OPERATOR, Asked, asked, run, settings
from tests.support.deadline import WITHIN_S

SHORT = Patience(head_s=0.1, body_s=0.1, idle_s=0.3)
Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(it: Asked) -> Wire:
    host, _, port = it.base.removeprefix("http://").rpartition(":")
    return await asyncio.open_connection(host, int(port))


@asynccontextmanager
async def wires(it: Asked, count: int) -> AsyncIterator[list[Wire]]:
    opened = [await connect(it) for _ in range(count)]
    try:
        yield opened
    finally:
        for _, writer in opened:
            writer.close()


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    """Everything until the server closes; proves that it does."""
    async with asyncio.timeout(WITHIN_S):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


def tell(test: Callable[[Asked], Coroutine[Any, Any, None]], patience: Patience = SHORT) -> None:
    run(test, settings(tokens=True), patience=patience, start=False)


@pytest.mark.parametrize("begin", [b"", b"G", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ", b"\r\n\r\n"])
def test_who_does_not_come_to_the_end_of_a_head_is_cut(begin: bytes) -> None:
    async def test(it: Asked) -> None:
        async with wires(it, 1) as [(reader, writer)]:
            writer.write(begin)
            assert await read_to_end(reader) == b""

    tell(test)


def test_a_head_that_drips_is_cut_however_steadily_it_drips() -> None:
    async def test(it: Asked) -> None:
        async with wires(it, 1) as [(reader, writer)]:
            async def drip() -> None:
                while True:
                    writer.write(b"x")
                    await asyncio.sleep(0.01)

            writer.write(b"GET /")
            dripping = asyncio.create_task(drip())
            assert await read_to_end(reader) == b""
            dripping.cancel()

    tell(test)


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def test(it: Asked) -> None:
        async with wires(it, 1) as [(reader, writer)]:
            writer.write(b"POST /api/v1/rollback HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n"
                         b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{" % OPERATOR.encode())
            answer = await read_to_end(reader)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"within 0.1 s" in answer
        assert it.control.commands.state.revision == 1

    tell(test)


def test_a_body_that_a_refusal_does_not_need_is_not_waited_for_long() -> None:
    async def test(it: Asked) -> None:
        async with wires(it, 1) as [(reader, writer)]:
            writer.write(b"POST /api/v1/rollback HTTP/1.1\r\nHost: localhost\r\n"
                         b"Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{")
            assert (await read_to_end(reader)).startswith(b"HTTP/1.1 401 ")

    tell(test)


def test_a_body_without_an_end_is_cut_at_the_limit() -> None:
    async def test(it: Asked) -> None:
        async with wires(it, 1) as [(reader, writer)]:
            writer.write(b"POST /api/v1/rollback HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n"
                         b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" % OPERATOR.encode())
            for _ in range(40):
                writer.write(b"1000\r\n%b\r\n" % (b" " * 4096))
            assert (await read_to_end(reader)).startswith(b"HTTP/1.1 413 ")

    tell(test, Patience())


def test_a_connection_that_is_idle_is_closed() -> None:
    async def test(it: Asked) -> None:
        async with wires(it, 1) as [(reader, writer)]:
            writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await read_to_end(reader)).startswith(b"HTTP/1.1 200 ")

    tell(test)


@pytest.mark.parametrize("garbage", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET / HTTP/1.1\nHost: a\n\n", b"GET /\x00 HTTP/1.1\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n", b"POST /api/v1/rollback HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1, 1\r\n\r\n",
    b"POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
])
def test_what_is_no_http_is_answered_with_a_problem_or_nothing_and_leaves_no_line_in_the_log(
    garbage: bytes, caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(it: Asked) -> None:
        async with wires(it, 1) as [(reader, writer)]:
            writer.write(garbage)
            answer = await read_to_end(reader)
            assert not answer or answer[:6] + answer[8:10] == b"HTTP/1 4"
            assert not answer or b"application/problem+json" in answer
        assert (await it.get("/livez")).status == 200

    tell(test, Patience(head_s=0.3))
    assert not [record for record in caplog.records if record.levelname not in ("DEBUG", "INFO")]


def test_idle_connections_do_not_keep_anybody_out() -> None:
    async def test(it: Asked) -> None:
        async with wires(it, MAX_CONNECTIONS + 50) as opened:
            assert (await it.ask("GET", "/api/v1/status", token=OPERATOR)).status == 200
            gone = 0
            for reader, _ in opened[:50]:
                gone += await read_to_end(reader) == b""
            assert gone == 50
            _, writer = opened[-1]
            writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await opened[-1][0].readline()).startswith(b"HTTP/1.1 200 ")

    tell(test, Patience())


def test_who_has_no_token_keeps_nobody_out_however_many_they_are() -> None:
    async def test(it: Asked) -> None:
        request = (b"POST /api/v1/config/validate HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
                   b"Content-Length: 1000000\r\n\r\n")
        async with wires(it, MAX_CONNECTIONS) as opened:
            for _, writer in opened:
                writer.write(request)
            assert (await it.ask("GET", "/api/v1/status", token=OPERATOR)).status == 200

    tell(test, Patience())


def test_requests_that_come_ahead_are_answered_in_their_order() -> None:
    async def test(it: Asked) -> None:
        async with wires(it, 1) as [(reader, writer)]:
            writer.write(b"".join(
                b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"livez" if number % 2 else b"nothing")
                for number in range(200)))
            answers = b""
            async with asyncio.timeout(WITHIN_S):
                while answers.count(b"HTTP/1.1 ") < 200:
                    answers += await reader.read(65536)
            assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"401", b"200"] * 100

    tell(test, Patience())


def test_who_leaves_in_the_middle_leaves_nothing_behind() -> None:
    async def main() -> None:
        async with asked(start=False) as it:
            for begin in (b"", b"GET", b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
                          b"POST /api/v1/rollback HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{"):
                for _ in range(10):
                    reader, writer = await connect(it)
                    writer.write(begin)
                    writer.transport.abort()
                    assert reader is not None
            assert (await it.get("/api/v1/status")).status == 200

    asyncio.run(main())


@pytest.mark.parametrize("request_head", [
    b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: a\r\nExpect: a miracle\r\n\r\n",
    b"GET /nothing HTTP/1.1\r\nHost: a\r\nExpect: a miracle\r\n\r\n",
])
def test_also_what_cannot_be_read_is_answered_with_a_problem_that_is_neither_kept_nor_guessed_at(
    request_head: bytes,
) -> None:
    async def test(it: Asked) -> None:
        async with wires(it, 1) as [(reader, writer)]:
            writer.write(request_head)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert head.startswith(("http/1.1 4", "http/1.0 4"))
        for field in ("content-type: application/problem+json", "cache-control: no-store",
                      "x-content-type-options: nosniff", "server: turnout"):
            assert f"\r\n{field}\r\n" in head

    tell(test)
