"""Servers that answer badly: the client gets a refusal or a visibly broken message, and no later request is harmed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from tests.support.origins import Peer
from tests.support.refused import ANSWER_FIELDS, ANSWER_HEAD, COUNTED, FIVE, OK, REFUSED_ANSWERS, answer
from tests.support.stage import Stage, a_request
from tests.support.strict import AmbiguousError, Message, take_response
from tests.support.wire import Wire

EVIL_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage(limits={"response_head": ANSWER_HEAD, "response_headers": ANSWER_FIELDS, "chunk_line": 64,
                       "chunk_extensions": 100, "trailers": 200, "trailer_fields": 4}) as stage:
        yield stage


def closing(data: bytes) -> Callable[[Peer, Message], None]:
    """Send this and close."""
    def play(peer: Peer, message: Message) -> None:
        peer.send(data)
        peer.half_close()
    return play


def resetting(data: bytes) -> Callable[[Peer, Message], None]:
    def play(peer: Peer, message: Message) -> None:
        peer.send(data)
        peer.reset()
    return play


def looks_whole(data: bytes, method: bytes = b"GET") -> bool:
    """Whether a client would take what it got for a whole message."""
    try:
        return take_response(data, method, closed=True) is not None
    except AmbiguousError:
        return False


def ends_with_reset(wire: Wire) -> bool:
    """Read to the end, and say which kind of end it was."""
    try:
        while wire.sock.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return False


@pytest.mark.parametrize("name", REFUSED_ANSWERS)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_an_answer_that_is_refused_is_a_502_and_what_followed_it_belongs_to_nobody(stage: Stage, name: str,
                                                                                   method: bytes) -> None:
    target = stage.play(b"refused", REFUSED_ANSWERS[name] + b"12345" + EVIL_ANSWER)
    before = len(stage.requests)
    refusal = stage.ask(target, method=method)
    assert (refusal.status, b"upstream" in refusal.body) == (502, True)
    assert len(stage.requests) == before + 1, "it was not asked again"
    stage.clean()


GARBAGE = {
    "garbage": b"garbage\r\n\r\n",
    "an empty line": b"\r\n" + answer(OK, FIVE) + b"12345",
    "a bare body": b"<html>hello</html>",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x28",
    "NUL": b"\0" * 10,
    "a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "ICY": b"ICY 200 OK\r\n\r\n",
    "HTTP/0.9 in disguise": b"HTTP",
    "lines that end with LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "a status line that ends with LF": b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok",
    "a head that never ends": b"HTTP/1.1 200 OK\r\nX: " + b"a" * ANSWER_HEAD,
    "fields that never end": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * ANSWER_HEAD,
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_what_is_no_answer_at_all_is_a_502(stage: Stage, name: str) -> None:
    refusal = stage.ask(stage.play(b"garbage", closing(GARBAGE[name])), method=b"POST")
    assert refusal.status == 502
    stage.clean()


BROKEN_CHUNKS = {
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "a size that is none": b"xyz\r\nabc\r\n0\r\n\r\n",
    "0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a bare LF": b"3\nabc\n0\n\n",
    "LF in an extension": b"3;a\n\r\nabc\r\n0\r\n\r\n",
    "data longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "an overflow": b"fffffffffffffffff\r\nabc",
    "extensions beyond their bound": b"1;%b\r\na\r\n" % (b"x" * 49) * 3 + b"0\r\n\r\n",
    "a line beyond its bound": b"3;" + b"a" * 64 + b"\r\nabc\r\n0\r\n\r\n",
    "trailers beyond their bound": b"0\r\na: " + b"b" * 200 + b"\r\n\r\n",
    "too many trailers": b"0\r\n" + b"a: b\r\n" * 5 + b"\r\n",
    "an answer where trailers end": b"0\r\n" + EVIL_ANSWER,
    "a bare LF in a trailer": b"0\r\na: b\nSet-Cookie: c\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN_CHUNKS)
@pytest.mark.parametrize("minor", [0, 1])
def test_broken_chunks_break_the_message_for_the_client_too(stage: Stage, name: str, minor: int) -> None:
    target = stage.play(b"chunks", answer(OK, COUNTED) + b"4\r\ngood\r\n" + BROKEN_CHUNKS[name] + EVIL_ANSWER)
    with stage.connect() as wire:
        wire.send(b"GET %b HTTP/1.%d\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" % (target, minor))
        got = b""
        broken = False
        while True:
            try:
                piece = wire.sock.recv(65536)
            except ConnectionResetError:
                broken = True
                break
            if not piece:
                break
            got += piece
        assert broken or (minor == 1 and not looks_whole(got))
        assert b"evil" not in got
    stage.clean()


WHOLE = {
    "length": (answer(OK, b"Content-Length: 11") + b"hello world", b"hello world"),
    "chunked": (answer(OK, COUNTED) + b"5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n", b"hello world"),
    "interim first": (b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + answer(OK, FIVE) + b"12345", b"12345"),
    "no body": (answer(b"HTTP/1.1 204 No Content"), b""),
}


@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_cut_at_any_byte_arrives_whole_when_the_rest_comes(stage: Stage, name: str) -> None:
    data, body = WHOLE[name]
    with stage.connect() as wire:
        for cut in range(1, len(data)):
            def play(peer: Peer, message: Message, cut: int = cut) -> None:
                peer.send(data[:cut])
                stage.worker.settle()
                peer.send(data[cut:])
            answered = wire.ask(a_request(stage.play(b"cut/%d" % cut, play)))
            assert answered.body == body, cut
            assert answered.interims in ((), (103,))
    stage.clean()


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("ending", [closing, resetting])
def test_an_answer_that_ends_too_early_is_never_a_whole_one(
        stage: Stage, name: str, ending: Callable[[bytes], Callable[[Peer, Message], None]]) -> None:
    data, _ = WHOLE[name]
    final = data.index(b"HTTP/1.1 20")
    head_size = data.index(b"\r\n\r\n", final) + 4
    for cut in range(len(data)):
        target = stage.play(b"short/%d" % cut, ending(data[:cut]))
        with stage.connect() as wire:
            wire.send(a_request(target, b"Connection: close", method=b"POST"))
            got = wire.rest()
        if cut < head_size:
            message = take_response(got, closed=True)
            assert message is not None, cut
            assert message.status == 502, cut
        else:
            assert not looks_whole(got), cut
    stage.clean()


@pytest.mark.parametrize("minor", [0, 1])
def test_an_answer_without_framing_ends_with_an_orderly_close_and_not_with_a_reset(stage: Stage, minor: int) -> None:
    request = b"GET %b HTTP/1.%d\r\nHost: a\r\n\r\n"
    with stage.connect() as wire:
        wire.send(request % (stage.play(b"close", closing(answer(OK) + b"hello")), minor))
        assert wire.response().body == b"hello"
    with stage.connect() as wire:
        wire.send(request % (stage.play(b"reset", resetting(answer(OK) + b"hello")), minor))
        if minor == 1:
            assert not looks_whole(wire.rest())
        else:
            assert ends_with_reset(wire)
    stage.clean()


EXTRA = {
    "garbage after a length": answer(OK, FIVE) + b"12345garbage",
    "an answer after a length": answer(OK, FIVE) + b"12345" + EVIL_ANSWER,
    "an answer after chunks": answer(OK, COUNTED) + b"5\r\n12345\r\n0\r\n\r\n" + EVIL_ANSWER,
    "an empty line after a length": answer(OK, FIVE) + b"12345\r\n",
}


@pytest.mark.parametrize("name", EXTRA)
def test_bytes_beyond_an_answer_are_nobodys_and_end_the_servers_connection(stage: Stage, name: str) -> None:
    target = stage.play(b"extra", EXTRA[name])
    with stage.connect() as wire:
        assert wire.ask(a_request(target)).body == b"12345"
        assert wire.ask(a_request(b"/after")).body == b"GET /after 0"
    stage.clean()


BODILESS = {
    "HEAD": (b"HEAD", answer(OK, FIVE) + b"12345"),
    "HEAD, chunked": (b"HEAD", answer(OK, COUNTED) + b"5\r\n12345\r\n0\r\n\r\n"),
    "204": (b"GET", answer(b"HTTP/1.1 204 No Content", FIVE) + b"12345"),
    "204, chunked": (b"GET", answer(b"HTTP/1.1 204 No Content", COUNTED) + b"5\r\n12345\r\n0\r\n\r\n"),
    "304": (b"GET", answer(b"HTTP/1.1 304 Not Modified", FIVE) + b"12345"),
    "304 and an answer": (b"GET", answer(b"HTTP/1.1 304 Not Modified") + EVIL_ANSWER),
}


@pytest.mark.parametrize("name", BODILESS)
def test_a_body_where_none_can_be_reaches_nobody(stage: Stage, name: str) -> None:
    method, data = BODILESS[name]
    target = stage.play(b"bodiless", data)
    with stage.connect() as wire:
        assert wire.ask(a_request(target, method=method), method).body == b""
        assert wire.ask(a_request(b"/after")).body == b"GET /after 0"
    stage.clean()


@pytest.mark.parametrize("fields", [(), (b"Connection: upgrade", b"Upgrade: h2c"), (b"Upgrade: websocket",)])
def test_protocols_are_not_switched_unasked(stage: Stage, fields: tuple[bytes, ...]) -> None:
    target = stage.play(b"101", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
                        + EVIL_ANSWER)
    assert stage.ask(target, *fields).status == 502
    stage.clean()


def test_protocols_are_not_switched_before_the_request_is_whole(stage: Stage) -> None:
    def play(peer: Peer, message: Message) -> None:
        raise AssertionError("the request never becomes whole")
    stage.play(b"never", play)
    with stage.connect() as wire:
        wire.send(a_request(b"/evil/never", b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 5",
                            method=b"POST") + b"abc")
        stage.worker.settle()
    stage.clean()


def test_interim_answers_pass_up_to_a_number_that_no_sane_server_reaches(stage: Stage) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    few = stage.ask(stage.play(b"few", interim * 32 + answer(OK, FIVE) + b"12345"))
    assert (few.status, few.interims) == (200, (103,) * 32)
    many = stage.ask(stage.play(b"many", interim * 5000))
    assert (many.status, many.interims) == (502, (103,) * 32)
    stage.clean()


def test_interim_answers_are_kept_from_clients_of_1_0(stage: Stage) -> None:
    target = stage.play(b"old", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + answer(OK, FIVE) + b"12345")
    with stage.connect() as wire:
        message = wire.ask(b"GET %b HTTP/1.0\r\n\r\n" % target)
        assert (message.body, message.interims) == (b"12345", ())


def test_what_a_server_says_out_of_turn_is_not_the_answer_to_the_next_request(stage: Stage) -> None:
    """Response-queue desynchronisation: an answer that nobody asked for yet waits on a pooled connection."""
    spoken = threading.Event()

    def play(peer: Peer, message: Message) -> None:
        peer.send(answer(OK, FIVE) + b"12345")
        stage.worker.settle()
        peer.send(EVIL_ANSWER)
        spoken.set()
    target = stage.play(b"queue", play)
    with stage.connect() as wire:
        for number in range(20):
            assert wire.ask(a_request(target)).body == b"12345"
            assert spoken.wait(15)
            spoken.clear()
            stage.worker.settle()
            method = (b"GET", b"POST")[number % 2]
            assert wire.ask(a_request(b"/after", method=method), method).body == method + b" /after 0"
    stage.clean()


def test_a_server_that_speaks_before_it_is_asked_is_not_believed() -> None:
    with Stage() as stage:
        def banner(peer: Peer) -> None:
            peer.send(EVIL_ANSWER)
            peer.request()
        stage.origin._script = banner
        assert stage.ask(b"/a", method=b"POST").status in (200, 502)
        stage.origin._script = stage._converse
        stage.clean()


def test_an_early_answer_ends_both_connections_and_the_rest_of_the_body_goes_nowhere(stage: Stage) -> None:
    def refuse_early(peer: Peer) -> None:
        peer.read_head()
        peer.send(answer(b"HTTP/1.1 413 Content Too Large", FIVE) + b"12345")
        peer.read_to_end()
    with Stage() as own:
        own.origin._script = refuse_early
        with own.connect() as wire:
            wire.send(a_request(b"/early", b"Content-Length: 1000", method=b"POST") + b"abc")
            early = wire.response(b"POST")
            assert (early.status, early.body, early.value(b"connection")) == (413, b"12345", b"close")
            wire.send_some(b"x" * 997 + a_request(b"/smuggled"))
            assert wire.is_closed()
        own.origin._script = own._converse
        own.clean()


@pytest.mark.parametrize("head", [
    answer(OK, FIVE, b"X: a", b"Connection: set-cookie, x", b"Set-Cookie: a=b"),
    answer(OK, FIVE, b"Proxy-Connection: close"),
    answer(OK, FIVE, b"Transfer_Encoding: chunked"),
    answer(b"HTTP/1.0 200 OK", FIVE, b"Connection: keep-alive"),
    answer(OK, FIVE, b"Upgrade: h2c", b"Connection: upgrade"),
    answer(OK, FIVE, b"Content-Length_: 7"),
])
def test_odd_but_clear_answers_pass_and_spoil_nothing(stage: Stage, head: bytes) -> None:
    assert stage.ask(stage.play(b"odd", head + b"12345")).body == b"12345"
    stage.clean()


def test_a_hundred_thousand_one_byte_chunks_in_an_answer_do_not_keep_others_waiting(stage: Stage) -> None:
    target = stage.play(b"busy", answer(OK, COUNTED) + b"1\r\na\r\n" * 100_000 + b"0\r\n\r\n")
    with stage.connect() as busy, stage.connect() as other:
        busy.send(a_request(target))
        for number in range(20):
            assert other.ask(a_request(b"/other/%d" % number)).body == b"GET /other/%d 0" % number
        assert busy.response().body == b"a" * 100_000
    stage.clean()


def test_a_slow_reader_gets_all_of_many_small_chunks_though_the_server_has_closed(stage: Stage) -> None:
    data = answer(OK, COUNTED, b"Connection: close") + b"10\r\n0123456789abcdef\r\n" * 400_000 + b"0\r\n\r\n"
    target = stage.play(b"many", closing(data))
    with stage.connect() as wire:
        wire.send(a_request(target))
        taken, pieces, got = 0, [], b""
        while not got.endswith(b"\r\n0\r\n\r\n"):
            piece = wire.sock.recv(20_000)
            assert piece, f"cut after {taken} bytes"
            pieces.append(piece)
            taken += len(piece)
            got = (got + piece)[-16:]
        message = take_response(b"".join(pieces))
        assert message is not None
        assert len(message.body) == 6_400_000
    stage.clean()


def test_a_server_that_drips_its_head_or_stops_is_timed_out(stage: Stage) -> None:
    def drip(peer: Peer, message: Message) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nX")
        peer.read_to_end()
    with stage.connect() as wire:
        wire.send(a_request(stage.play(b"drip", drip)))
        stage.origin.wait_until(lambda: stage.targets()[-1] == b"/evil/drip")
        stage.worker.pass_time(61)
        assert wire.response().status == 504

    def stop(peer: Peer, message: Message) -> None:
        peer.send(answer(OK, FIVE) + b"123")
        peer.read_to_end()
    with stage.connect() as wire:
        wire.send(a_request(stage.play(b"stop", stop)))
        wire.read_until(b"123")
        stage.worker.pass_time(61)
        assert wire.is_closed()
    stage.clean()
