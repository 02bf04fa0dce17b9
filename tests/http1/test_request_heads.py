"""Request heads: what is accepted with which meaning, and what is refused with which answer."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from proxy.errors import RefusedError
from proxy.http1.request import CHUNKED, Request, RequestParser, SeveralHeadsError
from tests.support.refused import FIELDS, GET, HEAD, LINE, POST, REFUSED_REQUESTS, head


@pytest.fixture
def parser() -> RequestParser:
    return RequestParser(line=LINE, head=HEAD, fields=FIELDS, wanted=[b"cookie", b"x-turnout-version", b"app_key"])


def refusal(parser: RequestParser, data: bytes) -> int:
    with pytest.raises(RefusedError) as caught:
        parser.parse(data)
    assert parser.parse(head(GET)).target == b"/a", "the head after a refused one is read afresh"
    return caught.value.refusal.status


@dataclass
class Accepted:
    data: bytes
    method: bytes = b"GET"
    target: bytes = b"/a"
    host: bytes = b"a.example"
    length: int = 0
    minor: int = 1
    keep_alive: bool = True
    expects_continue: bool = False
    takes_trailers: bool = False
    asks_upgrade: bytes | None = None


ACCEPTED = {
    "plain": Accepted(head(GET)),
    "without a space after the colon": Accepted(head(GET, host=b"Host:a.example")),
    "white space around a value": Accepted(head(GET, host=b"Host: \t a.example \t ")),
    "name in capitals": Accepted(head(GET, host=b"HOST: a.example")),
    "host with a port": Accepted(head(GET, host=b"Host: a.example:8080"), host=b"a.example:8080"),
    "query and odd bytes, as they came": Accepted(head(b"GET //a/../b;c=%2e%zz?x=?&|{}\"<>^` HTTP/1.1"),
                                                  target=b"//a/../b;c=%2e%zz?x=?&|{}\"<>^`"),
    "obs-text in a value": Accepted(head(GET, b"X-A: caf\xe9 \xff")),
    "an empty value": Accepted(head(GET, b"X-A:", b"X-B: \t ")),
    "a tab within a value": Accepted(head(GET, b"X-A: a\tb")),
    "absolute form": Accepted(head(b"GET http://a.example/a HTTP/1.1")),
    "absolute form, other case": Accepted(head(b"GET HTTP://A.EXAMPLE/a HTTP/1.1"), host=b"A.EXAMPLE"),
    "absolute form without a path": Accepted(head(b"GET http://a.example HTTP/1.1"), target=b"/"),
    "absolute form with nothing but a query": Accepted(head(b"GET http://a.example?x=1 HTTP/1.1"), target=b"/?x=1"),
    "https as a client says it to its proxy": Accepted(head(b"GET https://a.example/a HTTP/1.1")),
    "asterisk": Accepted(head(b"OPTIONS * HTTP/1.1"), method=b"OPTIONS", target=b"*"),
    "asterisk in absolute form": Accepted(head(b"OPTIONS http://a.example HTTP/1.1"), method=b"OPTIONS", target=b"*"),
    "OPTIONS of a path": Accepted(head(b"OPTIONS /a HTTP/1.1"), method=b"OPTIONS"),
    "a method with a dash": Accepted(head(b"M-SEARCH /a HTTP/1.1"), method=b"M-SEARCH"),
    "length": Accepted(head(POST, b"Content-Length: 12"), method=b"POST", length=12),
    "length zero": Accepted(head(POST, b"Content-Length: 0"), method=b"POST"),
    "length with leading zeros": Accepted(head(POST, b"Content-Length: 0012"), method=b"POST", length=12),
    "the largest length": Accepted(head(POST, b"Content-Length: 9999999999999999999"), method=b"POST",
                                   length=9_999_999_999_999_999_999),
    "length on GET": Accepted(head(GET, b"Content-Length: 3"), length=3),
    "chunked": Accepted(head(POST, b"Transfer-Encoding: chunked"), method=b"POST", length=CHUNKED),
    "chunked in capitals": Accepted(head(POST, b"TRANSFER-ENCODING: Chunked"), method=b"POST", length=CHUNKED),
    "close": Accepted(head(GET, b"Connection: close"), keep_alive=False),
    "close among others": Accepted(head(GET, b"Connection: foo, Close ,bar"), keep_alive=False),
    "close in a second field": Accepted(head(GET, b"Connection: foo", b"Connection: close"), keep_alive=False),
    "keep-alive": Accepted(head(GET, b"Connection: keep-alive")),
    "empty list members": Accepted(head(GET, b"Connection: ,, ,")),
    "1.0": Accepted(head(b"GET /a HTTP/1.0"), minor=0, keep_alive=False),
    "1.0 without a host": Accepted(head(b"GET /a HTTP/1.0", host=None), minor=0, keep_alive=False, host=b""),
    "1.0 with an empty host": Accepted(head(b"GET /a HTTP/1.0", host=b"Host:"), minor=0, keep_alive=False, host=b""),
    "1.0 keep-alive": Accepted(head(b"GET /a HTTP/1.0", b"Connection: keep-alive"), minor=0),
    "1.0 with an absolute form alone": Accepted(head(b"GET http://a.example/a HTTP/1.0", host=None), minor=0,
                                                keep_alive=False),
    "1.0 cannot expect": Accepted(head(b"POST /a HTTP/1.0", b"Expect: 100-continue", b"Content-Length: 1"),
                                  method=b"POST", minor=0, keep_alive=False, length=1),
    "1.0 cannot upgrade": Accepted(head(b"GET /a HTTP/1.0", b"Connection: upgrade", b"Upgrade: websocket"), minor=0,
                                   keep_alive=False),
    "expectation": Accepted(head(POST, b"Expect: 100-Continue", b"Content-Length: 1"), method=b"POST", length=1,
                            expects_continue=True),
    "expectation without a body": Accepted(head(GET, b"Expect: 100-continue")),
    "takes trailers": Accepted(head(GET, b"TE: gzip;q=0.5, trailers", b"Connection: TE"), takes_trailers=True),
    "upgrade": Accepted(head(GET, b"Connection: keep-alive, Upgrade", b"Upgrade: websocket"),
                        asks_upgrade=b"websocket"),
    "upgrade that Connection does not name": Accepted(head(GET, b"Upgrade: websocket")),
    "h2c is not asked for": Accepted(head(GET, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
                                          b"HTTP2-Settings: AAMAAABk")),
    "h2c among others is not asked for": Accepted(head(GET, b"Connection: upgrade", b"Upgrade: websocket, H2C")),
    "Connection cannot remove the host": Accepted(head(GET, b"Connection: host, close"), keep_alive=False),
    "Connection cannot remove the length": Accepted(head(POST, b"Connection: content-length", b"Content-Length: 4"),
                                                    method=b"POST", length=4),
    "an alias of a framing field frames nothing": Accepted(head(GET, b"Transfer_Encoding: chunked",
                                                                b"Content_Length: 7")),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_a_head_means(parser: RequestParser, name: str) -> None:
    expected = ACCEPTED[name]
    request = parser.parse(expected.data)
    for attribute in ("method", "target", "host", "length", "minor", "keep_alive", "expects_continue",
                      "takes_trailers", "asks_upgrade"):
        assert getattr(request, attribute) == getattr(expected, attribute), attribute


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_head_leaves_nothing_behind_for_the_next_one(parser: RequestParser, name: str) -> None:
    parser.parse(ACCEPTED[name].data)
    assert parser.parse(head(b"GET /next HTTP/1.1")).target == b"/next"


@pytest.mark.parametrize("name", REFUSED_REQUESTS)
def test_what_is_refused_and_how(parser: RequestParser, name: str) -> None:
    status, data = REFUSED_REQUESTS[name]
    assert refusal(parser, data) == status


def test_as_many_fields_as_allowed_pass(parser: RequestParser) -> None:
    assert parser.parse(head(GET, *[b"X-%d: a" % n for n in range(FIELDS - 1)])).target == b"/a"


def test_a_head_and_a_target_of_exactly_the_bound_pass(parser: RequestParser) -> None:
    spare = HEAD - len(head(GET, b"X-A: "))
    assert parser.parse(head(GET, b"X-A: " + b"a" * spare)).target == b"/a"
    assert len(parser.parse(head(b"GET /%b HTTP/1.1" % (b"a" * (LINE - 1)))).target) == LINE


@pytest.mark.parametrize("cut", range(1, len(head(POST, b"Content-Length: 3"))))
def test_no_beginning_of_a_head_is_a_head(parser: RequestParser, cut: int) -> None:
    """Only whole heads are parsed; one cut short, closed by force, is never read as something else that is valid."""
    whole = head(POST, b"Content-Length: 3")
    forced = re.sub(rb"[\r\n]+\Z", b"", whole[:cut]) + b"\r\n\r\n"
    try:
        request = parser.parse(forced)
    except RefusedError:
        return
    assert request.target == b"/a"
    assert request.host in b"a.example"
    assert forced.startswith(b"POST /a HTTP/1.1\r\nHost: a")


@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.parametrize("more", [b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"abc\r\n\r\n", b"\n\r\n\r\n", b"Host: b\r\n\r\n",
                                  b"GET / HTTP/1.1\r\nHost: b\r\n\r\n"])
def test_what_holds_more_than_one_head_is_never_read_as_one(parser: RequestParser, name: str, more: bytes) -> None:
    """The connection passes what is short and ends like a head without looking for an end within."""
    with pytest.raises(SeveralHeadsError):
        parser.parse(ACCEPTED[name].data + more)
    assert parser.parse(head(GET)).target == b"/a"


@pytest.mark.parametrize("value", [b"close", b"keep-alive, close", b"keep-alive", b"upgrade"])
def test_a_proxy_connection_field_means_nothing_for_this_or_the_next_connection(parser: RequestParser,
                                                                                 value: bytes) -> None:
    assert parser.parse(head(GET, b"Proxy-Connection: " + value)).keep_alive
    assert parser.parse(head(GET)).target == b"/a"


def test_fields_that_connection_names_are_gone_before_anybody_looks(parser: RequestParser) -> None:
    request = parser.parse(head(GET, b"Connection: X-Turnout-Version, X-Other", b"X-Turnout-Version: new",
                                b"X-Other: 1", b"X-Third: 2"))
    assert request.header(b"x-turnout-version") is None
    assert b"".join(request.parts) == head(GET, b"Connection: X-Turnout-Version, X-Other", b"X-Third: 2")


def test_values_are_found_by_name_whatever_their_case(parser: RequestParser) -> None:
    request = parser.parse(head(GET, b"COOKIE: a=1", b"x-Turnout-version:  new ", b"cookie: b=2"))
    assert request.header(b"cookie") == b"a=1; b=2"
    assert request.header(b"x-turnout-version") == b"new"
    assert request.header(b"x-request-id") is None


def test_an_underscore_is_believed_only_where_the_operator_wrote_one(parser: RequestParser) -> None:
    request = parser.parse(head(GET, b"X_Turnout_Version: new", b"app_key: k"))
    assert request.header(b"x-turnout-version") is None
    assert request.header(b"app_key") == b"k"


def test_several_fields_of_one_name_are_joined(parser: RequestParser) -> None:
    request = parser.parse(head(GET, b"X-Forwarded-For: 1.1.1.1", b"X-A: b", b"X-Forwarded-For: 2.2.2.2"))
    assert request.header(b"x-forwarded-for") == b"1.1.1.1, 2.2.2.2"


def test_more_shapes_than_are_kept_are_read_alike() -> None:
    parser = RequestParser(line=LINE, head=HEAD, fields=128)
    def read(number: int) -> Request:
        names = [(b"X-Forwarded-%d: %d" % (bit, number)) for bit in range(12) if number >> bit & 1]
        return parser.parse(head(GET, *names))
    for number in range(1, 3000):
        read(number)
    assert read(2999).header(b"x-forwarded-0") == b"2999"
    assert read(2999).header(b"x-forwarded-2") == b"2999"
    assert read(2998).header(b"x-forwarded-0") is None
