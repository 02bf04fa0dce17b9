"""Deadlines: who is waited for, how long, and what is said when it was in vain."""

from __future__ import annotations

import contextlib
import json
import socket
import threading

import pytest

from tests.support.origins import Peer, answering, ok
from tests.support.story import Story, WatchedWorker, get, request


def in_exchange(worker: WatchedWorker, count: int = 1) -> None:
    worker.wait_until(lambda w: sum(c.exchange is not None for c in w.clients) == count)


def silent(peer: Peer) -> None:
    peer.read_head()
    assert peer.read_to_end() is not None


def culprit(body: bytes) -> str:
    return str(json.loads(body)["culprit"])


def test_a_server_that_never_answers_is_a_504_and_hears_of_it(story: Story) -> None:
    origin = story.origin(silent)
    worker = story.worker(origin, timeouts={"response_head": 60.0})
    client = story.client(worker)
    client.send(get())
    in_exchange(worker)
    worker.expire(60.0)
    refused = client.response()
    assert (refused.status, culprit(refused.body)) == (504, "upstream")
    origin.wait_ended(1)
    assert origin.connections == 1
    assert worker.codes() == {504: 1}
    assert worker.count("upstream_errors_total", "old", origin.url, "gateway-timeout") == 1
    client.send(get())  # the client's connection is as good as before
    in_exchange(worker)
    client.close()


def test_an_answer_after_its_deadline_reaches_nobody(story: Story) -> None:
    late = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_head()
        if peer.number == 0:
            late.wait(10)
        peer.send(ok(b"%d" % peer.number))
        peer.read_to_end()

    worker = story.worker(story.origin(script), timeouts={"response_head": 60.0})
    client = story.client(worker)
    client.send(get("/0"))
    in_exchange(worker)
    worker.expire(60.0)
    assert client.response().status == 504
    late.set()
    assert client.ask(get("/1")).body == b"1"


def test_a_head_that_is_never_complete_is_a_408(story: Story) -> None:
    worker = story.worker(story.strict(), timeouts={"request_head": 10.0})
    client = story.client(worker)
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n")
    worker.wait_until(lambda w: any(c.buffer for c in w.clients))
    worker.expire(10.0)
    refused = client.response()
    assert (refused.status, culprit(refused.body)) == (408, "client")
    assert client.is_closed()


def test_a_head_that_drips_has_no_more_time_than_any_other(story: Story) -> None:
    worker = story.worker(story.strict(), timeouts={"request_head": 10.0})
    client = story.client(worker)
    client.send(b"GET / HTTP/1.1\r\n")
    for number in range(3):
        size = worker.call(lambda w: sum(len(c.buffer) for c in w.clients))
        client.send(b"X-%d: y\r\n" % number)
        worker.wait_until(lambda w, size=size: sum(len(c.buffer) for c in w.clients) > size)  # type: ignore[misc]
        worker.pass_time(4.0)
        worker.wait_until(lambda w: w.clock() - w.now < 1)
    assert client.response().status == 408


def test_a_body_that_stops_is_a_408_and_the_server_hears_of_it(story: Story) -> None:
    origin = story.origin(silent)
    worker = story.worker(origin, timeouts={"request_idle": 30.0})
    client = story.client(worker)
    client.send(request("POST", "/", "Content-Length: 10") + b"half")
    in_exchange(worker)
    origin.wait_until(lambda: origin.connections == 1)
    worker.expire(30.0)
    refused = client.response()
    assert (refused.status, culprit(refused.body)) == (408, "client")
    assert client.is_closed()
    origin.wait_ended(1)
    assert worker.count("upstream_errors_total", "old", origin.url, "request-timeout") == 0


def test_a_body_that_drips_below_the_rate_is_a_408(story: Story) -> None:
    worker = story.worker(story.origin(silent), timeouts={"request_idle": 30.0}, limits={"body_rate": 500})
    client = story.client(worker)
    client.send(request("POST", "/", "Content-Length: 1000"))
    in_exchange(worker)
    for _ in range(3):
        client.send_some(b"x")
        worker.pass_time(5.0)
        worker.wait_until(lambda w: w.clock() - w.now < 1)
    refused = client.response()
    assert refused.status == 408
    assert b"bytes per second" in refused.body


def test_a_body_that_the_server_does_not_take_is_the_servers_fault(story: Story) -> None:
    over = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_head()
        over.wait(10)

    worker = story.worker(story.origin(script), timeouts={"request_idle": 30.0})
    client = story.client(worker)
    client.send(request("POST", "/", f"Content-Length: {64 << 20}"))
    uploading = threading.Thread(target=client.send_some, args=(b"x" * (64 << 20),))
    uploading.start()
    worker.wait_until(lambda w: any(c.held_by_server for c in w.clients))
    worker.expire(30.0)
    refused = client.response()
    assert (refused.status, culprit(refused.body)) == (504, "upstream")
    with contextlib.suppress(OSError):  # it may have been reset, with so much unread
        client.sock.shutdown(socket.SHUT_RDWR)
    over.set()
    uploading.join(10)


def test_a_server_has_its_full_time_after_it_took_a_large_body_slowly(story: Story) -> None:
    take, answer = threading.Event(), threading.Event()
    size = 16 << 20

    def script(peer: Peer) -> None:
        peer.read_head()
        take.wait(10)
        peer.read_exactly(size)
        answer.wait(10)
        peer.send(ok(b"done"))

    worker = story.worker(story.origin(script), timeouts={"request_idle": 5.0, "response_head": 60.0})
    client = story.client(worker)
    uploading = threading.Thread(target=client.send, args=(request("POST", "/", body=b"x" * size),))
    uploading.start()
    worker.wait_until(lambda w: any(c.held_by_server for c in w.clients))
    take.set()
    uploading.join(10)
    worker.wait_until(lambda w: not w.uploads and not any(c.held_by_server for c in w.clients))
    worker.pass_time(30.0)
    worker.wait_until(lambda w: w.clock() - w.now < 1)
    answer.set()
    assert client.response().body == b"done"


def test_an_answer_that_stops_is_cut(story: Story) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        peer.read_to_end()

    origin = story.origin(script)
    worker = story.worker(origin, timeouts={"response_idle": 60.0})
    client = story.client(worker)
    client.send(get())
    assert client.read_until(b"half")
    worker.expire(60.0)
    assert client.rest() == b""
    origin.wait_ended(1)
    assert worker.count("upstream_errors_total", "old", origin.url, "gateway-timeout") == 1


def test_a_client_that_does_not_read_is_cut_and_not_held_against_the_version(story: Story) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
        while True:
            peer.send(b"x" * 65536)

    origin = story.origin(script)
    worker = story.worker(origin, timeouts={"response_idle": 60.0})
    client = story.client(worker, receive_buffer=8192)
    client.send(get())
    worker.wait_until(lambda w: any(c.write_paused for c in w.clients))
    worker.expire(60.0)
    origin.wait_ended(1)
    worker.expire(10.0)
    worker.wait_until(lambda w: not w.clients)
    assert worker.codes() == {499: 1}
    assert worker.count("upstream_errors_total", "old", origin.url, "gateway-timeout") == 0


def test_a_client_that_never_reads_its_last_answer_does_not_keep_the_connection(story: Story) -> None:
    worker = story.worker(story.origin(answering(ok(b"x" * (300 * 1024)))), timeouts={"keepalive": 75.0})
    client = story.client(worker, receive_buffer=4096)
    client.send(get() * 20)
    worker.wait_until(lambda w: any(c.write_paused for c in w.clients))
    worker.wait_until(lambda w: all(c.exchange is None or c.write_paused for c in w.clients))
    for _ in range(3):
        worker.expire(80.0)
        worker.wait_until(lambda w: w.clock() - w.now < 1)
    worker.wait_until(lambda w: not w.clients)


def test_an_idle_client_connection_is_closed(story: Story) -> None:
    worker = story.worker(story.strict(), timeouts={"keepalive": 75.0})
    client, fresh = story.client(worker), story.client(worker)
    assert client.ask(get()).status == 200
    worker.wait_until(lambda w: len(w.clients) == 2)
    worker.expire(75.0)
    assert client.rest() == b""
    assert fresh.rest() == b""


def test_an_idle_server_connection_is_closed(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin, timeouts={"upstream_keepalive": 50.0})
    assert worker.ask(get()).status == 200
    assert len(worker.pool(origin).idle) == 1
    worker.expire(50.0)
    origin.wait_ended(1)
    assert not worker.pool(origin).connections


@pytest.mark.parametrize("limit", ["request_idle", "keepalive", "response_idle"])
def test_moving_bodies_are_never_too_late(story: Story, limit: str) -> None:
    """Pieces that come in time keep a transfer alive for as long as it takes."""
    answering_now = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
        answering_now.set()
        for _ in range(3):
            step.acquire(timeout=10)
            peer.send(b"x")

    step = threading.Semaphore(0)
    worker = story.worker(story.origin(script), timeouts={limit: 10.0})
    client = story.client(worker)
    client.send(get())
    assert client.read_until(b"\r\n\r\n")
    for _ in range(3):
        worker.pass_time(7.0)
        worker.wait_until(lambda w: w.clock() - w.now < 1)
        step.release()
        assert client.sock.recv(1) == b"x"


