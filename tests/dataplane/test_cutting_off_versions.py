"""A change that cuts a version off: what runs there goes on elsewhere where that is safe, and else ends visibly."""

from __future__ import annotations

import threading

from tests.support.origins import Origin, Peer, ok
from tests.support.story import Story, WatchedWorker, get, request
from tests.support.wire import Wire
from tests.support.worker import a_snapshot

CUT = (("all", "new"),)


def telling(story: Story, name: str) -> Origin:
    def script(peer: Peer) -> None:
        while peer.read_head():
            peer.send(ok(name.encode()))
    return story.origin(script)


class Stuck:
    """A server that reads, says `begun` of its answer, and then nothing more."""

    def __init__(self, story: Story, begun: bytes = b"", until: bytes = b"\r\n\r\n") -> None:
        self.asked = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        self._begun, self._until = begun, until
        self.origin = story.origin(self._serve)

    def _serve(self, peer: Peer) -> None:
        if peer.read_until(self._until):
            if self._begun:
                peer.send(self._begun)
            self.asked.release()
            peer.read_to_end()
            self.ended.release()


def cut_off(worker: WatchedWorker, old: Origin, stuck: Stuck) -> None:
    """Take the new version's weight away, and end what it is working on."""
    worker.call(lambda w: w.apply(a_snapshot(old, new=(stuck.origin,), weight=0.0, revision=2), CUT))


def asking(story: Story, worker: WatchedWorker, stuck: Stuck, what: bytes) -> Wire:
    client = story.client(worker)
    client.send(what)
    assert stuck.asked.acquire(timeout=10)
    return client


def test_a_get_without_an_answer_yet_is_answered_by_the_other_version(story: Story) -> None:
    old, stuck = telling(story, "old"), Stuck(story)
    worker = story.worker(old, new=(stuck.origin,), weight=100.0)
    client = asking(story, worker, stuck, get())
    cut_off(worker, old, stuck)
    assert client.response().body == b"old"
    assert client.ask(get()).body == b"old"
    assert stuck.ended.acquire(timeout=10)
    assert worker.codes() == {200: 2}
    assert worker.count("retries_total", "all", "new") == 1
    assert worker.count("upstream_errors_total", "new", stuck.origin.url, "withdrawn") == 0


def test_half_of_an_answers_head_is_forgotten(story: Story) -> None:
    old, stuck = telling(story, "old"), Stuck(story, b"HTTP/1.1 200 OK\r\nX-Half")
    worker = story.worker(old, new=(stuck.origin,), weight=100.0)
    client = asking(story, worker, stuck, get())
    worker.settle()
    cut_off(worker, old, stuck)
    assert client.response().body == b"old"


def test_a_post_that_the_version_has_is_refused_and_never_sent_twice(story: Story) -> None:
    old, stuck = story.strict(), Stuck(story, until=b"body")
    worker = story.worker(old, new=(stuck.origin,), weight=100.0)
    client = asking(story, worker, stuck, request("POST", "/", body=b"body"))
    cut_off(worker, old, stuck)
    answer = client.response()
    assert (answer.status, answer.value(b"retry-after")) == (503, b"1")
    assert b'"withdrawn"' not in answer.body
    assert b"urn:turnout:refusal:withdrawn" in answer.body
    assert b'"culprit": "operator"' in answer.body
    assert old.connections == 0
    assert worker.codes("new") == {503: 1}
    assert worker.count("refusals_total", "withdrawn") == 1
    assert client.ask(get()).status == 200


def test_a_put_whose_body_is_gone_is_refused(story: Story) -> None:
    old, stuck = story.strict(), Stuck(story, until=b"some")
    worker = story.worker(old, new=(stuck.origin,), weight=100.0)
    client = asking(story, worker, stuck, request("PUT", "/", "Content-Length: 100") + b"some")
    cut_off(worker, old, stuck)
    answer = client.response()
    assert (answer.status, answer.value(b"connection")) == (503, b"close")
    assert old.connections == 0


def test_a_body_that_still_waits_for_the_go_ahead_goes_to_the_other_version(story: Story) -> None:
    old, stuck = story.strict(), Stuck(story)
    worker = story.worker(old, new=(stuck.origin,), weight=100.0)
    client = asking(story, worker, stuck, request("PUT", "/", "Content-Length: 4", "Expect: 100-continue"))
    cut_off(worker, old, stuck)
    old.wait_until(lambda: old.connections == 1)
    client.send(b"body")
    assert client.response().body == b"PUT / 4"


def test_an_answer_that_has_begun_is_cut_visibly(story: Story) -> None:
    old = telling(story, "old")
    stuck = Stuck(story, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
    worker = story.worker(old, new=(stuck.origin,), weight=100.0)
    client = asking(story, worker, stuck, get())
    client.read_until(b"part\r\n")
    cut_off(worker, old, stuck)
    assert client.rest() == b""
    assert stuck.ended.acquire(timeout=10)
    assert worker.count("refusals_total", "withdrawn") == 1


def test_what_other_versions_and_routes_work_on_goes_on(story: Story) -> None:
    finish = threading.Event()

    def script(peer: Peer) -> None:
        while peer.read_head():
            assert finish.wait(10)
            peer.send(ok(b"finished"))

    old = story.origin(script)
    worker = story.worker(old, new=(telling(story, "new"),), weight=0.0)
    client = story.client(worker)
    client.send(get())
    old.wait_until(lambda: old.connections == 1)
    worker.call(lambda w: w.apply(a_snapshot(old, revision=2), (("all", "new"), ("other", "old"))))
    finish.set()
    assert client.response().body == b"finished"


def test_a_request_whose_connection_is_still_being_made_goes_elsewhere_whatever_its_method(story: Story) -> None:
    from tests.support.story import full_backlog

    with full_backlog() as deaf:
        old = story.strict()
        worker = story.worker(old, new=(deaf,), weight=100.0)
        client = story.client(worker)
        client.send(request("POST", "/", body=b"body"))
        worker.wait_until(lambda w: any(c.exchange is not None for c in w.clients))
        worker.call(lambda w: w.apply(a_snapshot(old, new=(deaf,), weight=0.0, revision=2), CUT))
        assert client.response().body == b"POST / 4"
