"""A new snapshot under load: one assignment, and nobody is lost."""

from __future__ import annotations

import threading
from dataclasses import replace

from proxy.core.route import Version
from proxy.core.snapshot import Snapshot
from tests.support.origins import Origin, Peer, ok
from tests.support.story import Story, WatchedWorker, dead_address, get, request
from tests.support.wire import Wire
from tests.support.worker import a_snapshot, server_at


def telling(story: Story, name: str) -> Origin:
    def script(peer: Peer) -> None:
        while peer.read_head():
            peer.send(ok(name.encode()))
    return story.origin(script)


class Holding:
    """A server that answers when it is told to."""

    def __init__(self, story: Story, body: bytes = b"held") -> None:
        self.finish = threading.Event()
        self._body = body
        self.origin = story.origin(self._serve)

    def _serve(self, peer: Peer) -> None:
        while peer.read_head():
            assert self.finish.wait(10)
            peer.send(ok(self._body))


def in_exchange(worker: WatchedWorker) -> None:
    worker.wait_until(lambda w: any(c.exchange is not None for c in w.clients))


def test_connections_survive_and_the_next_request_is_served_anew(story: Story) -> None:
    one, two = telling(story, "one"), telling(story, "two")
    worker = story.worker(one)
    client = story.client(worker)
    for revision in range(2, 12):
        current = two if revision % 2 else one
        worker.apply(a_snapshot(current, revision=revision))
        assert client.ask(get()).body == (b"two" if revision % 2 else b"one")


def test_no_request_goes_to_a_version_after_its_weight_became_nothing(story: Story) -> None:
    old, new = telling(story, "old"), telling(story, "new")
    worker = story.worker(old, new=(new,), weight=100.0)
    clients = [story.client(worker) for _ in range(4)]
    stop = threading.Event()
    answers: list[list[bytes]] = [[] for _ in clients]

    def load(client: Wire, seen: list[bytes]) -> None:
        while not stop.is_set():
            seen.append(client.ask(get()).body)

    threads = [threading.Thread(target=load, args=pair) for pair in zip(clients, answers, strict=True)]
    for thread in threads:
        thread.start()
    old.wait_until(lambda: True)
    for revision in range(2, 40):
        weight = 100.0 if revision % 2 else 0.0
        worker.apply(a_snapshot(old, new=(new,), weight=weight, revision=revision))
        probe = worker.ask(get()).body
        assert probe == (b"new" if revision % 2 else b"old")
    stop.set()
    for thread in threads:
        thread.join(10)
    assert all(answers)
    assert {answer for seen in answers for answer in seen} <= {b"old", b"new"}


def test_no_request_sees_two_revisions(story: Story) -> None:
    """Every revision moves route, version and server together: an answer of one must never carry another's marks."""
    origin = story.strict()
    address = server_at(origin)

    def revision_of(number: int) -> Snapshot:
        whole = a_snapshot(origin, revision=number)
        route = replace(whole.routes[0], name=f"r{number}", split=((f"v{number}", 1.0),), baseline=f"v{number}")
        return replace(whole, versions=(Version(f"v{number}", (address,)),), routes=(route,))

    worker = story.serving(revision_of(1))
    client = story.client(worker)
    for number in range(2, 30):
        client.send(get() * 5)
        worker.apply(revision_of(number))
        for _ in range(5):
            assert client.response().status == 200
    worker.count("requests_total")
    mixed = [key for key in worker.counted if key[0] == "turnout_requests_total" and key[1][1:] != key[2][1:]]
    assert mixed == []
    assert sum(count for key, count in worker.counted.items() if key[0] == "turnout_requests_total") == 28 * 5


def test_a_server_that_left_gets_no_new_request_and_its_idle_connections_close(story: Story) -> None:
    leaving, staying = telling(story, "leaving"), telling(story, "staying")
    worker = story.worker(leaving)
    client = story.client(worker)
    assert client.ask(get()).body == b"leaving"
    worker.apply(a_snapshot(staying, revision=2))
    leaving.wait_ended(1)
    assert {client.ask(get()).body for _ in range(20)} == {b"staying"}
    assert leaving.connections == 1


def test_a_request_in_flight_finishes_at_the_server_that_left(story: Story) -> None:
    holding = Holding(story)
    worker = story.worker(holding.origin)
    client = story.client(worker)
    client.send(get())
    in_exchange(worker)
    worker.apply(a_snapshot(telling(story, "next"), revision=2))
    other = story.client(worker)
    assert other.ask(get()).body == b"next"
    holding.finish.set()
    assert client.response().body == b"held"
    holding.origin.wait_ended(1)  # its connection is not kept
    assert client.ask(get()).body == b"next"


def test_servers_that_stay_keep_their_connections_and_their_counts(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin)
    client = story.client(worker)
    for revision in range(2, 8):
        assert client.ask(get()).status == 200
        worker.apply(a_snapshot(origin, revision=revision))
    assert origin.connections == 1
    assert worker.codes() == {200: 6}


def test_a_retry_reads_the_snapshot_anew(story: Story) -> None:
    """The server dies with the request; meanwhile the route was sent elsewhere, and there the retry goes."""
    die = threading.Event()

    def dying(peer: Peer) -> None:
        peer.read_head()
        assert die.wait(10)

    worker = story.worker(story.origin(dying))
    client = story.client(worker)
    client.send(get())
    in_exchange(worker)
    worker.apply(a_snapshot(dead_address(), new=(telling(story, "new"),), weight=100.0, revision=2))
    die.set()
    assert client.response().body == b"new"
    assert worker.count("retries_total", "all", "old") == 1
    assert worker.codes("new") == {200: 1}


def test_time_outs_and_limits_change_with_the_snapshot(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin)
    client = story.client(worker)
    assert client.ask(request("POST", "/", body=b"x" * 100)).status == 200
    worker.apply(a_snapshot(origin, revision=2, limits={"body": 10}))
    assert client.ask(request("POST", "/", body=b"x" * 100)).status == 413


def test_twenty_changes_while_a_long_answer_flows_leave_it_whole(story: Story) -> None:
    go = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (20 * 65536))
        for _ in range(20):
            assert go.acquire(timeout=10)
            peer.send(b"x" * 65536)

    worker = story.worker(story.origin(script))
    other = telling(story, "other")
    client = story.client(worker)
    client.send(get())
    client.read_until(b"\r\n\r\n")
    for revision in range(2, 22):
        worker.apply(a_snapshot(other, revision=revision))
        go.release()
    size = len(client.received)
    while size < 20 * 65536:
        piece = client.sock.recv(1 << 18)
        assert piece
        size += len(piece)
    client.received = b""
    assert client.ask(get()).body == b"other"
