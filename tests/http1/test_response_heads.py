"""Response heads: what is accepted with which meaning; everything else is the server's fault and says so."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from proxy.errors import Culprit, RefusedError
from proxy.http1.request import CHUNKED
from proxy.http1.response import UNTIL_CLOSE, Response, ResponseParser
from tests.support.refused import ANSWER_FIELDS, ANSWER_HEAD, COUNTED, FIVE, OK, REFUSED_ANSWERS, answer


@pytest.fixture
def parser() -> ResponseParser:
    return ResponseParser(head=ANSWER_HEAD, fields=ANSWER_FIELDS)


def parse(parser: ResponseParser, data: bytes, method: bytes = b"GET") -> Response:
    """Read the head at the beginning of `data`, as it stands when that much has arrived."""
    return parser.parse(data, data.index(b"\r\n\r\n", 1) + 4, method)


@dataclass
class Accepted:
    data: bytes
    method: bytes = b"GET"
    status: int = 200
    length: int = 0
    minor: int = 1
    keep_alive: bool = True
    upgrade: bytes | None = None


ACCEPTED = {
    "length": Accepted(answer(OK, FIVE), length=5),
    "length zero": Accepted(answer(OK, b"Content-Length: 0")),
    "length with white space": Accepted(answer(OK, b"content-length:\t5 "), length=5),
    "chunked": Accepted(answer(OK, COUNTED), length=CHUNKED),
    "chunked in capitals": Accepted(answer(OK, b"TRANSFER-ENCODING: CHUNKED"), length=CHUNKED),
    "neither": Accepted(answer(OK), length=UNTIL_CLOSE, keep_alive=False),
    "no reason": Accepted(answer(b"HTTP/1.1 200 ", FIVE), length=5),
    "not even a space for a reason": Accepted(answer(b"HTTP/1.1 200", FIVE), length=5),
    "a reason with obs-text": Accepted(answer(b"HTTP/1.1 404 pas trouv\xe9", FIVE), status=404, length=5),
    "an unknown status": Accepted(answer(b"HTTP/1.1 799 Odd", FIVE), status=799, length=5),
    "close": Accepted(answer(OK, FIVE, b"Connection: close"), length=5, keep_alive=False),
    "close among others": Accepted(answer(OK, FIVE, b"Connection: foo, CLOSE"), length=5, keep_alive=False),
    "close in a second field": Accepted(answer(OK, FIVE, b"Connection: foo", b"Connection: close"), length=5,
                                        keep_alive=False),
    "keep-alive": Accepted(answer(OK, FIVE, b"Connection: Keep-Alive", b"Keep-Alive: timeout=5"), length=5),
    "1.0": Accepted(answer(b"HTTP/1.0 200 OK", FIVE), length=5, minor=0, keep_alive=False),
    "1.0 keep-alive": Accepted(answer(b"HTTP/1.0 200 OK", FIVE, b"Connection: keep-alive"), length=5, minor=0),
    "1.0 until close": Accepted(answer(b"HTTP/1.0 200 OK", b"Connection: keep-alive"), length=UNTIL_CLOSE, minor=0,
                                keep_alive=False),
    "HEAD with a length": Accepted(answer(OK, FIVE), method=b"HEAD"),
    "HEAD chunked": Accepted(answer(OK, COUNTED), method=b"HEAD"),
    "HEAD with neither": Accepted(answer(OK), method=b"HEAD"),
    "204": Accepted(answer(b"HTTP/1.1 204 No Content"), status=204),
    "204 with a length": Accepted(answer(b"HTTP/1.1 204 No Content", FIVE), status=204),
    "304": Accepted(answer(b"HTTP/1.1 304 Not Modified"), status=304),
    "304 with a length": Accepted(answer(b"HTTP/1.1 304 Not Modified", FIVE), status=304),
    "304 chunked": Accepted(answer(b"HTTP/1.1 304 Not Modified", COUNTED), status=304),
    "100": Accepted(answer(b"HTTP/1.1 100 Continue"), status=100),
    "103": Accepted(answer(b"HTTP/1.1 103 Early Hints", b"Link: </a>"), status=103),
    "103 with a length": Accepted(answer(b"HTTP/1.1 103 Early Hints", FIVE), status=103),
    "101": Accepted(answer(b"HTTP/1.1 101 Switching", b"Connection: Upgrade", b"Upgrade: websocket"), status=101,
                    upgrade=b"websocket"),
    "426": Accepted(answer(b"HTTP/1.1 426 Upgrade Required", FIVE, b"Upgrade: websocket"), status=426, length=5,
                    upgrade=b"websocket"),
    "upgrade offered in passing": Accepted(answer(OK, FIVE, b"Upgrade: h2,h2c", b"Connection: Upgrade"), length=5,
                                           upgrade=b"h2,h2c"),
    "Connection cannot remove the length": Accepted(answer(OK, FIVE, b"Connection: content-length"), length=5),
    "an alias frames nothing": Accepted(answer(OK, FIVE, b"Transfer_Encoding: chunked"), length=5),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_an_answer_means(parser: ResponseParser, name: str) -> None:
    expected = ACCEPTED[name]
    response = parse(parser, expected.data, expected.method)
    for attribute in ("status", "length", "minor", "keep_alive", "upgrade"):
        assert getattr(response, attribute) == getattr(expected, attribute), attribute


@pytest.mark.parametrize("name", REFUSED_ANSWERS)
def test_what_is_refused_is_the_servers_fault(parser: ResponseParser, name: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse(parser, REFUSED_ANSWERS[name])
    assert caught.value.refusal.status == 502
    assert caught.value.refusal.culprit is Culprit.UPSTREAM


@pytest.mark.parametrize("more", [b"", b"12345", b"1234", b"123456", b"5\r\n12345\r\n0\r\n\r\n", b"\0\0\0\0\0"])
@pytest.mark.parametrize("name", [*ACCEPTED, *REFUSED_ANSWERS, "Proxy-Connection: close"])
def test_no_answer_leaves_anything_behind_for_the_next_one(parser: ResponseParser, name: str, more: bytes) -> None:
    """Whatever an answer says, and however much of its body has come along, the next one is read afresh."""
    odd = answer(OK, FIVE, b"Proxy-Connection: close")
    data = ACCEPTED[name].data if name in ACCEPTED else REFUSED_ANSWERS.get(name, odd)
    try:
        parse(parser, data + more)
    except RefusedError:
        assert name in REFUSED_ANSWERS
    for _ in range(2):
        assert parse(parser, answer(OK, FIVE) + b"12345").length == 5


def test_bounds_are_inclusive(parser: ResponseParser) -> None:
    spare = ANSWER_HEAD - len(answer(OK, FIVE, b"X: "))
    assert parse(parser, answer(OK, FIVE, b"X: " + b"a" * spare)).length == 5
    assert parse(parser, answer(OK, FIVE, *[b"X-%d: a" % n for n in range(ANSWER_FIELDS - 1)])).length == 5


def test_fields_that_connection_names_are_gone(parser: ResponseParser) -> None:
    response = parse(parser, answer(OK, FIVE, b"X-Hop: 1", b"Connection: x-hop", b"X-End: 2"))
    assert b"".join(response.parts) == answer(OK, FIVE, b"Connection: x-hop", b"X-End: 2")


@pytest.mark.parametrize("begun", [b"H", b"HTTP/", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_head_that_may_still_become_one_is_waited_for(parser: ResponseParser, begun: bytes) -> None:
    parser.check_begun(begun)


@pytest.mark.parametrize("begun", [b"h", b"SSH-2.0", b"HTTP/2", b"\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"a" * ANSWER_HEAD,
                                   b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"])
def test_a_head_that_can_no_longer_become_one_is_not_waited_for(parser: ResponseParser, begun: bytes) -> None:
    with pytest.raises(RefusedError):
        parser.check_begun(begun)
