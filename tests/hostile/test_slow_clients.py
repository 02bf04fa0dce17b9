"""Clients that take their time: each deadline ends what it is for, and bytes alone do not buy more of it.

Time is the worker's clock, which the tests move; nothing sleeps.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stage import Stage, a_request
from tests.support.wire import Wire


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


def pass_time(stage: Stage, seconds: float) -> None:
    stage.worker.settle()
    stage.worker.pass_time(seconds)


def is_timed_out(wire: Wire, method: bytes = b"GET") -> bool:
    refusal = wire.response(method)
    return (refusal.status, refusal.value(b"connection"), wire.is_closed()) == (408, b"close", True)


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_must_be_complete_in_time(stage: Stage, begun: bytes) -> None:
    with stage.connect() as wire:
        wire.send(begun)
        pass_time(stage, 9)
        wire.send(b"e")
        pass_time(stage, 2)
        assert is_timed_out(wire)
    stage.clean()


def test_a_head_behind_another_request_must_be_complete_in_time(stage: Stage) -> None:
    with stage.connect() as wire:
        wire.send(a_request(b"/1") + b"GET / HTT")
        assert wire.response().status == 200
        pass_time(stage, 11)
        assert is_timed_out(wire)


def test_an_idle_connection_is_closed_without_a_word(stage: Stage) -> None:
    with stage.connect() as fresh, stage.connect() as used:
        assert used.ask(a_request(b"/1")).status == 200
        pass_time(stage, 70)
        assert used.ask(a_request(b"/2")).status == 200
        pass_time(stage, 10)
        assert fresh.is_closed()
        assert used.ask(a_request(b"/3")).status == 200
        pass_time(stage, 80)
        assert used.is_closed()


def test_empty_lines_do_not_keep_a_connection(stage: Stage) -> None:
    with stage.connect() as wire:
        for _ in range(4):
            wire.send_some(b"\r\n")
            pass_time(stage, 20)
        assert wire.is_closed()


@pytest.mark.parametrize("framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
def test_a_body_must_go_on(stage: Stage, framing: bytes) -> None:
    before = len(stage.requests)
    with stage.connect() as wire:
        wire.send(a_request(b"/a", framing, method=b"POST"), b"4\r\nabcd\r\n")
        pass_time(stage, 9)
        wire.send(b"4\r\nabcd\r\n")
        pass_time(stage, 31)
        assert is_timed_out(wire, b"POST")
    assert len(stage.requests) == before
    stage.clean()


@pytest.mark.parametrize("drip", [b"1\r\na\r\n", b"00000001\r\na\r\n", b"1;abc\r\na\r\n"])
def test_a_body_that_drips_is_too_slow_however_lively_its_framing(stage: Stage, drip: bytes) -> None:
    with stage.connect() as wire:
        wire.send(a_request(b"/a", b"Transfer-Encoding: chunked", method=b"POST"))
        for _ in range(4):
            wire.send_some(drip)
            pass_time(stage, 3)
        assert is_timed_out(wire, b"POST")
    stage.clean()


def test_trailers_that_drip_are_too_slow(stage: Stage) -> None:
    with stage.connect() as wire:
        wire.send(a_request(b"/a", b"Transfer-Encoding: chunked", method=b"POST"), b"0\r\n")
        for number in range(4):
            wire.send_some(b"X-%d: a\r\n" % number)
            pass_time(stage, 3)
        assert is_timed_out(wire, b"POST")
    stage.clean()


def test_a_body_that_is_fast_enough_may_take_long(stage: Stage) -> None:
    with stage.connect() as wire:
        wire.send(a_request(b"/a", b"Content-Length: 40000", method=b"POST"))
        for _ in range(8):
            wire.send(b"a" * 5000)
            pass_time(stage, 5)
        assert wire.response(b"POST").body == b"POST /a 40000"


def test_a_client_that_keeps_sending_after_a_refusal_is_cut(stage: Stage) -> None:
    with stage.connect() as wire:
        wire.send(b"bad\r\n\r\n")
        assert wire.response().status == 400
        pass_time(stage, 4)
        wire.send_some(b"more")
        pass_time(stage, 2)
        stage.worker.wait_until(lambda worker: not worker.clients)
        assert wire.is_closed()
