from __future__ import annotations

import select
from pathlib import Path

import pytest

from proxy.cli.client import Api, Refused, Unreachable
from proxy.cli.sse import Message, messages
from tests.support.origins import Origin, Peer, Script, answering_then_closing
from tests.support.scripted_api import Answer, refusal, scripted


def said_by(script: Script, method: str = "GET", timeout_s: float = 5.0) -> Unreachable:
    with Origin(script) as origin, pytest.raises(Unreachable) as caught:
        Api(origin.url, timeout_s=timeout_s).ask(method, "/api/v1/status")
    return caught.value


@pytest.mark.parametrize(("answer", "said"), [
    (b"", "closed the connection without an answer"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
    (b"\x15\x03\x01\x00\x02\x02\x46", "speaks TLS"),
    (b"\x15\x03\x03\x00\x02\x02\x0a\r\n", "speaks TLS"),
    (b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 5\r\n\r\n<h1>a", "admin API (status 200, from nginx)"),
    (b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 2\r\n\r\n{}", "not Turnout's admin API (status 302"),
    (b"HTTP/1.1 404 X\r\nContent-Length: 2\r\n\r\n[]", "not Turnout's admin API (status 404"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", "broke off"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "not Turnout's admin API (status 200"),
    (b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000, "not Turnout's admin API (status 200"),
    (b"HTTP/1.1 200 OK\r\nServer: \x1b]0;title\x07\r\nContent-Length: 1\r\n\r\nx", "from \N{REPLACEMENT CHARACTER}]0;"),
])
def test_whatever_is_not_the_admin_api_is_told_as_such(answer: bytes, said: str) -> None:
    assert said in str(said_by(answering_then_closing(answer)))


def waiting(peer: Peer) -> None:
    peer.read_to_end()


def test_a_server_that_says_nothing_is_given_up_and_a_change_may_have_been_made() -> None:
    assert not said_by(waiting, timeout_s=0.05).asked
    error = said_by(waiting, "POST", timeout_s=0.05)
    assert error.asked
    assert "gave no answer in time" in str(error)


def left(peer: Peer) -> bool:
    """Whether it closes within a hundredth of a second, which is also the pace of those who drip."""
    return bool(select.select([peer.sock], [], [], 0.01)[0])


def dripping(peer: Peer) -> None:
    peer.read_head()
    peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while not left(peer):
        peer.send(b" ")


def continuing(peer: Peer) -> None:
    peer.read_head()
    while not left(peer):
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize("script", [dripping, continuing])
def test_a_server_that_never_comes_to_an_end_is_given_up(script: Script) -> None:
    said_by(script, timeout_s=0.1)


def test_a_server_that_closes_after_a_change_may_have_made_it() -> None:
    assert said_by(answering_then_closing(b""), "POST").asked


def test_nobody_there_has_done_nothing(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no such file") as caught:
        Api(f"unix:{tmp_path / 'nobody'}").ask("POST", "/api/v1/rollback")
    assert not caught.value.asked


def test_a_token_that_is_no_line_of_text_is_not_sent() -> None:
    with Origin(waiting) as origin, pytest.raises(Unreachable, match="TURNOUT_TOKEN cannot be sent"):
        Api(origin.url, token="a\r\nb").get("/")


def test_method_body_and_token_are_sent() -> None:
    with scripted({"PUT /x": Answer({"ok": True})}) as (url, api):
        assert Api(url, token="secret").ask("PUT", "/x", {"a": 1}, {"If-Match": '"84"'}) == {"ok": True}
    assert api.body() == {"a": 1}
    assert api.last.value(b"authorization") == b"Bearer secret"
    assert api.last.value(b"content-type") == b"application/json"
    assert api.last.value(b"if-match") == b'"84"'


def test_a_refusal_carries_what_the_problem_says() -> None:
    too_many = refusal(429, "", "too many", "Retry-After: 6\r\n")
    with scripted({"GET /x": too_many}) as (url, _), pytest.raises(Refused) as caught:
        Api(url).get("/x")
    assert (caught.value.status, caught.value.kind, caught.value.retry_after) == (429, "", "6")
    with scripted({}) as (url, _), pytest.raises(Refused) as caught:
        Api(url).get("/x")
    assert caught.value.kind == "unknown-route"


STREAM = b"""\
retry: 2000

: still here

id: 7
event: split
data: {"id": 7}

data: two
data: lines

event: lagged
data:

id: 9
data: cut off"""


def test_a_stream_is_read_as_browsers_read_it() -> None:
    lines = STREAM.replace(b"\n", b"\r\n").splitlines(keepends=True)
    assert list(messages(lines)) == [
        Message("7", "split", '{"id": 7}'), Message("7", "message", "two\nlines"), Message("7", "lagged", "")]


def test_a_stream_comes_in_chunks_and_ends_with_them() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (STREAM[:40], STREAM[40:])) + b"0\r\n\r\n"
    with Origin(answering_then_closing(head + chunks)) as origin:
        assert [message.event for message in Api(origin.url).stream("/s", "6")] == ["split", "message", "lagged"]
    assert b"Last-Event-ID: 6\r\n" in origin.peers[0].got


def test_a_stream_that_is_refused_says_why() -> None:
    enough = refusal(503, "", "64 streams are open already")
    with scripted({"GET /s": enough}) as (url, _), pytest.raises(Refused, match="64 streams"):
        list(Api(url).stream("/s"))


def test_a_stream_that_is_none_is_not_the_admin_api() -> None:
    with scripted({"GET /s": Answer({})}) as (url, _), pytest.raises(Unreachable, match="is not Turnout's admin API"):
        list(Api(url).stream("/s"))


def test_a_message_without_an_end_is_not_kept() -> None:
    with pytest.raises(ValueError, match="1 MiB"):
        list(messages(iter([b"data: " + b"x" * 10_000 + b"\n"] * 200)))
