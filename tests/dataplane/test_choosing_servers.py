"""Servers of a version: how one is chosen, and every kind of address it may have, on both sides."""

from __future__ import annotations

import threading
from collections import Counter

from proxy.core.route import Server
from tests.support.origins import Origin, Peer, ok
from tests.support.story import Story, get
from tests.support.wire import Wire
from tests.support.worker import server_at


def named(story: Story, name: str) -> Origin:
    def script(peer: Peer) -> None:
        while peer.read_head():
            peer.send(ok(name.encode()))
    return story.origin(script)


def test_equally_busy_servers_take_turns(story: Story) -> None:
    worker = story.worker(*(named(story, name) for name in "abc"))
    client = story.client(worker)
    answered = [client.ask(get()).body for _ in range(9)]
    assert Counter(answered) == {b"a": 3, b"b": 3, b"c": 3}
    assert len(set(answered[:3])) == 3


def test_a_busy_server_is_passed_over(story: Story) -> None:
    finish = threading.Event()

    def slow(peer: Peer) -> None:
        peer.read_head()
        finish.wait(10)
        peer.send(ok(b"slow"))

    worker = story.worker(story.origin(slow), named(story, "quick"))
    held = story.client(worker)
    client = story.client(worker)
    held.send(get())
    worker.wait_until(lambda w: any(c.exchange is not None for c in w.clients))
    first = client.ask(get()).body
    assert [first] + [client.ask(get()).body for _ in range(5)] == [b"quick"] * 6
    finish.set()
    assert held.response().body == b"slow"


def test_unix_sockets_on_both_sides(story: Story) -> None:
    origin = story.strict(unix_path=story.directory / "origin")
    worker = story.worker(origin, unix_path=str(story.directory / "proxy"))
    client = story.client(worker)
    for _ in range(2):
        assert client.ask(get("/unix")).body == b"GET /unix 0"
    assert origin.requests[0].value(b"x-forwarded-for") is None
    assert origin.requests[0].value(b"host") == b"shop.example"
    assert origin.connections == 1
    old = story.client(worker)
    old.send(b"GET /old HTTP/1.0\r\n\r\n")
    assert old.response().status == 200
    assert origin.requests[-1].value(b"host") == b"localhost"


def test_a_client_is_known_by_the_same_address_whatever_socket_it_came_through(story: Story) -> None:
    """A socket for both families calls an IPv4 client `::ffff:127.0.0.1`."""
    origin = story.strict()
    worker = story.worker(origin, host="::")
    with Wire(("127.0.0.1", worker.address[1])) as client:  # type: ignore[arg-type]
        assert client.ask(get()).status == 200
    assert origin.requests[0].value(b"x-forwarded-for") == b"127.0.0.1"


def test_a_missing_unix_socket_is_a_502(story: Story) -> None:
    assert story.worker(str(story.directory / "nobody")).ask(get()).status == 502


def test_ipv6_on_both_sides(story: Story) -> None:
    origin = story.strict(host="::1")
    worker = story.worker(origin, host="::1")
    assert worker.ask(get("/six")).body == b"GET /six 0"
    assert origin.requests[0].value(b"x-forwarded-for") == b"::1"
    with worker.connect() as old:
        old.send(b"GET / HTTP/1.0\r\n\r\n")
        assert old.response().status == 200
    assert origin.requests[-1].value(b"host") == origin.url.removeprefix("http://").encode()


def test_a_name_is_resolved(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(Server("localhost", server_at(origin).port))
    assert worker.ask(get()).status == 200


def test_a_name_that_does_not_resolve_is_a_502(story: Story) -> None:
    worker = story.worker(Server("nowhere.invalid", 80))
    assert worker.ask(get()).status == 502
    assert story.worker(Server("x" * 70 + ".invalid", 80)).ask(get()).status == 502
