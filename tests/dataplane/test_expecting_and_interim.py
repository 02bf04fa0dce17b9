"""Expect: 100-continue and other interim answers."""

from __future__ import annotations

import threading

from tests.support.origins import Peer, ok
from tests.support.story import Story, get, request

EXPECTING = request("POST", "/upload", "Expect: 100-continue", "Content-Length: 4")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def continuing(peer: Peer) -> None:
    while head := peer.read_head():
        assert b"Expect: 100-continue\r\n" in head
        assert peer.leftover == b""
        peer.send(CONTINUE)
        peer.send(ok(peer.read_exactly(4)))


def test_the_server_is_asked_whether_the_body_may_come(story: Story) -> None:
    client = story.client(story.worker(story.origin(continuing)))
    for _ in range(2):
        client.send(EXPECTING)
        assert client.read_until(b"\r\n\r\n") == CONTINUE
        client.send(b"body")
        assert client.response().body == b"body"


def test_a_late_continue_is_waited_for_as_long_as_an_answer(story: Story) -> None:
    late = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_head()
        late.wait(10)
        peer.send(CONTINUE)
        peer.send(ok(peer.read_exactly(4)))

    worker = story.worker(story.origin(script), timeouts={"request_idle": 1.0, "response_head": 60.0})
    client = story.client(worker)
    client.send(EXPECTING)
    worker.wait_until(lambda w: bool(w.clients))
    worker.expire(20.0)
    worker.wait_until(lambda w: w.now - w.clock() < 1)
    late.set()
    assert client.read_until(b"\r\n\r\n") == CONTINUE
    client.send(b"body")
    assert client.response().body == b"body"


def test_a_server_that_refuses_the_expectation_is_heard_before_the_body(story: Story) -> None:
    for status in (b"417 Expectation Failed", b"401 Unauthorized"):
        def script(peer: Peer, status: bytes = status) -> None:
            peer.read_head()
            peer.send(b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\nno" % status)
            assert peer.read_to_end() == b""

        origin = story.origin(script)
        client = story.client(story.worker(origin))
        answer = client.ask(EXPECTING)
        assert (answer.status, answer.body) == (int(status[:3]), b"no")
        assert answer.value(b"connection") == b"close"
        origin.wait_ended(1)
        client.close()


def test_a_client_may_go_on_by_itself_when_the_server_never_says_continue(story: Story) -> None:
    client = story.client(story.worker(story.strict()))
    client.send(EXPECTING)
    client.send(b"body")
    assert client.response().body == b"POST /upload 4"


def test_a_server_that_neither_continues_nor_answers_is_given_up(story: Story) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.read_to_end()

    origin = story.origin(script)
    worker = story.worker(origin, timeouts={"response_head": 5.0})
    client = story.client(worker)
    client.send(EXPECTING)
    origin.wait_until(lambda: origin.connections == 1)
    worker.expire(5.0)
    assert client.response().status == 504
    origin.wait_ended(1)


def test_an_unknown_expectation_is_refused(story: Story) -> None:
    assert story.worker(story.strict()).ask(request("POST", "/", "Expect: miracles", body=b"x")).status == 417


def test_an_expectation_of_http_1_0_is_ignored(story: Story) -> None:
    origin = story.strict()
    client = story.client(story.worker(origin))
    client.send(b"POST / HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody")
    assert client.response().body == b"POST / 4"
    assert origin.requests[0].value(b"expect") is None


def test_interim_answers_are_forwarded_in_order(story: Story) -> None:
    def script(peer: Peer) -> None:
        while peer.read_head():
            peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
            peer.send(b"HTTP/1.1 102 Processing\r\n\r\n" + ok(b"done"))

    client = story.client(story.worker(story.origin(script)))
    for _ in range(2):
        client.send(get())
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        answer = client.response()
        assert (answer.interims, answer.body) == ((102,), b"done")


def test_an_http_1_0_client_sees_no_interim_answer(story: Story) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + ok(b"done"))

    client = story.client(story.worker(story.origin(script)))
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    answer = client.response()
    assert (answer.interims, answer.body) == ((), b"done")


def test_a_server_that_only_ever_sends_interim_answers_is_given_up(story: Story) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 40)
        peer.read_to_end()

    answer = story.worker(story.origin(script)).ask(get())
    assert answer.status == 502
    assert len(answer.interims) == 32
