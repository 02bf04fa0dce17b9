"""Names of servers: resolved without holding anybody up, and again while they are in use."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from proxy.core.route import Match, Route, Server
from proxy.dataplane.names import REFRESH_S
from tests.support.origins import Origin, Peer, ok
from tests.support.story import Story, WatchedWorker, full_backlog, get
from tests.support.worker import a_snapshot, server_at

HOST = "shop.internal"


class Resolver:
    """Stands in for the resolver of a worker's loop: `answers` for a name, addresses or an error."""

    def __init__(self, worker: WatchedWorker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer: Sequence[str] | OSError = ("127.0.0.1",)
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._worker = worker
        monkeypatch.setattr(worker.worker.loop, "getaddrinfo", self._resolve, raising=False)

    async def _resolve(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        assert host == HOST
        self.asked += 1
        await self.gate.wait()
        if isinstance(self.answer, OSError):
            raise self.answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.answer]

    def grow_old(self) -> None:
        """Let the last answer become too old, and the next one come."""
        asked = self.asked
        self._worker.expire(REFRESH_S)
        self._worker.wait_until(lambda _: self.asked > asked)


def everywhere(story: Story) -> Origin:
    """A server on every loopback address, which says at which one it was found."""
    def script(peer: Peer) -> None:
        while peer.read_head():
            peer.send(ok(peer.sock.getsockname()[0].encode()))
    return story.origin(script, host="0.0.0.0")


def test_a_changed_name_moves_new_requests_and_closes_idle_connections(
        story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = everywhere(story)
    worker = story.worker(Server("127.0.0.9", 9))
    resolver = Resolver(worker, monkeypatch)
    worker.apply(a_snapshot(Server(HOST, server_at(origin).port), revision=2))
    client = story.client(worker)
    assert client.ask(get()).body == b"127.0.0.1"
    resolver.answer = ("127.0.0.2",)
    resolver.grow_old()
    origin.wait_ended(1)
    assert client.ask(get()).body == b"127.0.0.2"
    assert client.ask(get()).body == b"127.0.0.2"
    assert origin.connections == 2


def test_a_resolver_that_fails_takes_nothing_down(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = everywhere(story)
    worker = story.worker(Server("127.0.0.9", 9))
    resolver = Resolver(worker, monkeypatch)
    worker.apply(a_snapshot(Server(HOST, server_at(origin).port), revision=2, timeouts={"upstream_keepalive": 1.0}))
    client = story.client(worker)
    assert client.ask(get()).body == b"127.0.0.1"
    resolver.answer = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    resolver.grow_old()
    origin.wait_ended(1)  # idle for too long
    assert client.ask(get()).body == b"127.0.0.1"


def test_a_slow_resolver_holds_up_nobody_else(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = everywhere(story)
    worker = story.worker(Server("127.0.0.9", 9))
    resolver = Resolver(worker, monkeypatch)
    resolver.gate.clear()
    port = server_at(origin).port
    routes = (Route("all", Match(), (("old", 1.0),), "old"),
              Route("quick", Match(path="/quick"), (("new", 1.0),), "new"))
    worker.apply(a_snapshot(Server(HOST, port), new=(Server("127.0.0.3", port),), routes=routes, revision=2))
    waiting, other = story.client(worker), story.client(worker)
    waiting.send(get())
    worker.wait_until(lambda w: any(c.exchange is not None for c in w.clients))
    assert other.ask(get("/quick")).body == b"127.0.0.3"
    worker.worker.loop.call_soon_threadsafe(resolver.gate.set)
    assert waiting.response().body == b"127.0.0.1"


def test_one_lookup_serves_everybody_who_waits_for_it(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = everywhere(story)
    worker = story.worker(Server("127.0.0.9", 9))
    resolver = Resolver(worker, monkeypatch)
    resolver.gate.clear()
    worker.apply(a_snapshot(Server(HOST, server_at(origin).port), revision=2))
    clients = [story.client(worker) for _ in range(20)]
    for client in clients:
        client.send(get())
    worker.wait_until(lambda w: sum(c.exchange is not None for c in w.clients) == 20)
    clients.pop().reset()  # one that gives up takes nobody along
    worker.wait_until(lambda w: len(w.clients) == 19)
    worker.worker.loop.call_soon_threadsafe(resolver.gate.set)
    assert {client.response().body for client in clients} == {b"127.0.0.1"}
    assert resolver.asked == 1


def test_the_next_address_is_tried_when_the_first_refuses(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = story.strict()  # at 127.0.0.1 only
    worker = story.worker(Server("127.0.0.9", 9))
    resolver = Resolver(worker, monkeypatch)
    resolver.answer = ("127.0.0.2", "127.0.0.1")
    worker.apply(a_snapshot(Server(HOST, server_at(origin).port), revision=2))
    assert worker.ask(get()).status == 200


def test_the_addresses_of_a_name_take_turns(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(ok(peer.sock.getsockname()[0].encode(), b"Connection: close"))

    origin = story.origin(script, host="0.0.0.0")
    worker = story.worker(Server("127.0.0.9", 9))
    resolver = Resolver(worker, monkeypatch)
    resolver.answer = ("127.0.0.1", "127.0.0.2")
    worker.apply(a_snapshot(Server(HOST, server_at(origin).port), revision=2))
    assert {worker.ask(get()).body for _ in range(2)} == {b"127.0.0.1", b"127.0.0.2"}


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
        story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = story.strict()  # at 127.0.0.1 only
    port = server_at(origin).port
    with full_backlog("127.0.0.2", port):
        worker = story.worker(Server("127.0.0.9", 9))
        resolver = Resolver(worker, monkeypatch)
        resolver.answer = ("127.0.0.1", "127.0.0.2")  # the second has the first turn
        worker.apply(a_snapshot(Server(HOST, port), revision=2, timeouts={"connect": 0.6}))
        assert worker.ask(get()).status == 200
        assert worker.count("retries_total", "all", "old") == 0


def test_a_server_that_leaves_while_its_name_is_looked_up_sends_its_requests_elsewhere(
        story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = everywhere(story)
    worker = story.worker(Server("127.0.0.9", 9))
    resolver = Resolver(worker, monkeypatch)
    resolver.gate.clear()
    port = server_at(origin).port
    worker.apply(a_snapshot(Server(HOST, port), revision=2))
    client = story.client(worker)
    client.send(get())
    worker.wait_until(lambda w: any(c.exchange is not None for c in w.clients))
    worker.apply(a_snapshot(Server("127.0.0.4", port), revision=3))
    assert client.response().body == b"127.0.0.4"
