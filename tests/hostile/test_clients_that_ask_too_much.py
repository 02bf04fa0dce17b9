"""Clients that ignore every 429: what they send is bounded in what it costs, and never taken for something else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.stage import Stage, a_request
from tests.support.wire import Wire

BURST = 40
LIMITS = {"client_rate": 0.01, "client_burst": BURST, "client_connections": 30}


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Each test has a burst of its own."""
    with Stage(limits=LIMITS) as stage:
        yield stage


def spend(stage: Stage) -> Wire:
    """A connection of a client that has nothing left."""
    wire = stage.connect()
    for _ in range(BURST):
        assert wire.ask(a_request(b"/spent")).status == 200
    return wire


def test_two_thousand_pipelined_requests_beyond_the_rate_ask_no_server(stage: Stage) -> None:
    with spend(stage) as wire:
        wire.send(a_request(b"/more") * 2000)
        assert {wire.response().status for _ in range(2000)} == {429}
        assert wire.ask(a_request(b"/still")).status == 429
    assert stage.targets() == [b"/spent"] * BURST


@pytest.mark.parametrize("framing", [b"Content-Length: 5000", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("expecting", [(), (b"Expect: 100-continue",)])
def test_the_body_of_a_refused_request_is_never_read_as_a_request(
    stage: Stage, framing: bytes, expecting: tuple[bytes, ...],
) -> None:
    with spend(stage) as wire:
        wire.send(a_request(b"/a", framing, *expecting, method=b"POST"))
        refused = wire.response(b"POST")
        assert (refused.status, refused.value(b"connection"), refused.interims) == (429, b"close", ())
        wire.send_some(a_request(b"/smuggled"))
        wire.half_close()
        assert wire.is_closed()
    assert b"/smuggled" not in stage.targets()


def test_an_upgrade_beyond_the_rate_opens_no_tunnel(stage: Stage) -> None:
    with spend(stage) as wire:
        refused = wire.ask(a_request(b"/tunnel", b"Connection: upgrade", b"Upgrade: websocket"))
        assert refused.status == 429
        wire.send_some(b"not a request\r\n\r\n")
        assert wire.response().status == 400


def test_what_is_no_request_is_refused_as_such_also_of_a_client_that_has_nothing_left(stage: Stage) -> None:
    with spend(stage) as wire:
        assert wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").status == 400


def test_connections_that_come_and_go_by_the_hundred_leave_every_seat_free(stage: Stage) -> None:
    for turn in range(6):
        with ExitStack() as ends:
            crowd = [ends.enter_context(stage.connect()) for _ in range(50)]
            for number, wire in enumerate(crowd):
                wire.send_some(b"GET" if number % 2 else b"\x16\x03\x01")
                if turn % 2:
                    wire.reset()
    stage.worker.wait_until(lambda worker: not worker.clients and not len(worker.admission._seats))
    stage.clean()
