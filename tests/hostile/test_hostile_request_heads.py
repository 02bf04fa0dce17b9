"""Malformed and ambiguous request heads against a real worker: refused, nothing of them reaches a server, and
everybody else is served as before.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.origins import body_for
from tests.support.refused import FIELDS, GET, HEAD, LINE, POST, REFUSED_REQUESTS, head
from tests.support.stage import Stage, a_request

SMUGGLED = a_request(b"/smuggled")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage(limits={"request_line": LINE, "head": HEAD, "headers": FIELDS}) as stage:
        yield stage
        assert b"/smuggled" not in stage.targets()


@pytest.mark.parametrize("name", REFUSED_REQUESTS)
def test_a_refused_head_ends_the_connection_and_what_follows_is_thrown_away(stage: Stage, name: str) -> None:
    status, data = REFUSED_REQUESTS[name]
    before = len(stage.requests)
    with stage.connect() as wire:
        wire.send(data + SMUGGLED)
        refusal = wire.response()
        assert refusal.status in ((400, 414) if status == 414 else (status, 400))
        assert refusal.value(b"connection") == b"close"
        assert wire.send_some(SMUGGLED) in (True, False)
        assert wire.is_closed()
    assert len(stage.requests) == before
    stage.clean()


@pytest.mark.parametrize("name", REFUSED_REQUESTS)
def test_a_refused_head_in_pieces_is_refused_as_well(stage: Stage, name: str) -> None:
    status, data = REFUSED_REQUESTS[name]
    with stage.connect() as wire:
        for at in range(0, min(len(data), 600), 7):
            if not wire.send_some(data[at:at + 7]):
                break
        wire.send_some(data[602:] if len(data) > 602 else b"")
        assert wire.response().status in ((400, 414) if status == 414 else (status, 400))
        assert wire.is_closed()
    stage.clean()


NEVER_HEADS = {
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "NUL": b"\0",
    "a space": b" GET / HTTP/1.1\r\n",
    "three empty lines": b"\r\n\r\n\r\n",
    "two empty lines and a request": b"\r\n\r\n" + a_request(b"/a"),
    "a bare LF and a request": b"\n" + a_request(b"/a"),
    "a bare CR and a request": b"\r" + a_request(b"/a"),
    "lines that end with LF": b"GET /a HTTP/1.1\nHost: a\n\n",
    "a line that ends with LF": b"GET /a HTTP/1.1\r\nHost: a\n",
    "a request line that never ends": b"GET /" + b"a" * (LINE + HEAD),
    "a head that never ends": b"GET / HTTP/1.1\r\nX: " + b"a" * HEAD,
    "fields that never end": b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * HEAD,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "PROXY protocol": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "PROXY protocol 2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
    "an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", NEVER_HEADS)
def test_what_can_never_become_a_head_is_refused_at_once(stage: Stage, name: str) -> None:
    with stage.connect() as wire:
        wire.send_some(NEVER_HEADS[name])
        refusal = wire.response()
        assert 400 <= refusal.status <= 505
        assert refusal.value(b"connection") == b"close"
        assert wire.is_closed()
    stage.clean()


def test_one_empty_line_before_a_request_is_ignored(stage: Stage) -> None:
    with stage.connect() as wire:
        for pieces in ((b"\r\n" + a_request(b"/a"),), (b"\r\n", a_request(b"/a")), (b"\r", b"\n" + a_request(b"/a"))):
            wire.send(pieces[0])
            stage.worker.settle()
            wire.send(*pieces[1:])
            assert wire.response().body == body_for(b"GET", b"/a")


WHOLE = a_request(b"/cut", b"Cookie: a=b", b"Connection: x-hop", b"X-Hop: 1", method=b"POST", body=b"hello")


def test_a_request_cut_at_any_byte_is_answered_once_it_is_whole(stage: Stage) -> None:
    with stage.connect() as wire:
        for cut in range(1, len(WHOLE)):
            wire.send(WHOLE[:cut])
            stage.worker.settle()
            wire.send(WHOLE[cut:])
            assert wire.response(b"POST").body == body_for(b"POST", b"/cut", b"hello"), cut
    stage.clean()


def test_a_request_that_comes_byte_by_byte_is_answered(stage: Stage) -> None:
    with stage.connect() as wire:
        wire.send(*(WHOLE[at:at + 1] for at in range(len(WHOLE))))
        assert wire.response(b"POST").body == body_for(b"POST", b"/cut", b"hello")


@pytest.mark.parametrize("ending", ["close", "half_close", "reset"])
def test_a_request_that_is_never_finished_is_never_a_whole_one_for_the_server(stage: Stage, ending: str) -> None:
    before = len(stage.requests)
    for cut in range(1, len(WHOLE)):
        with stage.connect() as wire:
            wire.send(WHOLE[:cut])
            getattr(wire, ending)()
            if ending == "half_close":
                answered = wire.rest()
                assert not answered or answered.startswith(b"HTTP/1.1 4")
    assert len(stage.requests) == before
    stage.worker.wait_until(lambda worker: not worker.clients)
    stage.clean()


@pytest.mark.parametrize("host", [b"a b", b"a/b", b"a,b", b"a@b", b"a\\b", b"a%2fb", b":80", b"a:b", b"[::1",
                                  b"a:80:80", b"*", b"a#b", b"a?b", b"caf\xe9", b"."])
@pytest.mark.parametrize("minor", [0, 1])
def test_a_host_that_is_none_is_refused(stage: Stage, host: bytes, minor: int) -> None:
    with stage.connect() as wire:
        refusal = wire.ask(b"GET / HTTP/1.%d\r\nHost: %b\r\nConnection: keep-alive\r\n\r\n" % (minor, host))
        assert (refusal.status, refusal.value(b"connection")) == (400, b"close")
        assert wire.is_closed()
    stage.clean()


@pytest.mark.parametrize("data", [
    head(GET, b"Proxy-Connection: close"), head(GET, b"Proxy-Connection: upgrade", b"Upgrade: h2c"),
    head(GET, b"Connection: close, keep-alive"), head(b"GET /a HTTP/1.0", host=None),
    head(GET, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
    head(b"OPTIONS * HTTP/1.1"), head(b"GET http://a.example HTTP/1.1"), head(POST, b"Content-Length: 0"),
    head(GET, b"Connection: host, x-forwarded-for, via, x-request-id"), head(GET, b"Transfer_Encoding: chunked"),
])
def test_odd_but_clear_requests_are_served_and_spoil_nothing(stage: Stage, data: bytes) -> None:
    with stage.connect() as wire:
        assert wire.ask(data).status == 200
    stage.clean()


def test_many_fields_and_long_values_within_the_bounds_pass_whole(stage: Stage) -> None:
    fields = [b"X-%d: %b" % (n, b"v" * 200) for n in range(FIELDS - 2)]
    assert stage.ask(b"/many", *fields).status == 200
    assert [b"X-%d: %b" % (n, value) for n in range(FIELDS - 2)
            for value in stage.requests[-1].values(b"x-%d" % n)] == fields


def test_a_connection_that_sends_only_garbage_for_ever_is_cut(stage: Stage) -> None:
    with stage.connect() as wire:
        passed = 0
        while wire.send_some(b"\xff" * 65536) and passed < 120:
            stage.worker.pass_time(4)
            passed += 4
        assert passed < 120
    stage.clean()
