"""One probe at a time, against servers on real sockets that answer well, badly or not at all."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from proxy import __version__
from proxy.controlplane.health.ask import BODY_LIMIT, Asker
from proxy.controlplane.health.values import ProbeResult
from proxy.core.health.values import Probe
from proxy.core.route import Server

PATIENT = Probe(path="/healthz", timeout_s=10.0)
HASTY = replace(PATIENT, timeout_s=0.2)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Site:
    """A server that answers with what it is given, and keeps what it was asked."""

    def __init__(self, answer: bytes | Answering) -> None:
        self.answer = answer
        self.heads: list[list[str]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode().split("\r\n")[:-2])
            if isinstance(self.answer, bytes):
                writer.write(self.answer)
            else:
                await self.answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the probe has seen enough
        finally:
            writer.close()

    @property
    def fields(self) -> dict[str, str]:
        """The fields of the only request that came."""
        (head,) = self.heads
        return dict(line.split(": ", 1) for line in head[1:])


@asynccontextmanager
async def serving(answer: bytes | Answering, unix: Path | None = None) -> AsyncIterator[tuple[Site, Server]]:
    site = Site(answer)
    if unix is not None:
        listener = await asyncio.start_unix_server(site.serve, unix)
        server = Server("", 0, str(unix))
    else:
        listener = await asyncio.start_server(site.serve, "127.0.0.1", 0)
        server = Server("127.0.0.1", listener.sockets[0].getsockname()[1])
    try:
        yield site, server
    finally:
        listener.close()
        await listener.wait_closed()


async def ask(server: Server, probe: Probe) -> ProbeResult | OSError:
    asker = Asker()
    try:
        return await asker.ask(server, probe)
    finally:
        await asker.close()


async def asked(answer: bytes | Answering, probe: Probe = PATIENT) -> ProbeResult:
    async with serving(answer) as (_, server):
        result = await ask(server, probe)
        assert isinstance(result, ProbeResult)
        return result


def scenario(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test to its end."""

    @wraps(test)  # pytest asks it for its arguments
    def run(**given: Any) -> None:
        asyncio.run(test(**given))

    return run


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A mebibyte that comes in small pieces and never ends by itself."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\nfirst")
    for _ in range(1024):
        writer.write(b"." * 1024)
        await writer.drain()
    await asyncio.Event().wait()


def test_a_good_answer_is_ok_with_its_time_and_status() -> None:
    result = asyncio.run(asked(OK))
    assert (result.ok, result.outcome, result.detail) == (True, "ok", "answered with 200")
    assert 0 < result.took_s < PATIENT.timeout_s
    assert result.at > 1e9


@pytest.mark.parametrize(("status", "outcome"), [
    (200, "ok"), (299, "ok"), (404, "ok"), (503, "status"), (403, "status")])
def test_expected_statuses_are_ranges_with_both_ends(status: int, outcome: str) -> None:
    probe = replace(PATIENT, status=((200, 299), (404, 404)))
    answer = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status
    assert asyncio.run(asked(answer, probe)).outcome == outcome


@pytest.mark.parametrize(("text", "outcome"), [("ok", "ok"), ("all is well", "body")])
def test_the_expected_text_has_to_be_in_the_body(text: str, outcome: str) -> None:
    assert asyncio.run(asked(OK, replace(PATIENT, body=text))).outcome == outcome


def test_the_expected_text_may_be_cut_in_two_by_the_network() -> None:
    async def in_two(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n")
        await writer.drain()
        writer.write(b"8\r\n is well\r\n0\r\n\r\n")

    assert asyncio.run(asked(in_two, replace(PATIENT, body="all is well"))).ok


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async def redirected() -> tuple[ProbeResult | OSError, int]:
        async with serving(OK) as (target, there):
            to = b"HTTP/1.1 302 Found\r\nLocation: %s/\r\nContent-Length: 0\r\n\r\n" % there.address.encode()
            async with serving(to) as (_, server):
                return await ask(server, PATIENT), len(target.heads)

    result, followed = asyncio.run(redirected())
    assert isinstance(result, ProbeResult)
    assert (result.outcome, result.detail, followed) == ("status", "answered with 302", 0)


def test_who_does_not_answer_in_time_is_timed_out() -> None:
    result = asyncio.run(asked(hang, HASTY))
    assert (result.outcome, result.detail) == ("timeout", "no whole answer within 0.2 s")


def test_only_the_beginning_of_a_body_is_read() -> None:
    result = asyncio.run(asked(drip, replace(PATIENT, body="last")))
    assert result.outcome == "body"


def test_a_body_that_never_ends_is_good_as_soon_as_the_text_is_in_it() -> None:
    assert asyncio.run(asked(drip, replace(PATIENT, body="first"))).ok


def test_a_body_that_nobody_asked_for_is_not_waited_for() -> None:
    assert asyncio.run(asked(drip, PATIENT)).ok


def test_text_beyond_the_limit_is_not_found() -> None:
    late = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"." * BODY_LIMIT + b"late"
    assert asyncio.run(asked(late, replace(PATIENT, body="late"))).outcome == "body"


@pytest.mark.parametrize("garbage", [
    b"", b"\x16\x03\x01\x02\x00", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nbroken",
    b"HTTP/1.1 200 \x1b[2J\r\nA\x1b[2J\x07: b\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n"])
def test_what_is_no_answer_is_an_error_in_few_words(garbage: bytes) -> None:
    result = asyncio.run(asked(garbage))
    assert result.outcome == "error"
    assert 0 < len(result.detail) <= 200
    assert result.detail.isprintable()


def test_where_nobody_listens_it_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody else gets the port meanwhile
        result = asyncio.run(ask(Server("127.0.0.1", taken.getsockname()[1]), PATIENT))
    assert isinstance(result, ProbeResult)
    assert result.outcome == "refused"


@scenario
async def test_a_server_may_be_a_unix_socket(tmp_path: Path) -> None:
    async with serving(OK, tmp_path / "app.sock") as (site, server):
        result = await ask(server, PATIENT)
    assert isinstance(result, ProbeResult)
    assert result.ok
    assert site.heads[0][0] == "GET /healthz HTTP/1.1"


@scenario
async def test_a_unix_socket_that_is_not_there_is_refused(tmp_path: Path) -> None:
    result = await ask(Server("", 0, str(tmp_path / "none.sock")), PATIENT)
    assert isinstance(result, ProbeResult)
    assert result.outcome == "refused"


@scenario
async def test_a_probe_says_who_asks_and_asks_for_an_end_of_the_connection() -> None:
    async with serving(OK) as (site, server):
        await ask(server, PATIENT)
    assert site.heads[0][0] == "GET /healthz HTTP/1.1"
    assert site.fields == {"Host": server.address.removeprefix("http://"), "User-Agent": f"turnout-probe/{__version__}",
                           "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}


@scenario
async def test_host_and_fields_are_the_operators() -> None:
    probe = replace(PATIENT, host="shop.example", headers=(("X-Probe", "yes"), ("user-agent", "curl")))
    async with serving(OK) as (site, server):
        await ask(server, probe)
    fields = {name.lower(): value for name, value in site.fields.items()}
    assert (fields["host"], fields["x-probe"], fields["user-agent"]) == ("shop.example", "yes", "curl")


@scenario
async def test_the_path_is_sent_as_it_is_written() -> None:
    async with serving(OK) as (site, server):
        await ask(server, replace(PATIENT, path="/a%2Fb/../c?q=%20x"))
    assert site.heads[0][0] == "GET /a%2Fb/../c?q=%20x HTTP/1.1"


@scenario
async def test_each_probe_has_a_connection_of_its_own() -> None:
    async with serving(OK) as (site, server):
        asker = Asker()
        for _ in range(3):
            await asker.ask(server, PATIENT)
        await asker.close()
    assert len(site.heads) == 3


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = socket.socket()
    lowest = free.fileno()
    free.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("unix", [False, True])
def test_without_descriptors_nothing_is_said_of_the_server(unix: bool, tmp_path: Path) -> None:
    async def starved() -> ProbeResult | OSError:
        async with serving(OK, tmp_path / "app.sock" if unix else None) as (_, server):
            asker = Asker()
            await asker.ask(server, PATIENT)  # what is opened once is open
            with no_descriptors():
                result = await asker.ask(server, PATIENT)
            await asker.close()
            return result

    result = asyncio.run(starved())
    assert isinstance(result, OSError)
    assert result.errno == errno.EMFILE
