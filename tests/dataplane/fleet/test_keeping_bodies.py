"""Bodies that are kept for another attempt: exactly what was sent, as long as it is not too long."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from proxy.core.health.values import Health
from proxy.core.overload.values import Load
from proxy.core.route import Copying, Match, Route, Shadow, Version
from proxy.dataplane.exchange import Exchange
from proxy.dataplane.worker import Worker
from tests.support.origins import Peer, Script, ok
from tests.support.shop import EVERYTHING, Shop, servers
from tests.support.story import Story, get, request
from tests.support.unsteady import Mood, assert_adds_up, attempts
from tests.support.worker import a_snapshot, server_at

NO_JUDGE = Health(ejection=None, breaker=None)
BODY = bytes(range(256)) * 200
PUT = b"PUT / HTTP/1.1\r\nHost: shop.example\r\n"


def chunked(body: bytes, size: int = 7000) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece)
                    for piece in (body[at:at + size] for at in range(0, len(body), size))) + b"0\r\n\r\n"


@pytest.mark.parametrize("mood", ["reset", "close", 503])
@pytest.mark.parametrize("framing", ["sized", "chunked"])
def test_a_body_that_was_sent_is_sent_again_exactly(story: Story, mood: Mood, framing: str) -> None:
    bad, good = servers(story, mood, "well")
    shop = Shop(story, [bad, good], health=NO_JUDGE, retry=EVERYTHING)
    client = story.client(shop.worker)
    if framing == "sized":
        client.send(PUT + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
    else:
        client.send(PUT + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(BODY))
    assert client.response().status == 200
    assert (bad.bodies, good.bodies) == ([BODY], [BODY])
    assert client.ask(get("/next")).body == b"GET /next 0"
    assert_adds_up(shop.worker)


def failing_after(size: int, how: str) -> Script:
    """Reads so much of the first body and fails; is well afterwards."""
    def script(peer: Peer) -> None:
        while peer.number and peer.read_head():
            peer.send(ok(b"next"))
        peer.read_head()
        peer.read_exactly(size)
        if how == "reset":
            peer.reset()
        elif how == "503":
            peer.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy")
            peer.read_to_end()
    return script


@pytest.mark.parametrize("how", ["reset", "close", "503"])
def test_an_attempt_that_fails_in_the_middle_of_a_body_is_followed_by_a_whole_one(story: Story, how: str) -> None:
    bad, (good,) = story.origin(failing_after(20_000, how)), servers(story, "well")
    shop = Shop(story, [bad.address, good], health=NO_JUDGE, retry=EVERYTHING)
    client = story.client(shop.worker)
    client.send(PUT + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY[:20_000])
    good.wait_heads(1)
    client.send(BODY[20_000:])
    assert client.response().status == 200
    assert good.bodies == [BODY]
    assert client.ask(get("/next")).status == 200
    assert_adds_up(shop.worker)


def test_a_server_that_was_full_when_it_failed_holds_up_nobody(story: Story) -> None:
    """The client was not read from since the server did not read; the next server does."""
    def full(peer: Peer) -> None:
        peer.read_head()
        failing.wait(15)
        peer.reset()

    failing = threading.Event()
    bad, (good,) = story.origin(full), servers(story, "well")
    size = 16_000_000
    shop = Shop(story, [bad.address, good], health=NO_JUDGE, retry=replace(EVERYTHING, body=1 << 30))
    client = story.client(shop.worker)
    sending = threading.Thread(target=client.send_some, daemon=True, args=(
        PUT + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(bytes(size), 1 << 19),))
    sending.start()
    shop.worker.wait_until(lambda worker: any(each.held_by_server for each in worker.clients))
    failing.set()
    assert client.response().status in {200, 413}
    sending.join(15)
    assert [len(body) for body in good.bodies] == [size]


def test_the_time_of_a_body_runs_anew_for_the_next_server_which_does_not_read_it_either(story: Story) -> None:
    def deaf(peer: Peer) -> None:
        peer.read_head()
        over.wait(15)

    def is_stuck(worker: Worker) -> bool:
        return any(each.held_by_server and isinstance(each.exchange, Exchange) and each.exchange._server is not None
                   for each in worker.clients)

    over = threading.Event()
    first, second = story.origin(deaf), story.origin(deaf)
    shop = Shop(story, [first.address, second.address], health=NO_JUDGE, retry=replace(EVERYTHING, body=1 << 30),
                timeouts={"request_idle": 5.0})
    client = story.client(shop.worker)
    client.send(PUT + b"Content-Length: %d\r\n\r\n" % (1 << 30))
    while not shop.worker.call(is_stuck):
        client.send(bytes(65536))       # nothing more is under way then: only the servers' time runs
        shop.worker.settle()
    shop.worker.leap(6.0)
    shop.worker.wait_until(lambda worker: first.connections == second.connections == 1 and is_stuck(worker))
    shop.worker.leap(6.0)
    assert client.response().status == 504
    over.set()
    assert attempts(shop.worker) == {("old", "timeout"): 2}


@pytest.mark.parametrize("mood", ["reset", 503])
def test_a_body_that_is_longer_than_what_is_kept_is_sent_once(story: Story, mood: Mood) -> None:
    bad = servers(story, mood, mood)
    shop = Shop(story, bad, health=NO_JUDGE, retry=replace(EVERYTHING, body=1000))
    answer = shop.worker.ask(request("PUT", "/", body=bytes(1001)))
    assert answer.status == (mood if isinstance(mood, int) else 502)
    assert sum(len(server.heads) for server in bad) == 1
    bad[0].mood = bad[1].mood = "well"
    assert shop.worker.ask(request("PUT", "/", body=bytes(1001))).status == 200


def test_a_body_of_just_the_length_that_is_kept_is_sent_again(story: Story) -> None:
    bad, good = servers(story, 503, "well")
    shop = Shop(story, [bad, good], health=NO_JUDGE, retry=replace(EVERYTHING, body=1000))
    assert shop.worker.ask(request("PUT", "/", body=bytes(1000))).status == 200
    assert good.bodies == [bytes(1000)]


def test_nothing_is_kept_where_the_operator_does_not_want_it(story: Story) -> None:
    bad = servers(story, 503, 503)
    shop = Shop(story, bad, health=NO_JUDGE, retry=replace(EVERYTHING, body=0))
    assert shop.worker.ask(request("PUT", "/", body=b"x")).status == 503
    assert sum(len(server.heads) for server in bad) == 1


def test_nothing_is_kept_of_what_may_not_be_repeated(story: Story) -> None:
    (server,) = servers(story, "hold")
    shop = Shop(story, [server], retry=EVERYTHING)
    client = story.client(shop.worker)
    client.send(b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 100\r\n\r\n" + bytes(50))
    shop.worker.wait_until(lambda worker: any(upload.taken == 50 for upload in worker.uploads))
    assert shop.worker.call(lambda worker: [upload._kept for upload in worker.uploads]) == [b""]
    client.send(bytes(50))
    server.go_on()
    assert client.response().status == 200


def test_a_body_that_a_client_is_to_be_asked_for_is_asked_for_by_the_second_server(story: Story) -> None:
    def asking(peer: Peer) -> None:
        while peer.read_head():
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            peer.read_exactly(5)
            peer.send(ok(b"thanks"))

    def refusing(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy")
        peer.read_to_end()

    bad, good = story.origin(refusing), story.origin(asking)
    shop = Shop(story, [bad.address, good.address], health=NO_JUDGE, retry=EVERYTHING)
    client = story.client(shop.worker)
    client.send(PUT + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    client.read_until(b"100 Continue\r\n\r\n")
    client.send(b"hello")
    assert client.response().body == b"thanks"
    assert attempts(shop.worker) == {("old", "error"): 1, ("old", "answered"): 1}


def test_a_copy_gets_the_body_once_however_often_it_is_sent(story: Story) -> None:
    bad, good = servers(story, 503, "well")
    (shadow,) = servers(story, "well", name=b"new")
    route = Route("all", Match(), (("old", 1.0),), "old", retry=EVERYTHING,
                  shadow=Shadow("new", 100.0, ("PUT",)), copying=Copying(compare=None))
    versions = (Version("old", (server_at(bad), server_at(good)), NO_JUDGE), Version("new", (server_at(shadow),)))
    worker = story.serving(a_snapshot(versions=versions, routes=(route,)))
    assert worker.ask(request("PUT", "/", body=BODY[:10_000])).status == 200
    shadow.wait_heads(1)
    worker.wait_until(worker.is_quiet)
    assert shadow.bodies == [BODY[:10_000]]
    assert_adds_up(worker)


def test_a_request_that_finds_no_place_is_not_copied(story: Story) -> None:
    (held,), (shadow,) = servers(story, "hold"), servers(story, "well", name=b"new")
    route = Route("all", Match(), (("old", 1.0),), "old", shadow=Shadow("new", 100.0), copying=Copying(compare="{}"))
    versions = (Version("old", (server_at(held),), load=Load(in_flight=1)), Version("new", (server_at(shadow),)))
    worker = story.serving(a_snapshot(versions=versions, routes=(route,)))
    client = story.client(worker)
    client.send(get("/held"))
    held.wait_heads(1)
    for _ in range(3):
        assert worker.ask(get("/refused")).status == 503
    held.go_on()
    assert client.response().status == 200
    worker.wait_until(worker.is_quiet)
    assert not any(b"/refused" in head for head in shadow.heads)
