"""Connections that carry one request after the other, on both sides of the proxy."""

from __future__ import annotations

import threading

import pytest

from proxy.core.route import Match, Route
from tests.support.origins import Peer, answering, answering_then_closing, body_for, ok
from tests.support.story import Story, flood, get, request


def test_requests_of_several_clients_share_one_server_connection(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin)
    clients = [story.client(worker) for _ in range(3)]
    for turn in range(2):
        for number, client in enumerate(clients):
            target = f"/{turn}/{number}"
            assert client.ask(get(target)).body == body_for(b"GET", target.encode())
    assert origin.connections == 1


def test_pipelined_requests_are_answered_in_order(story: Story) -> None:
    origin = story.strict()
    client = story.client(story.worker(origin))
    client.send(b"".join(get(f"/{number}") for number in range(300)))
    assert [client.response().body for _ in range(300)] == [body_for(b"GET", b"/%d" % n) for n in range(300)]
    assert [message.target for message in origin.requests] == [b"/%d" % n for n in range(300)]
    assert origin.connections == 1


def test_pipelined_bodies_stay_with_their_requests(story: Story) -> None:
    origin = story.strict()
    client = story.client(story.worker(origin))
    chunked = request("POST", "/b", "Transfer-Encoding: chunked") + b"5\r\nGET /\r\n3;x=y\r\n...\r\n0\r\n\r\n"
    client.send(request("POST", "/a", body=b"GET /evil HTTP/1.1\r\n\r\n") + chunked + get("/c"))
    assert [client.response().body for _ in range(3)] == [b"POST /a 22", b"POST /b 8", b"GET /c 0"]


def test_a_client_that_pipelines_and_shuts_down_gets_every_answer(story: Story) -> None:
    client = story.client(story.worker(story.strict()))
    client.send(b"".join(get(f"/{number}") for number in range(50)))
    client.half_close()
    assert [client.response().body for _ in range(50)] == [body_for(b"GET", b"/%d" % n) for n in range(50)]
    assert client.is_closed()


def test_a_request_cut_off_in_the_middle_of_a_pipeline_is_not_waited_for(story: Story) -> None:
    client = story.client(story.worker(story.strict()))
    client.send(get("/whole") + b"POST /cut HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
    client.half_close()
    assert client.response().body == b"GET /whole 0"
    assert client.is_closed()


@pytest.mark.parametrize("target", ["/known", "/unknown"])
def test_answers_that_nobody_reads_do_not_pile_up(story: Story, target: str) -> None:
    worker = story.worker(story.strict(), routes=(Route("all", Match(path="/known"), (("old", 1.0),), "old"),))
    client = story.client(worker, receive_buffer=4096)
    flood(client, get(target) * 100)
    held = worker.call(lambda w: max(c.transport.get_write_buffer_size() + len(c.buffer) for c in w.clients))
    assert held < 1 << 20
    client.reset()


def test_connection_close_of_the_client_closes_his_connection_only(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin)
    client = story.client(worker)
    answer = client.ask(get("/", "Connection: close"))
    assert answer.value(b"connection") == b"close"
    assert client.is_closed()
    assert worker.ask(get("/again")).body == b"GET /again 0"
    assert origin.connections == 1


def test_connection_close_of_the_server_closes_its_connection_only(story: Story) -> None:
    origin = story.origin(answering_then_closing(ok(b"one", b"Connection: close")))
    client = story.client(story.worker(origin))
    assert client.ask(get()).value(b"connection") is None
    assert client.ask(get()).body == b"one"
    assert origin.connections == 2


def test_an_http_1_0_client_gets_its_answer_and_the_end_of_the_connection(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin)
    client = story.client(worker)
    client.send(b"GET /old HTTP/1.0\r\n\r\n")
    assert client.response().body == b"GET /old 0"
    assert client.is_closed()
    assert origin.requests[0].value(b"host") == origin.url.removeprefix("http://").encode()


def test_an_http_1_0_client_may_ask_to_keep_the_connection(story: Story) -> None:
    client = story.client(story.worker(story.strict()))
    for target in (b"/1", b"/2"):
        answer = client.ask(b"GET %b HTTP/1.0\r\nConnection: keep-alive\r\nHost: h\r\n\r\n" % target)
        assert answer.value(b"connection") == b"keep-alive"
        assert answer.body == b"GET %b 0" % target


def test_an_http_1_0_client_never_sees_chunks(story: Story) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n"
    client = story.client(story.worker(story.origin(answering(chunked))))
    answer = client.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert answer.body == b"hello world"
    assert answer.value(b"transfer-encoding") is None
    assert answer.value(b"connection") == b"close"


def test_an_answer_that_ends_with_the_connection_reaches_http_1_1_clients_in_chunks(story: Story) -> None:
    client = story.client(story.worker(story.origin(answering_then_closing(b"HTTP/1.0 200 OK\r\n\r\nuntil the end"))))
    for _ in range(2):
        answer = client.ask(get())
        assert answer.body == b"until the end"
        assert answer.value(b"transfer-encoding") == b"chunked"


def test_head_204_and_304_have_no_body_and_keep_both_connections(story: Story) -> None:
    origin = story.origin(answering(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ok(b"last"),
    ))
    client = story.client(story.worker(origin))
    head = client.ask(request("HEAD", "/"), b"HEAD")
    assert (head.status, head.value(b"content-length")) == (200, b"1000")
    assert client.ask(get()).status == 204
    assert client.ask(get("/", 'If-None-Match: "x"')).status == 304
    assert client.ask(request("HEAD", "/"), b"HEAD").status == 200
    assert client.ask(get()).body == b"last"
    assert origin.connections == 1


def test_a_server_that_says_more_than_it_announced_is_not_used_again(story: Story) -> None:
    origin = story.origin(answering(ok(b"one") + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"))
    client = story.client(story.worker(origin))
    assert [client.ask(get()).body for _ in range(3)] == [b"one"] * 3
    assert origin.connections == 3


def test_a_server_that_speaks_out_of_turn_loses_its_connection(story: Story) -> None:
    said = threading.Event()

    def script(peer: Peer) -> None:
        if peer.read_head():
            peer.send(ok(b"asked"))
        if peer.number == 0:
            said.wait(5)
            peer.send(ok(b"not asked"))
        assert peer.read_to_end() == b""

    origin = story.origin(script)
    worker = story.worker(origin)
    client = story.client(worker)
    assert client.ask(get()).body == b"asked"
    said.set()
    worker.wait_until(lambda _: not worker.pool(origin).connections)
    assert client.ask(get()).body == b"asked"
