"""Tunnels of a version that has lost its last weight: a time to end by themselves, then they are ended."""

from __future__ import annotations

import threading

from proxy.core.route import Match, Override, Route
from proxy.core.snapshot import Snapshot
from tests.support.origins import Origin, Peer
from tests.support.story import Story, WatchedWorker, get, request
from tests.support.wire import Wire
from tests.support.worker import a_snapshot

UPGRADE = request("GET", "/chat", "Connection: Upgrade", "Upgrade: websocket")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
GRACE_S = 30.0


def echoing(peer: Peer) -> None:
    peer.read_head()
    peer.send(SWITCHED)
    while data := peer.read():
        peer.send(data)


class Chat:
    """Two versions that echo, all weight on the new one, and a client in a tunnel to it."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.old, self.new = story.origin(echoing), story.origin(echoing)
        self.revision = 1
        self.worker = story.serving(self.snapshot(100.0))
        self.client = self.another()

    def snapshot(self, weight: float) -> Snapshot:
        return a_snapshot(self.old, new=(self.new,), weight=weight, revision=self.revision)

    def steer(self, weight: float) -> None:
        self.revision += 1
        self.worker.apply(self.snapshot(weight))

    def another(self) -> Wire:
        return upgraded(self.story, self.worker)


def upgraded(story: Story, worker: WatchedWorker, upgrade: bytes = UPGRADE) -> Wire:
    client = story.client(worker)
    assert client.ask(upgrade).status == 101
    return client


def lives(client: Wire) -> bool:
    client.send(b"ping")
    return client.read_until(b"ping") == b"ping"


def tunnels(worker: WatchedWorker, version: str = "new") -> float:
    gauges = {(name, labels): value for name, labels, value in worker.call(lambda w: w.counters.collect().gauges)}
    return gauges.get(("turnout_tunnels", ("all", version)), 0)


def test_they_are_closed_on_both_sides_when_their_grace_is_over(story: Story) -> None:
    chat = Chat(story)
    chat.steer(0.0)
    assert lives(chat.client)
    chat.worker.pass_time(GRACE_S - 2)
    assert lives(chat.client)
    chat.worker.expire(2)
    assert chat.client.is_closed()
    chat.new.wait_ended(1)
    assert chat.worker.count("tunnels_withdrawn_total", "all", "new") == 1


def test_they_live_on_when_the_version_gets_weight_again(story: Story) -> None:
    chat = Chat(story)
    chat.steer(0.0)
    chat.worker.pass_time(GRACE_S - 2)
    chat.steer(1.0)
    chat.worker.pass_time(GRACE_S + 2)
    assert lives(chat.client)
    chat.steer(0.0)
    chat.worker.pass_time(GRACE_S - 2)
    assert lives(chat.client), "a new loss is a new grace"
    chat.worker.expire(2)
    assert chat.client.is_closed()


def test_another_change_does_not_prolong_the_grace(story: Story) -> None:
    chat = Chat(story)
    chat.steer(0.0)
    chat.worker.pass_time(GRACE_S - 2)
    chat.steer(0.0)
    chat.worker.expire(2)
    assert chat.client.is_closed()


def test_less_weight_is_still_weight(story: Story) -> None:
    chat = Chat(story)
    chat.steer(1.0)
    chat.worker.pass_time(GRACE_S + 2)
    assert lives(chat.client)
    chat.client.close()


def test_a_version_that_disappears_takes_its_tunnels_along_after_their_grace(story: Story) -> None:
    chat = Chat(story)
    chat.worker.apply(a_snapshot(chat.old, revision=2))
    assert lives(chat.client)
    chat.worker.expire(GRACE_S)
    assert chat.client.is_closed()


def test_a_route_that_disappears_takes_its_tunnels_along_after_their_grace(story: Story) -> None:
    chat = Chat(story)
    route = Route("other", Match(path="/other"), (("old", 1.0),), "old")
    chat.worker.apply(a_snapshot(chat.old, new=(chat.new,), routes=(route,), revision=2))
    assert lives(chat.client)
    chat.worker.expire(GRACE_S)
    assert chat.client.is_closed()


def test_one_that_opens_after_the_change_on_an_answer_from_before_it_gets_the_same_grace(story: Story) -> None:
    go = threading.Event()

    def hesitant(peer: Peer) -> None:
        peer.read_head()
        assert go.wait(10)
        peer.send(SWITCHED)
        peer.read_to_end()

    old, new = story.strict(), story.origin(hesitant)
    worker = story.worker(old, new=(new,), weight=100.0)
    client = story.client(worker)
    client.send(UPGRADE)
    worker.wait_until(lambda w: any(c.exchange is not None for c in w.clients))
    worker.apply(a_snapshot(old, new=(new,), weight=0.0, revision=2))
    go.set()
    assert client.response().status == 101
    worker.expire(GRACE_S)
    assert client.is_closed()


def test_one_that_an_override_opened_without_any_weight_is_left_alone(story: Story) -> None:
    def snapshot(revision: int, old: Origin, new: Origin) -> Snapshot:
        route = Route("all", Match(), (("old", 100.0), ("new", 0.0)), "old",
                      override=Override(header="X-Version", networks=("127.0.0.0/8",)))
        return a_snapshot(old, new=(new,), routes=(route,), revision=revision)

    old, new = story.origin(echoing), story.origin(echoing)
    worker = story.serving(snapshot(1, old, new))
    client = upgraded(story, worker, UPGRADE.replace(b"Upgrade: w", b"X-Version: new\r\nUpgrade: w"))
    new.wait_until(lambda: new.connections == 1)
    worker.apply(snapshot(2, old, new))
    worker.pass_time(GRACE_S + 2)
    assert lives(client)
    client.close()


def test_a_cut_closes_them_at_once(story: Story) -> None:
    chat = Chat(story)
    chat.revision = 2
    chat.worker.call(lambda w: w.apply(chat.snapshot(0.0), (("all", "new"),)))
    assert chat.client.is_closed()
    chat.new.wait_ended(1)
    assert chat.worker.count("tunnels_withdrawn_total", "all", "new") == 1


def test_open_ones_are_a_gauge(story: Story) -> None:
    chat = Chat(story)
    more = [chat.another() for _ in range(2)]
    assert tunnels(chat.worker) == 3
    more[0].close()
    more[1].reset()
    chat.worker.wait_until(lambda w: len(w.clients) == 1)
    assert tunnels(chat.worker) == 1
    chat.steer(0.0)
    chat.client.close()
    chat.worker.wait_until(lambda w: not w.clients)
    assert tunnels(chat.worker) == 0
    assert chat.worker.count("tunnels_withdrawn_total", "all", "new") == 0


def test_a_multitude_is_closed_bit_by_bit(story: Story) -> None:
    from proxy.dataplane import grace

    chat = Chat(story)
    crowd = [chat.client, *(chat.another() for _ in range(9))]
    usual, grace.CLOSED_AT_ONCE = grace.CLOSED_AT_ONCE, 4
    try:
        chat.steer(0.0)
        chat.worker.pass_time(GRACE_S + 1)
        assert chat.worker.count("tunnels_withdrawn_total", "all", "new") in (4, 8)
        assert all(client.is_closed() for client in crowd)
    finally:
        grace.CLOSED_AT_ONCE = usual


def test_requests_are_not_tunnels(story: Story) -> None:
    worker = story.worker(story.strict())
    assert worker.ask(get()).status == 200
    assert tunnels(worker, "old") == 0
