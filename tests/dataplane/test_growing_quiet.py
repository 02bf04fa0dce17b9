"""A worker that drains says when nothing new can begin there: its successor then knows that all new work is its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

from proxy.clock import monotonic
from tests.support.origins import Peer, ok
from tests.support.story import Story, WatchedWorker, get


class Leaving:
    """A drain under way, and when it became quiet."""

    def __init__(self, worker: WatchedWorker, within_s: float = 10.0) -> None:
        self.began = monotonic()
        self.told: list[float] = []
        self.quiet = threading.Event()
        self._end: Future[int] = asyncio.run_coroutine_threadsafe(
            worker.worker.drain(within_s, self._on_quiet), worker.worker.loop)

    def _on_quiet(self) -> None:
        self.told.append(monotonic())
        self.quiet.set()

    def end(self) -> int:
        return self._end.result(15)


def test_a_worker_with_nothing_to_do_is_quiet_at_once(story: Story) -> None:
    worker = story.worker(story.strict())
    leaving = Leaving(worker)
    assert leaving.end() == 0
    assert len(leaving.told) == 1


def test_it_is_quiet_while_the_last_answers_are_still_under_way(story: Story) -> None:
    finish = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_head()
        assert finish.wait(10)
        peer.send(ok(b"late"))

    worker = story.worker(story.origin(script))
    client = story.client(worker)
    client.send(get())
    worker.wait_until(lambda w: any(c.exchange is not None for c in w.clients))
    leaving = Leaving(worker)
    assert leaving.quiet.wait(5)
    finish.set()
    answer = client.response()
    assert (answer.body, answer.value(b"connection")) == (b"late", b"close")
    assert leaving.end() == 0
    assert len(leaving.told) == 1


def test_it_is_not_quiet_while_an_idle_connection_may_still_send_a_request(story: Story) -> None:
    worker = story.worker(story.strict())
    client = story.client(worker)
    assert client.ask(get()).status == 200
    leaving = Leaving(worker)
    assert client.ask(get("/late")).status == 200
    assert client.is_closed()
    assert leaving.end() == 0
    assert len(leaving.told) == 1


def test_idle_connections_are_waited_for_a_moment_only(story: Story) -> None:
    worker = story.worker(story.strict())
    client = story.client(worker)
    assert client.ask(get()).status == 200
    leaving = Leaving(worker)
    assert client.is_closed()
    assert leaving.quiet.wait(5)
    assert leaving.told[0] - leaving.began > 0.9
    assert leaving.end() == 0


def test_a_drain_that_ends_by_its_deadline_has_said_so_too(story: Story) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.read_to_end()

    worker = story.worker(story.origin(script))
    client = story.client(worker)
    client.send(get())
    worker.wait_until(lambda w: any(c.exchange is not None for c in w.clients))
    leaving = Leaving(worker, 0.5)
    assert leaving.end() == 1
    assert len(leaving.told) == 1
