"""Servers that answer while the request's body is still coming."""

from __future__ import annotations

import threading

import pytest

from tests.support.origins import Peer, ok
from tests.support.story import Story, get, request
from tests.support.wire import Wire

MIB = 1 << 20
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 100000\r\n\r\n" + b"n" * 100_000


def answering_at_once(peer: Peer) -> None:
    """Answers after the head and reads no body, but keeps the connection until the proxy ends it."""
    peer.read_head()
    peer.send(TOO_LARGE)
    peer.read_to_end()


def test_the_whole_answer_arrives_although_the_client_goes_on_sending(story: Story) -> None:
    client = story.client(story.worker(story.origin(answering_at_once)))
    client.send(request("POST", "/", f"Content-Length: {20 * MIB}"))
    sent = 0
    while sent < 20 * MIB and client.send_some(b"x" * 65536):
        sent += 65536
    assert sent == 20 * MIB, "it was reset while it was sending"
    answer = client.response()
    assert (answer.status, len(answer.body)) == (413, 100_000)
    assert answer.value(b"connection") == b"close"
    assert client.sock.recv(1) == b"", "the connection does not end in order"


def test_a_client_that_never_stops_sending_is_cut_in_the_end(story: Story) -> None:
    worker = story.worker(story.origin(answering_at_once))
    client = story.client(worker)
    client.send(request("POST", "/", "Transfer-Encoding: chunked"))
    worker.wait_until(lambda w: all(c.exchange is None for c in w.clients))
    for _ in range(8):
        client.send_some(b"1\r\nx\r\n")
        worker.pass_time(4.0)
        worker.wait_until(lambda w: w.clock() - w.now < 1)
    worker.wait_until(lambda w: not w.clients)


def test_the_server_is_sent_no_more_of_the_body(story: Story) -> None:
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(TOO_LARGE)
        peer.read_to_end()
        assert len(peer.got) < MIB
        ended.set()

    client = story.client(story.worker(story.origin(script)))
    client.send(request("POST", "/", f"Content-Length: {20 * MIB}"))
    assert client.response().status == 413
    assert ended.wait(5)
    assert client.send_some(b"x" * MIB)


@pytest.mark.parametrize("turn", range(10))
def test_an_answer_before_a_reset_is_heard(story: Story, turn: int) -> None:
    """The server closes with the body unread, which resets the connection: whoever notices first."""
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.read_exactly(1)
        peer.send(TOO_LARGE)  # and closes, with much of the body unread

    client = story.client(story.worker(story.origin(script)))
    uploading = threading.Thread(target=upload, args=(client, 4 * MIB + turn))
    uploading.start()
    answer = client.response()
    assert (answer.status, len(answer.body)) == (413, 100_000)
    uploading.join(10)
    client.close()


def upload(client: Wire, size: int) -> None:
    client.send_some(request("POST", "/", f"Content-Length: {size}"))
    for _ in range(size // 65536):
        if not client.send_some(b"x" * 65536):
            return


def test_a_client_that_stops_sending_because_of_the_answer_gets_it_whole(story: Story) -> None:
    more = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(TOO_LARGE[:1000])
        more.wait(5)
        peer.send(TOO_LARGE[1000:])
        peer.read_to_end()

    client = story.client(story.worker(story.origin(script)))
    client.send(request("POST", "/", f"Content-Length: {20 * MIB}") + b"some")
    client.read_until(b"\r\n\r\n")
    client.half_close()
    more.set()
    assert len(client.rest()) == 100_000


def test_an_answer_that_streams_while_the_body_streams_loses_nothing(story: Story) -> None:
    """An echo server: body and answer are under way at the same time, and both end."""
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (4 * MIB))
        left = 4 * MIB
        while left:
            data = peer.read()
            peer.send(data)
            left -= len(data)
        peer.read_to_end()

    client = story.client(story.worker(story.origin(script)))
    uploading = threading.Thread(target=upload, args=(client, 4 * MIB))
    uploading.start()
    assert client.response().body == b"x" * (4 * MIB)
    uploading.join(10)


def test_a_refusal_while_the_body_is_coming_closes_in_order(story: Story) -> None:
    worker = story.worker(story.strict())
    client = story.client(worker)
    client.send(b"POST / HTTP/1.1\r\nHost: not a host\r\nContent-Length: 3000000\r\n\r\n")
    assert client.send_some(b"x" * 3_000_000)
    assert client.response().status == 400
    assert client.sock.recv(1) == b""


def test_the_body_of_a_request_without_a_route_is_no_request(story: Story) -> None:
    from proxy.core.route import Match, Route

    origin = story.strict()
    worker = story.worker(origin, routes=(Route("all", Match(path="/known"), (("old", 1.0),), "old"),))
    client = story.client(worker)
    client.send(request("POST", "/unknown", body=get("/known/smuggled")))
    assert client.response().status == 404
    assert client.rest() == b""
    assert origin.requests == []


def test_a_server_that_answered_without_reading_the_body_is_not_used_again(story: Story) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(ok(b"%d" % peer.number))
        done.wait(10)

    done = threading.Event()
    origin = story.origin(script)
    worker = story.worker(origin)
    client = story.client(worker)
    body = request("POST", "/", body=b"x" * (16 * MIB))
    uploading = threading.Thread(target=client.send_some, args=(body,))
    uploading.start()
    assert client.response().body == b"0"
    uploading.join(10)
    assert story.client(worker).ask(get()).body == b"1"
    done.set()
