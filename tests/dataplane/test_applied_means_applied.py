"""Once a snapshot is acknowledged, no request that begins goes by the old one, however much of it had come before."""

from __future__ import annotations

import threading

import pytest

from tests.support.origins import Origin, Peer, ok
from tests.support.story import Story, WatchedWorker, get, request
from tests.support.worker import a_snapshot

HEAD = get("/", "X-Some: field")


def telling(story: Story, name: bytes) -> Origin:
    def script(peer: Peer) -> None:
        while peer.read_head():
            peer.send(ok(name))
    return story.origin(script)


class Two:
    """An old and a new version, all weight on the new one until it is sent home."""

    def __init__(self, story: Story) -> None:
        self.old, self.new = telling(story, b"old"), telling(story, b"new")
        self.worker: WatchedWorker = story.worker(self.old, new=(self.new,), weight=100.0)

    def go_home(self) -> None:
        self.worker.apply(a_snapshot(self.old, new=(self.new,), weight=0.0, revision=2))


@pytest.mark.parametrize("cut", range(1, len(HEAD), 7))
def test_a_head_that_had_come_in_part_is_routed_by_the_new_snapshot(story: Story, cut: int) -> None:
    two = Two(story)
    client = story.client(two.worker)
    client.send(HEAD[:cut])
    two.worker.wait_until(lambda w: any(c.buffer == HEAD[:cut] for c in w.clients))
    two.go_home()
    client.send(HEAD[cut:])
    assert client.response().body == b"old"
    assert two.new.connections == 0


def test_requests_that_came_ahead_of_their_turn_are_routed_by_the_new_snapshot(story: Story) -> None:
    finish = threading.Event()

    def holding(peer: Peer) -> None:
        while peer.read_head():
            assert finish.wait(10)
            peer.send(ok(b"new"))

    old, new = telling(story, b"old"), story.origin(holding)
    worker = story.worker(old, new=(new,), weight=100.0)
    client = story.client(worker)
    client.send(get("/1") + get("/2") + get("/3"))
    worker.wait_until(lambda w: any(c.buffer for c in w.clients))
    worker.apply(a_snapshot(old, new=(new,), weight=0.0, revision=2))
    finish.set()
    assert [client.response().body for _ in range(3)] == [b"new", b"old", b"old"]


def test_a_connection_that_was_accepted_before_is_routed_by_the_new_snapshot(story: Story) -> None:
    two = Two(story)
    clients = [story.client(two.worker) for _ in range(3)]
    assert [client.ask(get()).body for client in clients[:2]] == [b"new", b"new"]
    two.worker.wait_until(lambda w: len(w.clients) == 3)
    two.go_home()
    assert [client.ask(get()).body for client in clients] == [b"old"] * 3


def test_a_retry_after_it_goes_by_the_new_snapshot(story: Story) -> None:
    asked, close = threading.Event(), threading.Event()

    def closing(peer: Peer) -> None:
        peer.read_head()
        asked.set()
        assert close.wait(10)

    old, new = telling(story, b"old"), story.origin(closing)
    worker = story.worker(old, new=(new,), weight=100.0)
    client = story.client(worker)
    client.send(get())
    assert asked.wait(10)
    worker.apply(a_snapshot(old, new=(new,), weight=0.0, revision=2))
    close.set()
    assert client.response().body == b"old"
    assert new.connections == 1


def test_a_body_that_is_still_coming_stays_with_the_version_that_has_its_beginning(story: Story) -> None:
    old, new = story.strict(), story.strict()
    worker = story.worker(old, new=(new,), weight=100.0)
    client = story.client(worker)
    whole = request("POST", "/", body=b"0123456789")
    client.send(whole[:-4])
    new.wait_until(lambda: new.connections == 1)
    worker.apply(a_snapshot(old, new=(new,), weight=0.0, revision=2))
    client.send(whole[-4:])
    assert client.response().body == b"POST / 10"
    assert old.connections == 0
