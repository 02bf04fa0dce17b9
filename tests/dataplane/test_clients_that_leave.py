"""Clients that go away, in part or for good: the server is told at once, and who still listens is answered."""

from __future__ import annotations

import threading
import time

import pytest

from tests.support.origins import Origin, Peer, ok
from tests.support.story import Story, get, request

GONE_WITHIN_S = 1.5
"""0.25 s until it is asked, a sweep or two, and a machine that has other things to do."""


def working(story: Story, begun: bytes = b"") -> Origin:
    """A server that works for ever on a request, and is glad to hear that it need not."""
    def script(peer: Peer) -> None:
        peer.read_head()
        if begun:
            peer.send(begun)
        assert peer.read_to_end() == b""

    return story.origin(script)


def test_a_half_closed_client_gets_a_quick_answer(story: Story) -> None:
    client = story.client(story.worker(story.strict()))
    client.send(get("/quick"))
    client.half_close()
    answer = client.response()
    assert (answer.body, answer.interims) == (b"GET /quick 0", ())
    assert client.is_closed()


def test_a_half_closed_client_gets_a_slow_answer(story: Story) -> None:
    slowly = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_head()
        slowly.wait(10)
        peer.send(ok(b"slow"))

    client = story.client(story.worker(story.origin(script)))
    client.send(get())
    client.half_close()
    assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"  # it is asked whether it is there
    slowly.set()
    assert client.response().body == b"slow"
    assert client.is_closed()


@pytest.mark.parametrize("turn", range(5))
def test_an_answer_that_comes_in_the_same_moment_as_the_half_close_arrives(story: Story, turn: int) -> None:
    """The worker's loop stands still until both are there, and sees them in one turn."""
    now, said = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.read_head()
        now.wait(10)
        peer.send(ok(b"now %d" % turn))
        said.set()
        peer.read_to_end()

    worker = story.worker(story.origin(script))
    client = story.client(worker)
    client.send(get())
    worker.wait_until(lambda w: any(c.exchange is not None for c in w.clients))

    def both(_: object) -> None:
        now.set()
        assert said.wait(10)
        client.half_close()

    worker.call(both)
    assert client.response().body == b"now %d" % turn
    assert client.is_closed()


def test_a_half_closed_client_of_http_1_0_is_not_asked_and_gets_its_answer(story: Story) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.sock.settimeout(0.6)  # longer than it takes until a client is asked
        with pytest.raises(TimeoutError):
            peer.read()
        peer.send(ok(b"slow"))

    client = story.client(story.worker(story.origin(script)))
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    client.half_close()
    assert client.response().interims == ()


def test_a_client_that_resets_takes_its_request_along_at_once(story: Story) -> None:
    origin = working(story)
    worker = story.worker(origin)
    client = story.client(worker)
    client.send(get())
    origin.wait_until(lambda: origin.connections == 1)
    worker.wait_until(lambda w: any(c.exchange is not None for c in w.clients))
    begun = time.monotonic()
    client.reset()
    origin.wait_ended(1)
    assert time.monotonic() - begun < 0.5
    worker.wait_until(worker.is_quiet)
    assert worker.codes() == {499: 1}


def test_a_client_that_closes_is_missed_soon(story: Story) -> None:
    origin = working(story)
    worker = story.worker(origin)
    client = story.client(worker)
    client.send(get())
    origin.wait_until(lambda: origin.connections == 1)
    begun = time.monotonic()
    client.close()
    origin.wait_ended(1)
    assert time.monotonic() - begun < GONE_WITHIN_S
    worker.wait_until(worker.is_quiet)
    assert worker.codes() == {499: 1}


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_that_leaves_in_the_middle_of_the_answer_ends_it(story: Story, how: str) -> None:
    origin = working(story, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
    worker = story.worker(origin)
    client = story.client(worker)
    client.send(get())
    assert client.read_until(b"begun")
    getattr(client, how)()
    if how == "reset":
        origin.wait_ended(1)
        worker.wait_until(worker.is_quiet)
        assert worker.codes() == {499: 1}
    else:
        worker.expire(60.0)  # a quiet FIN may be a half-close: it is noticed at the next byte, or by the time-out
        origin.wait_ended(1)


def test_a_client_that_closes_in_the_middle_of_a_flowing_answer_ends_it(story: Story) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            peer.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")

    origin = story.origin(script)
    worker = story.worker(origin)
    client = story.client(worker)
    client.send(get())
    assert client.read_until(b"xxxx")
    client.close()
    origin.wait_ended(1)


@pytest.mark.parametrize("how", ["reset", "close", "half_close"])
@pytest.mark.parametrize("field", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_a_client_that_leaves_in_the_middle_of_its_body_ends_the_request(story: Story, how: str, field: str) -> None:
    origin = story.strict()
    worker = story.worker(origin)
    client = story.client(worker)
    client.send(request("POST", "/", field) + b"5\r\nhello\r\n")
    origin.wait_until(lambda: origin.connections == 1)
    getattr(client, how)()
    origin.wait_ended(1)
    assert origin.requests == []
    worker.wait_until(worker.is_quiet)
    assert worker.codes() == {499: 1}
    if how == "half_close":
        assert client.rest() == b""


def test_a_client_that_leaves_while_the_server_is_being_connected_leaves_nothing(story: Story) -> None:
    import socket

    with socket.socket() as full, socket.socket() as filler, socket.socket() as another:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for sock in (filler, another):
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        worker = story.worker(full.getsockname(), timeouts={"connect": 30.0})
        client = story.client(worker)
        client.send(get())
        worker.wait_until(lambda w: any(c.exchange is not None for c in w.clients))
        client.reset()
        worker.wait_until(worker.is_quiet)
        assert worker.call(lambda w: [task for task in w._tasks if not task.done()]) == []


def test_connect_and_vanish_costs_nothing(story: Story) -> None:
    worker = story.worker(story.strict())
    for number in range(200):
        client = story.client(worker)
        client.reset() if number % 2 else client.close()
    worker.wait_until(lambda w: not w.clients and w.counters.connections == 0)
    assert worker.ask(get("/after")).body == b"GET /after 0"
