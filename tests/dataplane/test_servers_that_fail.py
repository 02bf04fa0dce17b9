"""Servers that refuse, hang up, break or stay silent: what the client sees, and what is tried again."""

from __future__ import annotations

import errno
import json
import socket

import pytest

from proxy.core.route import HeaderMatch, Match, Route
from tests.support.origins import Origin, Peer, Script, answering, answering_then_closing, ok
from tests.support.story import Story, dead_address, full_backlog, get, request
from tests.support.wire import Wire
from tests.support.worker import server_at

CUT = {
    "sized": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
    "in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\npart",
    "before the trailers end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n",
}


def resetting_after(data: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(data)
        gone(peer)
    return script


def gone(peer: Peer) -> None:
    """End with RST once the proxy has read everything: a reset destroys what is still unread."""
    import fcntl
    import struct
    import termios
    import time
    sent = bytearray(4)
    while True:
        fcntl.ioctl(peer.sock, termios.TIOCOUTQ, sent)
        if struct.unpack("i", sent)[0] == 0:
            break
        time.sleep(0.001)
    peer.reset()


@pytest.mark.parametrize("how", CUT)
@pytest.mark.parametrize("end", ["closes", "resets"])
def test_a_cut_answer_is_visibly_cut_for_http_1_1(story: Story, how: str, end: str) -> None:
    origin = story.origin(answering_then_closing(CUT[how]) if end == "closes" else resetting_after(CUT[how]))
    worker = story.worker(origin)
    client = story.client(worker)
    client.send(get())
    head = client.read_until(b"\r\n\r\n")
    rest = client.rest()
    if b"Content-Length" in head:
        assert len(rest) < 100
    else:
        assert not rest.endswith(b"0\r\n\r\n")
    assert worker.codes() == {502: 1}
    assert worker.count("upstream_errors_total", "old", origin.url, "bad-gateway") == 1


@pytest.mark.parametrize("how", ["chunked", "in a chunk", "before the trailers end"])
def test_a_cut_answer_is_a_reset_for_http_1_0_where_its_end_is_the_only_sign(story: Story, how: str) -> None:
    client = story.client(story.worker(story.origin(answering_then_closing(CUT[how]))))
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert ends_with_reset(client)


def test_an_answer_until_close_that_is_reset_is_broken_for_everybody(story: Story) -> None:
    begun = b"HTTP/1.1 200 OK\r\n\r\npart"
    worker = story.worker(story.origin(resetting_after(begun)))
    client = story.client(worker)
    client.send(get())
    assert not client.rest().endswith(b"0\r\n\r\n")
    old = story.client(worker)
    old.send(b"GET / HTTP/1.0\r\n\r\n")
    assert ends_with_reset(old)


def ends_with_reset(client: Wire) -> bool:
    """Read to the end; whether that end was a reset."""
    try:
        while client.sock.recv(1000):
            continue
    except ConnectionResetError:
        return True
    return False


def closing_after_one_answer(story: Story) -> Origin:
    """Its first connection looks as if it could be kept, and breaks on the second request."""
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(ok(b"%d" % peer.number))
        if peer.number == 0:
            peer.read_head()
        else:
            peer.read_to_end()

    return story.origin(script)


def test_a_retry_is_routed_by_the_request_as_it_came_not_as_it_left(story: Story) -> None:
    origin = closing_after_one_answer(story)
    claimed = Match(headers=(HeaderMatch("x-forwarded-proto", "https"),))
    worker = story.worker(origin, routes=(Route("all", claimed, (("old", 1.0),), "old"),))
    client = story.client(worker)
    assert client.ask(get("/", "X-Forwarded-Proto: https")).body == b"0"
    assert client.ask(get("/", "X-Forwarded-Proto: https")).body == b"1"
    assert worker.count("retries_total", "all", "old") == 1


def test_a_get_on_a_connection_that_proved_stale_is_sent_again_on_a_new_one(story: Story) -> None:
    origin = closing_after_one_answer(story)
    worker = story.worker(origin)
    client = story.client(worker)
    assert client.ask(get()).body == b"0"
    assert client.ask(get()).body == b"1"
    assert worker.count("retries_total", "all", "old") == 1
    assert worker.codes() == {200: 2}


def test_a_post_that_may_have_been_read_is_not_sent_again(story: Story) -> None:
    origin = closing_after_one_answer(story)
    worker = story.worker(origin)
    client = story.client(worker)
    assert client.ask(get()).body == b"0"
    refused = client.ask(request("POST", "/", body=b"pay"))
    assert refused.status == 502
    assert json.loads(refused.body)["culprit"] == "upstream"
    assert origin.connections == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_connection_that_is_known_to_be_stale_is_not_risked(story: Story, method: str) -> None:
    """The server has closed, but the worker's loop has not heard of it yet."""
    def script(peer: Peer) -> None:
        while peer.read_head():
            peer.read_exactly(3 if peer.number else 0)
            peer.send(ok(b"%d" % peer.number))

    origin = story.origin(script)
    worker = story.worker(origin)
    client = story.client(worker)
    assert client.ask(get()).body == b"0"

    def request_and_close_at_once(_: object) -> None:
        origin.peers[0].sock.shutdown(socket.SHUT_RDWR)
        (connection,) = worker.pool(origin).idle
        assert connection.seems_stale()
        (served,) = worker.worker.clients
        served.data_received(request(method, "/", body=b"pay"))

    worker.call(request_and_close_at_once)
    assert client.response().body == b"1"
    assert worker.count("retries_total", "all", "old") == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_a_server_says_in_the_moment_it_is_asked_is_not_taken_for_the_answer(story: Story, method: str) -> None:
    """An idle connection on which it says that it had enough, just when a request is about to go out on it."""
    def script(peer: Peer) -> None:
        while peer.read_head():
            peer.send(ok(b"%d" % peer.number))

    origin = story.origin(script)
    worker = story.worker(origin)
    client = story.client(worker)
    assert client.ask(get()).body == b"0"

    def both(_: object) -> None:
        client.send(request(method, "/"))
        origin.peers[0].send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    worker.call(both)
    assert client.response().body == b"1"


def hangs_up(peer: Peer) -> None:
    peer.read_head()


def test_a_server_that_hangs_up_before_its_answer_is_not_asked_twice(story: Story) -> None:
    origin = story.origin(hangs_up)
    worker = story.worker(origin)
    assert worker.ask(get()).status == 502
    assert origin.connections == 1
    assert worker.count("upstream_errors_total", "old", origin.url, "bad-gateway") == 1


def test_a_post_whose_server_hangs_up_is_sent_to_nobody_else(story: Story) -> None:
    first, second = story.origin(hangs_up), story.origin(hangs_up)
    worker = story.worker(first, second)
    assert worker.ask(request("POST", "/", body=b"pay")).status == 502
    assert first.connections + second.connections == 1


def test_a_server_killed_before_its_answer_is_replaced_by_another(story: Story) -> None:
    def dying(peer: Peer) -> None:
        peer.read_head()

    first, second = story.origin(dying), story.strict()
    worker = story.worker(first, second)
    for number in range(6):
        assert worker.ask(get(f"/{number}")).body == b"GET /%d 0" % number


def test_a_server_that_accepts_and_closes_at_once_leaves_nobody_waiting(story: Story) -> None:
    origin = story.origin(lambda _: None)
    worker = story.worker(origin)
    client = story.client(worker)
    for _ in range(30):
        assert client.ask(get()).status == 502


def test_a_refused_connection_sends_even_a_post_to_another_server(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(dead_address(), origin, dead_address())
    client = story.client(worker)
    for number in range(6):
        assert client.ask(request("POST", f"/{number}", body=b"pay")).body == b"POST /%d 3" % number
    assert len(origin.requests) == 6
    assert set(worker.codes()) == {200}


def test_every_server_refusing_is_a_502_that_names_the_culprit(story: Story) -> None:
    first, second = dead_address(), dead_address()
    worker = story.worker(first, second)
    client = story.client(worker)
    refused = client.ask(get())
    assert (refused.status, refused.value(b"content-type")) == (502, b"application/problem+json")
    problem = json.loads(refused.body)
    assert (problem["culprit"], problem["type"]) == ("upstream", "urn:turnout:refusal:connect-failed")
    text = client.ask(get("/", "Accept: text/html,*/*"))
    assert text.value(b"content-type") == b"text/plain; charset=utf-8"
    assert b"At fault: upstream." in text.body
    assert worker.codes() == {502: 2}
    assert worker.count("retries_total", "all", "old") == 2
    assert sum(worker.count("upstream_errors_total", "old", server_at(address).address, "connect-failed")
               for address in (first, second)) == 4
    assert worker.count("refusals_total", "connect-failed") == 2


def test_a_server_that_does_not_accept_is_a_504_after_the_connect_timeout(story: Story) -> None:
    import time

    with full_backlog() as address:
        worker = story.worker(address, timeouts={"connect": 0.3})
        begun = time.monotonic()
        refused = worker.ask(get())
        assert 0.25 < time.monotonic() - begun < 0.9
        assert refused.status == 504
        assert json.loads(refused.body)["type"] == "urn:turnout:refusal:connect-timeout"


def test_a_server_that_does_not_accept_is_passed_over_for_another(story: Story) -> None:
    with full_backlog() as address:
        origin = story.strict()
        worker = story.worker(address, origin, timeouts={"connect": 0.2})
        assert {worker.ask(request("POST", "/", body=b"x")).status for _ in range(4)} == {200}


@pytest.mark.parametrize("nonsense", [
    b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello", b"\x15\x03\x01\x00\x02\x02\x46",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
])
def test_an_answer_that_is_no_http_is_a_502_and_never_repeated(story: Story, nonsense: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(nonsense)
        peer.read_to_end()

    origin = story.origin(script)
    assert story.worker(origin).ask(get()).status == 502
    assert origin.connections == 1


def test_a_half_head_and_the_end_is_a_502_and_never_repeated(story: Story) -> None:
    origin = story.origin(answering_then_closing(b"HTTP/1.1 200 OK\r\nContent-"))
    assert story.worker(origin).ask(get()).status == 502
    assert origin.connections == 1


def test_an_error_of_the_server_is_passed_on_and_not_repeated(story: Story) -> None:
    origin = story.origin(answering(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"))
    worker = story.worker(origin)
    answer = worker.ask(get())
    assert (answer.status, answer.body) == (503, b"busy")
    assert worker.codes() == {503: 1}
    assert origin.connections == 1


def test_a_reset_is_told_and_forgotten_though_no_descriptor_is_left(
        story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server may have said before is read by a second descriptor."""
    def exhausted(_: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    worker = story.worker(story.origin(resetting_after(b"")))
    monkeypatch.setattr("proxy.dataplane.servers.os.dup", exhausted)
    client = story.client(worker)
    assert client.ask(request("POST", "/")).status == 502
    worker.wait_until(lambda inner: not any(pool.connections for pool in inner.site.pools.values()))
