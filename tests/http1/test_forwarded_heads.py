"""Heads as they leave: what is removed, what is added, and that everything else passes byte for byte."""

from __future__ import annotations

import pytest

from proxy.http1.forward import Hop, request_head, response_head, with_host
from proxy.http1.request import RequestParser
from proxy.http1.response import ResponseParser
from tests.support.strict import take_request, take_response

STRANGER = Hop("192.0.2.7", trusted=False)
FRIEND = Hop("10.0.0.1", trusted=True)
LOCAL = Hop("", trusted=False)
HOST = b"Host: a.example"
OURS = (b"X-Request-Id: id", b"Via: 1.1 turnout")


def lines(head: bytes) -> list[bytes]:
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].split(b"\r\n")


def sent(*fields: bytes, line: bytes = b"GET /a HTTP/1.1", hop: Hop = STRANGER) -> list[bytes]:
    """The lines that a server gets, and their set must be the whole truth."""
    parser = RequestParser(line=1024, head=4096, fields=64)
    head = request_head(parser.parse(b"\r\n".join((line, *fields)) + b"\r\n\r\n"), hop, b"id")
    if b"Host:" in head:
        framed = head.replace(b"Content-Length: 4", b"Content-Length: 0")
        assert take_request(framed + (b"0\r\n\r\n" if b"Transfer-Encoding" in framed else b"")) is not None
    return lines(head)


def forwarded(peer: bytes = b"192.0.2.7", proto: bytes = b"http", host: bytes = b"a.example") -> list[bytes]:
    return [b"X-Forwarded-For: " + peer, b"X-Forwarded-Proto: " + proto, b"X-Forwarded-Host: " + host]


def test_a_plain_request_passes_with_our_fields_at_its_end() -> None:
    assert sent(HOST, b"accept:*/*", b"Cookie: a=b ; c", b"X-Odd:\t caf\xe9 ") == [
        b"GET /a HTTP/1.1", HOST, b"accept:*/*", b"Cookie: a=b ; c", b"X-Odd:\t caf\xe9 ", *forwarded(), *OURS]


def test_a_client_on_a_unix_socket_has_no_address() -> None:
    assert sent(HOST, hop=LOCAL) == [b"GET /a HTTP/1.1", HOST, *forwarded()[1:], *OURS]


@pytest.mark.parametrize("field", [
    b"Connection: keep-alive", b"Connection: close", b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive",
    b"TE: gzip", b"Trailer: X-Sum", b"Upgrade: websocket", b"HTTP2-Settings: x", b"Expect: 100-continue",
    b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Proto: https", b"X-Forwarded-Host: evil", b"X-Forwarded-Port: 1",
    b"X-Forwarded-Anything: 1", b"Forwarded: for=1.2.3.4", b"X-Real-IP: 1.2.3.4", b"X-Request-Id: forged",
    b"X_Forwarded_For: 1.2.3.4", b"x_real_ip: 1", b"Transfer_Encoding: chunked", b"Content_Length: 7",
    b"X-Forwarded_For: 1", b"X_Request_Id: 1",
])
def test_what_a_stranger_says_about_the_hop_or_about_himself_does_not_go_on(field: bytes) -> None:
    assert sorted(sent(HOST, b"A: b", field, b"C: d")) == sorted(sent(HOST, b"A: b", b"C: d"))
    assert sorted(sent(b"A: b", field, HOST, b"TE: x")) == sorted(sent(b"A: b", HOST))


def test_fields_that_connection_names_do_not_go_on_but_ours_and_protected_ones_do() -> None:
    named = b"Connection: X-Hop, Host, Cookie, X-Forwarded-For, X-Request-Id, Via, Content-Length, close"
    got = sent(HOST, b"X-Hop: 1", b"Cookie: a", b"Via: 1.0 x", b"Content-Length: 4", named, line=b"POST /a HTTP/1.1")
    assert sorted(got) == sorted([b"POST /a HTTP/1.1", HOST, b"Cookie: a", b"Via: 1.0 x", b"Content-Length: 4",
                                  *forwarded(), *OURS])


def test_a_trusted_proxy_is_believed_and_continued() -> None:
    got = sent(HOST, b"X-Forwarded-For: 1.2.3.4, 5.6.7.8", b"X-Forwarded-Proto: https",
               b"X-Forwarded-Host: shop.example", b"X-Forwarded-Port: 443", b"X-Real-IP: 1.2.3.4",
               b"Forwarded: for=1.2.3.4", b"X_Forwarded_For: 6.6.6.6", hop=FRIEND)
    assert sorted(got) == sorted([
        b"GET /a HTTP/1.1", HOST, b"X-Forwarded-Port: 443", b"X-Real-IP: 1.2.3.4", b"Forwarded: for=1.2.3.4",
        *forwarded(b"1.2.3.4, 5.6.7.8, 10.0.0.1", b"https", b"shop.example"), *OURS])


def test_a_trusted_proxy_that_says_nothing_counts_as_the_client() -> None:
    assert sorted(sent(HOST, hop=FRIEND)) == sorted([b"GET /a HTTP/1.1", HOST, *forwarded(b"10.0.0.1"), *OURS])


@pytest.mark.parametrize(("fields", "framing"), [
    ((b"Content-Length: 0004",), b"Content-Length: 4"),
    ((b"Content-Length: 0",), b"Content-Length: 0"),
    ((b"transfer-encoding:\tChunked ",), b"Transfer-Encoding: chunked"),
])
def test_framing_is_written_anew(fields: tuple[bytes, ...], framing: bytes) -> None:
    got = sent(HOST, *fields, line=b"POST /a HTTP/1.1")
    assert [line for line in got if line.lower().startswith((b"content-length", b"transfer-encoding"))] == [framing]


def test_an_expectation_goes_on_only_with_a_body_to_wait_for() -> None:
    assert b"Expect: 100-continue" in sent(HOST, b"Expect: 100-continue", b"Content-Length: 4",
                                           line=b"POST /a HTTP/1.1")
    assert not any(b"Expect" in line for line in sent(HOST, b"Expect: 100-continue"))


def test_an_upgrade_goes_on_when_connection_asks_for_it_and_it_is_not_to_http2() -> None:
    websocket = sent(HOST, b"Connection: Upgrade, keep-alive", b"Upgrade: websocket", b"Sec-WebSocket-Key: k")
    assert [line for line in websocket if b"pgrade" in line] == [b"Connection: upgrade", b"Upgrade: websocket"]
    assert sent(HOST, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x") == sent(HOST)


def test_willingness_to_take_trailers_goes_on() -> None:
    got = sent(HOST, b"TE: trailers, gzip", b"Connection: TE")
    assert b"TE: trailers" in got
    assert b"Connection: TE" in got


@pytest.mark.parametrize("line", [b"GET http://a.example/a HTTP/1.1", b"GET HTTP://A.example/a HTTP/1.0"])
def test_an_absolute_form_becomes_a_path_and_a_host(line: bytes) -> None:
    got = sent(HOST, line=line)
    assert got[0] == b"GET /a HTTP/1.1"
    assert len([one for one in got if one.lower().startswith(b"host:")]) == 1


@pytest.mark.parametrize("host", [(), (b"Host:",), (b"Host: \t ",), (b"Host: A.EXAMPLE",)])
def test_the_authority_of_an_absolute_form_is_the_host_that_goes_on(host: tuple[bytes, ...]) -> None:
    got = sent(*host, line=b"GET http://a.example/a HTTP/1.0")
    assert [line.translate(None, b" \t") for line in got if line.lower().startswith(b"host:")] == [b"Host:a.example"]


@pytest.mark.parametrize("host", [(), (b"Host:",), (b"Host: \t ",)])
def test_a_request_of_1_0_gets_the_one_host_it_lacks(host: tuple[bytes, ...]) -> None:
    got = sent(*host, b"A: b", line=b"GET /a HTTP/1.0")
    assert sorted(got) == sorted([b"GET /a HTTP/1.1", b"A: b", *forwarded()[:2], *OURS])
    assert lines(with_host(b"\r\n".join(got) + b"\r\n\r\n", b"server:80"))[:2] == [
        b"GET /a HTTP/1.1", b"Host: server:80"]


# ---- answers

FIVE = b"Content-Length: 5"


def told(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK", method: bytes = b"GET", keep_alive: bool = True,
         to_minor: int = 1, chunked: bool = False, set_cookie: bytes | None = None) -> list[bytes]:
    data = b"\r\n".join((line, *fields)) + b"\r\n\r\n"
    response = ResponseParser(head=4096, fields=64).parse(data, len(data), method)
    head = response_head(response, keep_alive=keep_alive, to_minor=to_minor, chunked=chunked, set_cookie=set_cookie)
    if response.status >= 200:
        body = b"5\r\n12345\r\n0\r\n\r\n" if chunked else b"12345"
        bodiless = method == b"HEAD" or response.status in (204, 304)
        assert take_response(head + (b"" if bodiless else body), method, closed=not keep_alive) is not None
    return lines(head)


def test_a_plain_answer_passes_byte_for_byte() -> None:
    fields = (b"server:x", FIVE, b"Set-Cookie: a", b"Set-Cookie: b", b"X-Odd: caf\xe9 ")
    assert told(*fields) == [b"HTTP/1.1 200 OK", *fields]


@pytest.mark.parametrize("field", [
    b"Connection: keep-alive", b"Connection: close", b"Keep-Alive: timeout=5", b"Proxy-Connection: close", b"TE: x",
    b"Trailer: X-Sum", b"Upgrade: h2c", b"Transfer_Encoding: chunked", b"content_length: 7",
])
def test_what_a_server_says_about_the_hop_does_not_go_on(field: bytes) -> None:
    assert told(FIVE, b"A: b", field, b"C: d") == [b"HTTP/1.1 200 OK", FIVE, b"A: b", b"C: d"]


def test_fields_that_connection_names_do_not_reach_the_client() -> None:
    assert told(FIVE, b"X-Hop: 1", b"Connection: x-hop, content-length") == [b"HTTP/1.1 200 OK", FIVE]


def test_the_end_of_the_connection_is_announced() -> None:
    assert told(FIVE, keep_alive=False) == [b"HTTP/1.1 200 OK", FIVE, b"Connection: close"]


def test_a_client_of_1_0_is_told_that_the_connection_stays() -> None:
    assert told(FIVE, to_minor=0) == [b"HTTP/1.1 200 OK", FIVE, b"Connection: keep-alive"]


def test_an_answer_of_1_0_leaves_as_1_1() -> None:
    assert told(FIVE, line=b"HTTP/1.0 200 OK") == [b"HTTP/1.1 200 OK", FIVE]
    assert told(line=b"HTTP/1.0 200 OK", chunked=True) == [b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked"]


@pytest.mark.parametrize(("line", "fields", "left"), [
    (b"HTTP/1.1 204 No Content", (FIVE,), ()),
    (b"HTTP/1.1 204 No Content", (b"Transfer-Encoding: chunked",), ()),
    (b"HTTP/1.1 304 Not Modified", (FIVE,), (FIVE,)),
    (b"HTTP/1.1 304 Not Modified", (b"Transfer-Encoding: chunked",), ()),
    (b"HTTP/1.1 103 Early Hints", (FIVE, b"Link: </a>"), (b"Link: </a>",)),
    (b"HTTP/1.1 100 Continue", (b"Connection: close",), ()),
])
def test_what_has_no_body_is_framed_as_such(line: bytes, fields: tuple[bytes, ...], left: tuple[bytes, ...]) -> None:
    assert told(*fields, line=line) == [line, *left]


def test_an_answer_to_head_keeps_the_length_of_the_body_it_does_not_have() -> None:
    assert told(FIVE, method=b"HEAD") == [b"HTTP/1.1 200 OK", FIVE]
    assert told(b"Transfer-Encoding: chunked", method=b"HEAD") == [b"HTTP/1.1 200 OK"]


def test_a_switch_of_protocols_says_which_one() -> None:
    assert told(b"Connection: Upgrade, X-Hop", b"Upgrade: websocket", b"X-Hop: 1", line=b"HTTP/1.1 101 Switching") == [
        b"HTTP/1.1 101 Switching", b"Connection: upgrade", b"Upgrade: websocket"]


@pytest.mark.parametrize(("keep_alive", "option"), [(True, b"upgrade"), (False, b"upgrade, close")])
def test_a_demand_for_an_upgrade_says_which_one(keep_alive: bool, option: bytes) -> None:
    assert told(FIVE, b"Upgrade: websocket", b"Connection: upgrade", line=b"HTTP/1.1 426 Upgrade Required",
                keep_alive=keep_alive) == [b"HTTP/1.1 426 Upgrade Required", FIVE, b"Connection: " + option,
                                           b"Upgrade: websocket"]


def test_a_cookie_of_our_own_is_added_to_those_of_the_server() -> None:
    assert told(FIVE, b"Set-Cookie: a", set_cookie=b"turnout=k") == [
        b"HTTP/1.1 200 OK", FIVE, b"Set-Cookie: a", b"Set-Cookie: turnout=k"]
