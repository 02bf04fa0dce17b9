"""Every request is counted once, with what its client got, whatever became of it."""

from __future__ import annotations

from dataclasses import replace

from proxy.dataplane.worker import Worker
from proxy.telemetry.names import Series
from tests.support.origins import Peer, answering, ok
from tests.support.story import Story, dead_address, get, request
from tests.support.worker import a_snapshot, server_at


def test_each_request_counts_once_by_its_status(story: Story) -> None:
    worker = story.worker(story.origin(answering(
        ok(b""), b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", ok(b""), b"HTTP/1.1 204 No Content\r\n\r\n")))
    client = story.client(worker)
    for _ in range(5):
        client.ask(get())
    assert worker.codes() == {200: 2, 404: 1, 204: 2}


def test_durations_are_counted_with_their_requests(story: Story) -> None:
    worker = story.worker(story.strict())
    client = story.client(worker)
    for _ in range(10):
        client.ask(get())
    delta = worker.call(lambda w: w.counters.collect())
    (name, labels, buckets, seconds), = delta.histograms
    assert (name, labels, sum(buckets.values())) == ("turnout_request_duration_seconds", ("all", "old"), 10)
    assert 0 < seconds < 5


def test_refusals_before_there_is_a_request_are_counted_by_reason(story: Story) -> None:
    worker = story.worker(story.strict())
    worker.ask(b"GET / HTTP/1.1\r\n\r\n")
    worker.ask(b"GET / HTTP/2.0\r\nHost: h\r\n\r\n")
    worker.ask(request("CONNECT", "h:1"))
    assert [worker.count("refusals_total", slug) for slug in (
        "bad-request", "version-not-supported", "not-implemented")] == [1, 1, 1]
    assert worker.codes() == {}


def test_connections_are_counted_while_they_are_open(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin)
    clients = [story.client(worker) for _ in range(4)]
    for client in clients:
        client.ask(get())
    assert worker.call(lambda w: w.counters.connections) == 4
    for client in clients:
        client.close()
    worker.wait_until(lambda w: w.counters.connections == 0)
    assert worker.count("connections_accepted_total") == 4
    worker.expire(0.0)
    worker.wait_until(lambda w: w.counters.upstream_connections == 1)


def test_what_is_in_flight_is_a_gauge(story: Story) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.read_to_end()

    worker = story.worker(story.origin(script))
    clients = [story.client(worker) for _ in range(3)]
    for client in clients:
        client.send(get())
    worker.wait_until(lambda w: sum(c.exchange is not None for c in w.clients) == 3)
    gauges = worker.call(lambda w: w.counters.collect().gauges)
    assert ("turnout_inflight_requests", ("all", "old"), 3) in gauges
    for client in clients:
        client.reset()


def test_what_a_server_has_in_flight_is_not_older_than_the_change_that_drained_it(story: Story) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.read_to_end()

    origin = story.origin(script)
    worker = story.worker(origin)
    client = story.client(worker)
    client.send(get())
    worker.wait_until(lambda w: any(c.exchange is not None for c in w.clients))
    server = server_at(origin).address
    drained = replace(a_snapshot(origin, revision=2), drained=frozenset({("old", server)}))

    def change(w: Worker) -> list[Series]:
        w.apply(drained)
        return w.counters.collect().gauges

    assert ("turnout_server_inflight", ("old", server), 1) in worker.call(change)
    client.reset()


def test_attempts_that_failed_are_counted_at_their_server_although_the_request_succeeded(story: Story) -> None:
    dead = dead_address()
    worker = story.worker(dead, story.strict())
    client = story.client(worker)
    for _ in range(4):
        assert client.ask(get()).status == 200
    failed = worker.count("upstream_errors_total", "old", server_at(dead).address, "connect-failed")
    assert failed >= 2
    assert worker.count("retries_total", "all", "old") == failed
    assert worker.codes() == {200: 4}


def test_a_bad_answer_is_counted_at_its_server(story: Story) -> None:
    origin = story.origin(answering(b"nonsense\r\n\r\n"))
    worker = story.worker(origin)
    assert worker.ask(get()).status == 502
    assert worker.count("upstream_errors_total", "old", origin.url, "bad-gateway") == 1
    assert worker.count("refusals_total", "bad-gateway") == 1
