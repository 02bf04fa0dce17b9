"""Request bodies that are broken, cut, beyond a bound, or mere busywork: no server ever sees a whole one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.origins import body_for
from tests.support.stage import Stage, a_request

SMUGGLED = a_request(b"/smuggled")
LIMIT = 100_000


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage(limits={"chunk_line": 64, "chunk_extensions": 100, "trailers": 200, "trailer_fields": 4,
                       "body": LIMIT}) as stage:
        yield stage
        assert b"/smuggled" not in stage.targets()


def chunked(body: bytes, target: bytes = b"/a") -> bytes:
    return a_request(target, b"Transfer-Encoding: chunked", method=b"POST") + body


BROKEN = {
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "a negative size": b"-3\r\nabc\r\n0\r\n\r\n",
    "an underscore": b"0_3\r\nabc\r\n0\r\n\r\n",
    "a space before the size": b" 3\r\nabc\r\n0\r\n\r\n",
    "a space after the size": b"3 \r\nabc\r\n0\r\n\r\n",
    "17 digits": b"00000000000000003\r\nabc\r\n0\r\n\r\n",
    "a size that overflows 64 bits": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "a bare LF after the size": b"3\nabc\r\n0\r\n\r\n",
    "a bare CR after the size": b"3\rabc\r\n0\r\n\r\n",
    "LF in an extension": b"3;a\n\r\nabc\r\n0\r\n\r\n",
    "CR in an extension": b"3;a\r\r\nabc\r\n0\r\n\r\n",
    "data longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "data shorter than its size": b"5\r\nabc\r\n0\r\n\r\n",
    "LF alone after data": b"3\r\nabc\n0\r\n\r\n",
    "two other bytes after data": b"3\r\nabcXX0\r\n\r\n",
    "a trailer without a colon": b"3\r\nabc\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    "a space before a trailer's colon": b"0\r\na : b\r\n\r\n",
    "a folded trailer": b"0\r\na: b\r\n c\r\n\r\n",
    "a bare LF in a trailer": b"0\r\na: b\nc: d\r\n\r\n",
    "NUL in a trailer": b"0\r\na: \0\r\n\r\n",
    "a line beyond its bound": b"3;" + b"a" * 64 + b"\r\nabc\r\n0\r\n\r\n",
    "a line that never ends": b"3;" + b"a" * 64,
    "extensions beyond their bound": b"1;%b\r\na\r\n" % (b"x" * 49) * 3 + b"0\r\n\r\n",
    "trailers beyond their bound": b"0\r\na: " + b"b" * 200 + b"\r\n\r\n",
    "trailers that never end": b"0\r\na: " + b"b" * 200,
    "too many trailers": b"0\r\n" + b"a: b\r\n" * 5 + b"\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("in_pieces", [False, True])
def test_broken_framing_ends_the_connection_and_reaches_no_server_as_a_request(stage: Stage, name: str,
                                                                                in_pieces: bool) -> None:
    before = len(stage.requests)
    data = chunked(BROKEN[name])
    with stage.connect() as wire:
        if in_pieces:
            for at in range(0, len(data), 5):
                if not wire.send_some(data[at:at + 5]):
                    break
        else:
            wire.send(data + SMUGGLED)
        refusal = wire.response(b"POST")
        assert (refusal.status, refusal.value(b"connection")) == (400, b"close")
        assert wire.is_closed()
    assert len(stage.requests) == before
    stage.clean()


WHOLE = chunked(b'3;a="b"\r\nabc\r\n0A\r\n0123456789\r\n000\r\nX-Sum: 1\r\nHost: evil\r\n\r\n', b"/cut")


def test_a_chunked_body_cut_at_any_byte_arrives_reframed_and_whole(stage: Stage) -> None:
    with stage.connect() as wire:
        for cut in range(1, len(WHOLE)):
            wire.send(WHOLE[:cut])
            stage.worker.settle()
            wire.send(WHOLE[cut:])
            assert wire.response(b"POST").body == body_for(b"POST", b"/cut", b"abc0123456789"), cut
            assert stage.requests[-1].body == b"abc0123456789"
            assert stage.requests[-1].trailers == ((b"x-sum", b"1"),)
    stage.clean()


@pytest.mark.parametrize("ending", ["close", "half_close", "reset"])
def test_a_chunked_body_that_is_never_finished_is_never_a_whole_one_for_the_server(stage: Stage, ending: str) -> None:
    before = len(stage.requests)
    for cut in range(len(a_request(b"/cut", method=b"POST")), len(WHOLE)):
        with stage.connect() as wire:
            wire.send(WHOLE[:cut])
            if cut % 2:
                stage.worker.settle()
            getattr(wire, ending)()
            if ending == "half_close":
                assert not wire.rest().startswith(b"HTTP/1.1 2")
    stage.worker.wait_until(lambda worker: not worker.clients)
    assert len(stage.requests) == before
    stage.clean()


def test_what_follows_a_body_is_the_next_request_and_nothing_else(stage: Stage) -> None:
    with stage.connect() as wire:
        second = a_request(b"/2", method=b"POST", body=b"GET /no HTTP/1.1\r\n\r\n")
        wire.send(chunked(b"3\r\nabc\r\n0\r\n\r\n", b"/1") + second + b"\r\n" + a_request(b"/3"))
        assert wire.response(b"POST").body == b"POST /1 3"
        assert wire.response(b"POST").body == b"POST /2 20"
        assert wire.response().body == b"GET /3 0"
    assert stage.targets()[-3:] == [b"/1", b"/2", b"/3"]


def test_bytes_beyond_the_length_are_taken_for_a_request_and_refused(stage: Stage) -> None:
    with stage.connect() as wire:
        wire.send(a_request(b"/1", b"Content-Length: 3", method=b"POST") + b"abcdef\r\n\r\n" + SMUGGLED)
        assert wire.response(b"POST").body == b"POST /1 3"
        assert wire.response().status in (400, 501)
        assert wire.is_closed()
    stage.clean()


@pytest.mark.parametrize("data", [
    a_request(b"/big", b"Content-Length: %d" % (LIMIT + 1), method=b"POST"),
    a_request(b"/big", b"Content-Length: 9999999999999999999", method=b"POST"),
    chunked(b"%x\r\n%b\r\n" % (LIMIT + 1, b"a" * (LIMIT + 1)), b"/big"),
    chunked(b"1000\r\n%b\r\n" % (b"a" * 4096) * 25, b"/big"),
], ids=["announced", "announced at its largest", "one chunk", "many chunks"])
def test_a_body_beyond_the_limit_is_refused_and_never_whole(stage: Stage, data: bytes) -> None:
    before = len(stage.requests)
    with stage.connect() as wire:
        wire.send_some(data)
        refusal = wire.response(b"POST")
        assert (refusal.status, refusal.value(b"connection")) == (413, b"close")
        wire.send_some(SMUGGLED)
        assert wire.is_closed()
    assert len(stage.requests) == before
    stage.clean()


def test_a_body_of_exactly_the_limit_passes(stage: Stage) -> None:
    with stage.connect() as wire:
        wire.send(chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (LIMIT, b"a" * LIMIT)))
        assert wire.response(b"POST").body == b"POST /a %d" % LIMIT


def test_a_hundred_thousand_one_byte_chunks_do_not_keep_others_waiting(stage: Stage) -> None:
    data = chunked(b"1\r\na\r\n" * LIMIT + b"0\r\n\r\n", b"/busy")
    with stage.connect() as busy, stage.connect() as other:
        busy.send(data[:600_000])
        for number in range(20):
            assert other.ask(a_request(b"/other/%d" % number)).body == b"GET /other/%d 0" % number
        busy.send(data[600_000:])
        assert busy.response(b"POST").body == b"POST /busy %d" % LIMIT
    assert stage.worker.worker.counters.lag_s < 1.0
    stage.clean()


@pytest.mark.parametrize("length", [b"Content-Length: 40", b"Transfer-Encoding: chunked"])
def test_the_body_of_a_request_with_a_bad_host_is_not_read_as_a_request(stage: Stage, length: bytes) -> None:
    with stage.connect() as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: a,b\r\n" + length + b"\r\n\r\n" + SMUGGLED)
        assert wire.response(b"POST").status == 400
        assert wire.is_closed()
    stage.clean()


def test_an_expectation_that_is_not_understood_takes_its_body_with_it(stage: Stage) -> None:
    with stage.connect() as wire:
        wire.send(a_request(b"/a", b"Expect: tea", b"Content-Length: 60", method=b"POST") + SMUGGLED)
        assert wire.response(b"POST").status == 417
        assert wire.is_closed()
    stage.clean()


def test_an_upgrade_with_a_body_stays_framed(stage: Stage) -> None:
    """A tunnel begins after a 101 and not before: what follows the head is a body and then a request."""
    with stage.connect() as wire:
        wire.send(a_request(b"/up", b"Connection: upgrade", b"Upgrade: websocket", method=b"POST", body=b"hello")
                  + a_request(b"/next"))
        assert wire.response(b"POST").body == b"POST /up 5"
        assert wire.response().body == b"GET /next 0"
    stage.clean()
