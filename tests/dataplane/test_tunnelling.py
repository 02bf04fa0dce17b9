"""Upgraded connections: bytes both ways after a 101 that was asked for."""

from __future__ import annotations

import threading

from tests.support.origins import Peer, ok
from tests.support.story import Story, WatchedWorker, get, request
from tests.support.wire import Wire

UPGRADE = request("GET", "/chat", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: abc")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Accept: yes\r\n\r\n"


def echoing(peer: Peer) -> None:
    head = peer.read_head()
    assert b"Connection: upgrade\r\nUpgrade: websocket\r\n" in head
    peer.send(SWITCHED)
    while data := peer.read():
        peer.send(data)


def upgraded(story: Story, worker: WatchedWorker) -> Wire:
    client = story.client(worker)
    answer = client.ask(UPGRADE)
    assert answer.status == 101
    assert (answer.value(b"connection"), answer.value(b"upgrade")) == (b"upgrade", b"websocket")
    return client


def test_bytes_pass_both_ways_after_a_101(story: Story) -> None:
    worker = story.worker(story.origin(echoing))
    client = upgraded(story, worker)
    for message in (b"hello", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100_000):
        client.send(message)
        assert client.read_until(message) == message
    assert worker.codes() == {101: 1}
    client.close()


def test_what_the_server_says_right_behind_the_101_arrives(story: Story) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(SWITCHED + b"right behind")
        peer.read_to_end()

    client = upgraded(story, story.worker(story.origin(script)))
    assert client.read_until(b"behind") == b"right behind"
    client.close()


def test_what_the_client_says_before_the_101_arrives(story: Story) -> None:
    client = story.client(story.worker(story.origin(echoing)))
    client.send(UPGRADE + b"too eager")
    assert client.response().status == 101
    assert client.read_until(b"eager") == b"too eager"
    client.close()


def test_a_client_that_half_closes_still_hears_the_server(story: Story) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(SWITCHED)
        said = peer.read_to_end()
        peer.send(b"you said " + said)

    client = upgraded(story, story.worker(story.origin(script)))
    client.send(b"all")
    client.half_close()
    assert client.rest() == b"you said all"


def test_a_server_that_half_closes_still_hears_the_client(story: Story) -> None:
    heard: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(SWITCHED + b"bye")
        peer.half_close()
        heard.append(peer.read_to_end())

    origin = story.origin(script)
    client = upgraded(story, story.worker(origin))
    assert client.rest() == b"bye"
    client.send(b"one more thing")
    client.close()
    origin.wait_ended(1)
    assert heard == [b"one more thing"]


def test_a_refused_upgrade_is_an_ordinary_answer(story: Story) -> None:
    def script(peer: Peer) -> None:
        while peer.read_head():
            peer.send(ok(b"plain"))

    origin = story.origin(script)
    client = story.client(story.worker(origin))
    assert client.ask(UPGRADE).body == b"plain"
    assert client.ask(get()).body == b"plain"
    assert origin.connections == 1


def test_a_101_that_nobody_asked_for_is_a_bad_answer(story: Story) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(SWITCHED + b"evil")
        peer.read_to_end()

    worker = story.worker(story.origin(script))
    assert worker.ask(get()).status == 502
    assert worker.ask(b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").status == 502


def test_an_idle_tunnel_is_ended(story: Story) -> None:
    origin = story.origin(echoing)
    worker = story.worker(origin, timeouts={"tunnel_idle": 60.0})
    client = upgraded(story, worker)
    worker.expire(60.0)
    assert client.is_closed()
    origin.wait_ended(1)


def test_a_tunnel_in_use_is_not_idle(story: Story) -> None:
    worker = story.worker(story.origin(echoing), timeouts={"tunnel_idle": 60.0})
    client = upgraded(story, worker)
    for _ in range(3):
        worker.pass_time(40.0)
        worker.wait_until(lambda w: w.clock() - w.now < 1)
        client.send(b"ping")
        assert client.read_until(b"ping")
    client.close()


def test_a_tunnel_lives_on_while_draining_until_the_deadline_cuts_it(story: Story) -> None:
    worker = story.worker(story.origin(echoing))
    client = upgraded(story, worker)
    cut: list[int] = []
    draining = threading.Thread(target=lambda: cut.append(worker.drain(1.5)))
    draining.start()
    worker.wait_until(lambda w: all(c.last_one for c in w.clients))
    client.send(b"still here")
    assert client.read_until(b"here")
    assert client.is_closed()
    draining.join(10)
    assert cut == [1]


def test_a_reset_of_either_side_ends_the_other(story: Story) -> None:
    over = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(SWITCHED)
        if peer.number == 0:
            peer.read_exactly(3)
            peer.reset()
        else:
            assert peer.read_to_end() == b""
            over.set()

    worker = story.worker(story.origin(script))
    first = upgraded(story, worker)
    first.send(b"die")
    assert first.is_closed()
    second = upgraded(story, worker)
    second.reset()
    assert over.wait(5)


def test_a_slow_end_of_a_tunnel_pauses_the_fast_one(story: Story) -> None:
    total = 32 << 20

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(SWITCHED)
        sent = 0
        while sent < total:
            peer.send(b"x" * 65536)
            sent += 65536

    worker = story.worker(story.origin(script))
    client = story.client(worker, receive_buffer=32 * 1024)
    assert client.ask(UPGRADE).status == 101
    worker.wait_until(lambda w: any(c.write_paused for c in w.clients))
    assert worker.call(lambda w: max(c.transport.get_write_buffer_size() for c in w.clients)) < 512 * 1024
    assert len(client.rest()) == total
    client.close()


def test_connect_and_trace_are_not_served(story: Story) -> None:
    worker = story.worker(story.strict())
    for raw in (b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", request("TRACE", "/")):
        with worker.connect() as client:
            answer = client.ask(raw)
            assert answer.status == 501
            assert client.is_closed()


def test_websockets_that_shut_down_properly_leave_nothing(story: Story) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(SWITCHED)
        assert peer.read_until(b"close frame")
        peer.send(b"close frame")

    client = upgraded(story, story.worker(story.origin(script)))
    client.send(b"close frame")
    assert client.rest() == b"close frame"
    client.close()


def test_a_tunnel_that_one_side_has_left_does_not_last_for_hours(story: Story) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(SWITCHED)

    worker = story.worker(story.origin(script), timeouts={"tunnel_idle": 3600.0, "response_idle": 60.0})
    client = upgraded(story, worker)
    assert client.sock.recv(1) == b""
    worker.expire(60.0)
    worker.wait_until(lambda w: not w.clients)
