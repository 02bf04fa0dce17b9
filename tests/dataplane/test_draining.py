"""Leaving in order: what is under way is finished, nothing new is begun, and the deadline holds."""

from __future__ import annotations

import threading
import time

from proxy.dataplane.worker import Worker
from tests.support.origins import Peer, ok
from tests.support.story import Story, WatchedWorker, get
from tests.support.wire import Wire


class Draining:
    """A drain under way in the background; `cut` is what it returned, `took_s` how long it took."""

    def __init__(self, worker: WatchedWorker, within_s: float) -> None:
        self.cut: int | None = None
        self.took_s = 0.0
        self._worker = worker
        self._within_s = within_s
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        worker.wait_until(lambda w: w._emptied is not None and all(c.last_one for c in w.clients))

    def _run(self) -> None:
        begun = time.monotonic()
        self.cut = self._worker.drain(self._within_s)
        self.took_s = time.monotonic() - begun

    def end(self) -> int:
        self._thread.join(20)
        assert self.cut is not None
        return self.cut


class Slow:
    """A server that begins its answer when told to, and ends it when told to."""

    def __init__(self, story: Story) -> None:
        self.begin, self.finish = threading.Event(), threading.Event()
        self.origin = story.origin(self._serve)

    def _serve(self, peer: Peer) -> None:
        while peer.read_head():
            assert self.begin.wait(10)
            answer = ok(b"slow answer")
            peer.send(answer[:-4])
            assert self.finish.wait(10)
            peer.send(answer[-4:])


def sent(worker: WatchedWorker, client: Wire) -> None:
    client.send(get())
    worker.wait_until(lambda w: any(c.exchange is not None for c in w.clients))


def test_a_request_that_waits_for_its_answer_is_finished_with_connection_close(story: Story) -> None:
    slow = Slow(story)
    worker = story.worker(slow.origin)
    client = story.client(worker)
    sent(worker, client)
    draining = Draining(worker, 10.0)
    slow.begin.set()
    slow.finish.set()
    answer = client.response()
    assert (answer.body, answer.value(b"connection")) == (b"slow answer", b"close")
    assert client.is_closed()
    assert draining.end() == 0
    assert draining.took_s < 5.0


def test_an_answer_that_has_begun_is_finished_and_the_connection_closed(story: Story) -> None:
    slow = Slow(story)
    slow.begin.set()
    worker = story.worker(slow.origin)
    client = story.client(worker)
    sent(worker, client)
    client.read_until(b"\r\n\r\n")
    draining = Draining(worker, 10.0)
    slow.finish.set()
    assert client.rest() == b"slow answer"
    assert draining.end() == 0


def test_idle_connections_are_closed_soon(story: Story) -> None:
    worker = story.worker(story.strict())
    used, fresh = story.client(worker), story.client(worker)
    assert used.ask(get()).status == 200
    worker.wait_until(lambda w: len(w.clients) == 2)
    draining = Draining(worker, 10.0)
    assert used.is_closed()
    assert fresh.is_closed()
    assert draining.end() == 0
    assert draining.took_s < 3.0


def test_a_request_that_was_on_its_way_is_answered(story: Story) -> None:
    worker = story.worker(story.strict())
    client = story.client(worker)
    assert client.ask(get()).status == 200
    draining = Draining(worker, 10.0)
    answer = client.ask(get("/late"))
    assert (answer.body, answer.value(b"connection")) == (b"GET /late 0", b"close")
    assert client.is_closed()
    assert draining.end() == 0


def test_connections_in_the_queue_are_answered(story: Story) -> None:
    """They were established before draining began; the worker had only not come to accepting them."""
    worker = story.worker(story.strict())
    queued: list[Wire] = []

    def queue_up(_: object) -> None:
        for number in range(5):
            wire = story.client(worker)
            wire.send(get(f"/{number}"))
            queued.append(wire)
        worker.worker.loop.create_task(drained())

    async def drained() -> None:
        cut.append(await worker.worker.drain(10.0))

    cut: list[int] = []
    worker.call(queue_up)
    for number, wire in enumerate(queued):
        answer = wire.response()
        assert (answer.body, answer.value(b"connection")) == (b"GET /%d 0" % number, b"close")
    worker.wait_until(lambda _: bool(cut))
    assert cut == [0]


def test_who_was_queued_is_answered_although_the_last_client_leaves_before_they_are_there(story: Story) -> None:
    worker = story.worker(story.strict())
    last = story.client(worker)
    assert last.ask(get()).status == 200
    queued: list[Wire] = []

    def begin(w: Worker) -> None:
        queued.append(story.client(worker))
        queued[0].send(get("/queued"))
        (client,) = w.clients
        w.loop.create_task(drained())
        w.loop.call_soon(client.transport.abort)

    async def drained() -> None:
        cut.append(await worker.worker.drain(10.0))

    cut: list[int] = []
    worker.call(begin)
    assert queued[0].response().body == b"GET /queued 0"
    worker.wait_until(lambda _: bool(cut))
    assert cut == [0]


def test_a_full_worker_that_leaves_accepts_who_is_queued_too(story: Story) -> None:
    """On a plain stop nobody else would."""
    worker = story.worker(story.strict(), limits={"connections": 1})
    first = story.client(worker)
    assert first.ask(get()).status == 200
    queued = [story.client(worker) for _ in range(3)]
    for client in queued:
        client.send(get("/queued"))
    draining = Draining(worker, 10.0)
    for client in queued:
        answer = client.response()
        assert (answer.body, answer.value(b"connection")) == (b"GET /queued 0", b"close")
    assert draining.end() == 0


def test_the_deadline_cuts_what_is_left_and_counts_it(story: Story) -> None:
    slow = Slow(story)
    worker = story.worker(slow.origin)
    clients = [story.client(worker) for _ in range(3)]
    for client in clients:
        client.send(get())
    worker.wait_until(lambda w: sum(c.exchange is not None for c in w.clients) == 3)
    draining = Draining(worker, 1.0)
    assert draining.end() == 3
    assert 0.9 < draining.took_s < 3.0
    assert all(client.rest() == b"" for client in clients)
    slow.begin.set()
    slow.finish.set()


def test_nothing_new_is_accepted(story: Story) -> None:
    slow = Slow(story)
    worker = story.worker(slow.origin)
    client = story.client(worker)
    sent(worker, client)
    draining = Draining(worker, 10.0)
    late = story.client(worker)  # the kernel takes it: whoever holds the socket next may accept it
    late.send(get())
    worker.wait_until(lambda w: w.clock() > w.now)
    assert worker.call(lambda w: len(w.clients)) == 1
    slow.begin.set()
    slow.finish.set()
    assert client.response().status == 200
    assert draining.end() == 0


def test_a_pipeline_ends_with_the_answer_that_says_so(story: Story) -> None:
    slow = Slow(story)
    worker = story.worker(slow.origin)
    client = story.client(worker)
    client.send(get("/1") + get("/2") + get("/3"))
    worker.wait_until(lambda w: any(c.exchange is not None for c in w.clients))
    draining = Draining(worker, 10.0)
    slow.begin.set()
    slow.finish.set()
    answer = client.response()
    assert answer.value(b"connection") == b"close"
    assert client.rest() == b""
    client.close()
    assert draining.end() == 0


def test_a_worker_with_nothing_to_do_leaves_at_once(story: Story) -> None:
    worker = story.worker(story.strict())
    assert worker.ask(get()).status == 200
    worker.wait_until(lambda w: not w.clients)
    draining = Draining(worker, 10.0)
    assert draining.end() == 0
    assert draining.took_s < 0.5
