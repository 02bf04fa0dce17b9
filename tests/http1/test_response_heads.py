"""Response heads: what is accepted with which meaning; everything else is the server's fault and says so."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from proxy.errors import Culprit, RefusedError
from proxy.http1.request import CHUNKED
from proxy.http1.response import UNTIL_CLOSE, Response, ResponseParser

HEAD, FIELDS = 4096, 16


@pytest.fixture
def parser() -> ResponseParser:
    return ResponseParser(head=HEAD, fields=FIELDS)


def head(line: bytes = b"HTTP/1.1 200 OK", *fields: bytes) -> bytes:
    return b"\r\n".join([line, *fields]) + b"\r\n\r\n"


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


OK, FIVE, COUNTED = b"HTTP/1.1 200 OK", b"Content-Length: 5", b"Transfer-Encoding: chunked"

ACCEPTED = {
    "length": Accepted(head(OK, FIVE), length=5),
    "length zero": Accepted(head(OK, b"Content-Length: 0")),
    "length with white space": Accepted(head(OK, b"content-length:\t5 "), length=5),
    "chunked": Accepted(head(OK, COUNTED), length=CHUNKED),
    "chunked in capitals": Accepted(head(OK, b"TRANSFER-ENCODING: CHUNKED"), length=CHUNKED),
    "neither": Accepted(head(), length=UNTIL_CLOSE, keep_alive=False),
    "no reason": Accepted(head(b"HTTP/1.1 200 ", FIVE), length=5),
    "not even a space for a reason": Accepted(head(b"HTTP/1.1 200", FIVE), length=5),
    "a reason with obs-text": Accepted(head(b"HTTP/1.1 404 pas trouv\xe9", FIVE), status=404, length=5),
    "an unknown status": Accepted(head(b"HTTP/1.1 799 Odd", FIVE), status=799, length=5),
    "close": Accepted(head(OK, FIVE, b"Connection: close"), length=5, keep_alive=False),
    "close among others": Accepted(head(OK, FIVE, b"Connection: foo, CLOSE"), length=5, keep_alive=False),
    "close in a second field": Accepted(head(OK, FIVE, b"Connection: foo", b"Connection: close"), length=5,
                                        keep_alive=False),
    "keep-alive": Accepted(head(OK, FIVE, b"Connection: Keep-Alive", b"Keep-Alive: timeout=5"), length=5),
    "1.0": Accepted(head(b"HTTP/1.0 200 OK", FIVE), length=5, minor=0, keep_alive=False),
    "1.0 keep-alive": Accepted(head(b"HTTP/1.0 200 OK", FIVE, b"Connection: keep-alive"), length=5, minor=0),
    "1.0 until close": Accepted(head(b"HTTP/1.0 200 OK", b"Connection: keep-alive"), length=UNTIL_CLOSE, minor=0,
                                keep_alive=False),
    "HEAD with a length": Accepted(head(OK, FIVE), method=b"HEAD"),
    "HEAD chunked": Accepted(head(OK, COUNTED), method=b"HEAD"),
    "HEAD with neither": Accepted(head(), method=b"HEAD"),
    "204": Accepted(head(b"HTTP/1.1 204 No Content"), status=204),
    "204 with a length": Accepted(head(b"HTTP/1.1 204 No Content", FIVE), status=204),
    "304": Accepted(head(b"HTTP/1.1 304 Not Modified"), status=304),
    "304 with a length": Accepted(head(b"HTTP/1.1 304 Not Modified", FIVE), status=304),
    "304 chunked": Accepted(head(b"HTTP/1.1 304 Not Modified", COUNTED), status=304),
    "100": Accepted(head(b"HTTP/1.1 100 Continue"), status=100),
    "103": Accepted(head(b"HTTP/1.1 103 Early Hints", b"Link: </a>"), status=103),
    "103 with a length": Accepted(head(b"HTTP/1.1 103 Early Hints", FIVE), status=103),
    "101": Accepted(head(b"HTTP/1.1 101 Switching", b"Connection: Upgrade", b"Upgrade: websocket"), status=101,
                    upgrade=b"websocket"),
    "426": Accepted(head(b"HTTP/1.1 426 Upgrade Required", FIVE, b"Upgrade: websocket"), status=426, length=5,
                    upgrade=b"websocket"),
    "upgrade offered in passing": Accepted(head(OK, FIVE, b"Upgrade: h2,h2c", b"Connection: Upgrade"), length=5,
                                           upgrade=b"h2,h2c"),
    "Connection cannot remove the length": Accepted(head(OK, FIVE, b"Connection: content-length"), length=5),
    "an alias frames nothing": Accepted(head(OK, FIVE, b"Transfer_Encoding: chunked"), length=5),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_an_answer_means(parser: ResponseParser, name: str) -> None:
    expected = ACCEPTED[name]
    response = parse(parser, expected.data, expected.method)
    for attribute in ("status", "length", "minor", "keep_alive", "upgrade"):
        assert getattr(response, attribute) == getattr(expected, attribute), attribute


REFUSED = {
    "two lengths": head(OK, FIVE, b"Content-Length: 6"),
    "the same length twice": head(OK, FIVE, FIVE),
    "a list of lengths": head(OK, b"Content-Length: 5, 5"),
    "a signed length": head(OK, b"Content-Length: +5"),
    "a negative length": head(OK, b"Content-Length: -1"),
    "an empty length": head(OK, b"Content-Length:"),
    "a length of 20 digits": head(OK, b"Content-Length: 18446744073709551615"),
    "length and coding": head(OK, FIVE, COUNTED),
    "coding and length": head(OK, COUNTED, FIVE),
    "length and coding in a 304": head(b"HTTP/1.1 304 Not Modified", FIVE, COUNTED),
    "gzip, chunked": head(OK, b"Transfer-Encoding: gzip, chunked"),
    "gzip": head(OK, b"Transfer-Encoding: gzip"),
    "identity": head(OK, b"Transfer-Encoding: identity"),
    "chunked twice": head(OK, COUNTED, COUNTED),
    "xchunked": head(OK, b"Transfer-Encoding: xchunked"),
    "an empty coding": head(OK, b"Transfer-Encoding:"),
    "coding in 1.0": head(b"HTTP/1.0 200 OK", COUNTED),
    "HTTP/2.0": head(b"HTTP/2.0 200 OK", FIVE),
    "HTTP/1.2": head(b"HTTP/1.2 200 OK", FIVE),
    "another protocol": head(b"RTSP/1.0 200 OK", FIVE),
    "lower case": head(b"http/1.1 200 OK", FIVE),
    "two spaces": head(b"HTTP/1.1  200 OK", FIVE),
    "a tab": head(b"HTTP/1.1\t200 OK", FIVE),
    "two digits": head(b"HTTP/1.1 20 OK", FIVE),
    "four digits": head(b"HTTP/1.1 2000 OK", FIVE),
    "status 0xx": head(b"HTTP/1.1 099 OK", FIVE),
    "a status that is no number": head(b"HTTP/1.1 2x0 OK", FIVE),
    "no status": head(b"HTTP/1.1", FIVE),
    "a control byte in the reason": head(b"HTTP/1.1 200 O\x01K", FIVE),
    "NUL in the reason": head(b"HTTP/1.1 200 O\x00K", FIVE),
    "a bare LF after the status line": b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n",
    "a bare LF in a value": head(OK, FIVE, b"X: a\nSet-Cookie: a=b"),
    "a bare CR in a value": head(OK, FIVE, b"X: a\rb"),
    "NUL in a value": head(OK, FIVE, b"X: a\0b"),
    "obs-fold": head(OK, FIVE, b"X: a\r\n b"),
    "a space before the colon": head(OK, b"Content-Length : 5"),
    "no colon": head(OK, FIVE, b"X"),
    "a space before the first field": head(OK, b" Content-Length: 5"),
    "an empty line first": b"\r\n" + head(OK, FIVE),
    "a switch of protocols that Connection does not name": head(b"HTTP/1.1 101 Switching", b"Upgrade: websocket"),
    "too many fields": head(OK, *[b"X-%d: a" % n for n in range(FIELDS + 1)]),
    "a head beyond its bound": head(OK, FIVE, b"X: " + b"a" * HEAD),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_the_servers_fault(parser: ResponseParser, name: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse(parser, REFUSED[name])
    assert caught.value.refusal.status == 502
    assert caught.value.refusal.culprit is Culprit.UPSTREAM


@pytest.mark.parametrize("more", [b"", b"12345", b"1234", b"123456", b"5\r\n12345\r\n0\r\n\r\n", b"\0\0\0\0\0"])
@pytest.mark.parametrize("name", [*ACCEPTED, *REFUSED, "Proxy-Connection: close"])
def test_no_answer_leaves_anything_behind_for_the_next_one(parser: ResponseParser, name: str, more: bytes) -> None:
    """Whatever an answer says, and however much of its body has come along, the next one is read afresh."""
    data = ACCEPTED[name].data if name in ACCEPTED else REFUSED.get(name, head(OK, FIVE, b"Proxy-Connection: close"))
    try:
        parse(parser, data + more)
    except RefusedError:
        assert name in REFUSED
    for _ in range(2):
        assert parse(parser, head(OK, FIVE) + b"12345").length == 5


def test_bounds_are_inclusive(parser: ResponseParser) -> None:
    spare = HEAD - len(head(OK, FIVE, b"X: "))
    assert parse(parser, head(OK, FIVE, b"X: " + b"a" * spare)).length == 5
    assert parse(parser, head(OK, FIVE, *[b"X-%d: a" % n for n in range(FIELDS - 1)])).length == 5


def test_fields_that_connection_names_are_gone(parser: ResponseParser) -> None:
    response = parse(parser, head(OK, FIVE, b"X-Hop: 1", b"Connection: x-hop", b"X-End: 2"))
    assert b"".join(response.parts) == head(OK, FIVE, b"Connection: x-hop", b"X-End: 2")


@pytest.mark.parametrize("begun", [b"H", b"HTTP/", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_head_that_may_still_become_one_is_waited_for(parser: ResponseParser, begun: bytes) -> None:
    parser.check_begun(begun)


@pytest.mark.parametrize("begun", [b"h", b"SSH-2.0", b"HTTP/2", b"\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"a" * HEAD,
                                   b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"])
def test_a_head_that_can_no_longer_become_one_is_not_waited_for(parser: ResponseParser, begun: bytes) -> None:
    with pytest.raises(RefusedError):
        parser.check_begun(begun)
