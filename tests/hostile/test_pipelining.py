"""Many requests at once on one connection: answered in order, each with its own answer, memory bounded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stage import Stage, a_request


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


def test_two_thousand_pipelined_requests_are_answered_in_order(stage: Stage) -> None:
    count = 2000
    with stage.connect() as wire:
        wire.send(b"".join(a_request(b"/p/%d" % n, b"Cookie: " + b"c" * 40) for n in range(count)))
        for number in range(count):
            assert wire.response().body == b"GET /p/%d 0" % number
    assert stage.targets()[-count:] == [b"/p/%d" % n for n in range(count)]
    stage.clean()


def test_methods_bodies_and_versions_may_be_mixed(stage: Stage) -> None:
    mixed = [(b"GET", b""), (b"HEAD", b""), (b"POST", b"x" * 3000), (b"PUT", b""), (b"OPTIONS", b""), (b"DELETE", b"y")]
    with stage.connect() as wire:
        wire.send(b"".join(a_request(b"/m/%d" % n, method=m, body=b) for n, (m, b) in enumerate(mixed * 20)))
        for number, (method, body) in enumerate(mixed * 20):
            answer = wire.response(method)
            assert answer.body == (b"" if method == b"HEAD" else b"%b /m/%d %d" % (method, number, len(body)))


def test_all_pipelined_requests_are_answered_though_the_client_has_shut_down_its_side(stage: Stage) -> None:
    with stage.connect() as wire:
        wire.send(b"".join(a_request(b"/h/%d" % n) for n in range(50)))
        wire.half_close()
        for number in range(50):
            assert wire.response().body == b"GET /h/%d 0" % number
        assert wire.is_closed()


def test_what_follows_a_close_is_thrown_away(stage: Stage) -> None:
    before = len(stage.requests)
    with stage.connect() as wire:
        wire.send(a_request(b"/last", b"Connection: close") + a_request(b"/never"))
        answer = wire.response()
        assert (answer.body, answer.value(b"connection")) == (b"GET /last 0", b"close")
        assert wire.is_closed()
    assert len(stage.requests) == before + 1
    stage.clean()


@pytest.mark.parametrize("bad", [b"BAD\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\0",
                                 b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"])
def test_garbage_among_requests_ends_the_row_after_the_answers_that_are_due(stage: Stage, bad: bytes) -> None:
    with stage.connect() as wire:
        wire.send(a_request(b"/1") + a_request(b"/2") + bad + a_request(b"/never"))
        assert wire.response().body == b"GET /1 0"
        assert wire.response().body == b"GET /2 0"
        assert wire.response().status == 400
        assert wire.is_closed()
    assert b"/never" not in stage.targets()
    stage.clean()


def test_a_client_that_pipelines_and_never_reads_is_not_read_from_for_ever(stage: Stage) -> None:
    row = b"".join(a_request(b"/n/%d" % n) for n in range(500))
    with stage.connect() as wire:
        wire.sock.settimeout(0.5)
        sent = 0
        try:
            while sent < 256 << 20:
                sent += wire.sock.send(row)
        except TimeoutError:
            pass
        assert sent < 256 << 20, "it is read from without end"
        clients = stage.worker.call(lambda worker: [len(client.buffer) for client in worker.clients])
        assert max(clients) <= 64 * 1024 + 256 * 1024
    stage.worker.wait_until(lambda worker: not worker.clients)
    stage.clean()
