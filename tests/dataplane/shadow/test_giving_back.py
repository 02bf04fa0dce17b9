"""Whatever happens to a request, each of its copies ends once, and what was held for them is given back."""

from __future__ import annotations

import threading

import pytest

from proxy.dataplane.worker import Worker
from tests.support.origins import Peer, answering, ok
from tests.support.shadowing import shadow_snapshot, shadowed
from tests.support.story import Story, get, request
from tests.support.wire import DEADLINE_S
from tests.support.worker import RunningWorker

MIB = 1024 * 1024
HALF_A_HEAD = b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 20_000
TIMEOUT_S = 5.0


def held(worker: RunningWorker) -> int:
    return worker.call(lambda worker: sum(budget.held for budget in worker.shadows._budgets.values()))


def copies(worker: Worker) -> int:
    return sum(len(budget.copies) for budget in worker.shadows._budgets.values())


def silent(peer: Peer) -> None:
    peer.read_to_end()


def answers_the_head(peer: Peer) -> None:
    peer.read_head()
    peer.send(ok(b"enough"))
    peer.read_to_end()


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked", "Content-Length: 200000"])
def test_an_answer_that_comes_before_the_body_ends_the_copy(story: Story, framing: str) -> None:
    old, new = story.origin(answers_the_head), story.strict()
    worker = shadowed(story, old, new, methods=("POST",), max_body=MIB)
    with worker.connect() as client:
        client.send(request("POST", "/early", framing) + b"3\r\nabc\r\n")
        assert client.response(b"POST").body == b"enough"
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert new.requests == []


def test_nothing_is_held_for_a_failed_copy_that_nobody_compares_while_its_client_still_waits(story: Story) -> None:
    may_answer = threading.Event()

    def slow(peer: Peer) -> None:
        peer.read_head()
        assert may_answer.wait(DEADLINE_S)
        peer.send(ok(b"late"))

    old, new = story.origin(slow), story.origin(answering(b"nonsense\r\n\r\n"))
    worker = shadowed(story, old, new, compare=None)
    with worker.connect() as client:
        client.send(get("/long-poll"))
        worker.wait_until(lambda worker: bool(worker.shadows._budgets["all"]._tally.outcomes))
        assert held(worker) == 0
        may_answer.set()
        assert client.response().body == b"late"


def test_a_request_that_is_too_large_is_let_go_of_before_it_is_answered(story: Story) -> None:
    old, new = story.origin(silent), story.strict()
    worker = shadowed(story, old, new, methods=("POST",), max_body=1_000)
    with worker.connect() as client:
        client.send(request("POST", "/x", "Transfer-Encoding: chunked") + b"5dc\r\n" + b"a" * 1_500 + b"\r\n")
        worker.wait_until(lambda worker: bool(worker.shadows._budgets["all"]._tally.skipped))
        assert held(worker) == 0


def test_what_is_not_kept_of_a_long_answer_is_not_held_either(story: Story) -> None:
    may_end = threading.Event()

    def long(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", bytes(90_000))
        assert may_end.wait(DEADLINE_S)
        peer.send(bytes(10_000))
        peer.read_to_end()

    worker = shadowed(story, story.origin(long), story.strict(), compare='{"max_body": 50000}')
    with worker.connect() as client:
        client.send(get())
        got = b""
        while len(got) < 90_000:
            got += client.sock.recv(1 << 16)
        assert held(worker) < 2_000
        may_end.set()


def test_heads_of_answers_are_within_the_memory_cap(story: Story) -> None:
    def half(peer: Peer) -> None:
        peer.read_head()
        peer.send(HALF_A_HEAD)
        peer.read_to_end()

    worker = shadowed(story, story.strict(), story.origin(half), memory=50_000, timeout_s=TIMEOUT_S)
    client = story.client(worker)
    for number in range(4):
        client.ask(get(f"/{number}"))
    worker.wait_until(lambda worker: copies(worker) == 2 and worker.shadows._budgets["all"].held > 40_000)
    assert held(worker) <= 50_000
    assert worker.count("shadow_requests_total", "all", "memory") == 2
    worker.expire(TIMEOUT_S)


def test_a_piece_of_a_body_counts_with_what_it_takes_beside_its_bytes(story: Story) -> None:
    worker = shadowed(story, story.strict(), story.strict(), methods=("POST",))
    with worker.connect() as client:
        client.send(request("POST", "/drip", "Content-Length: 100"))
        for _ in range(20):
            client.send(b"xx")
            worker.settle()
        assert held(worker) > 100 + 20 * 33


def test_no_more_copies_than_allowed_begin_when_uploads_end_together(story: Story) -> None:
    old, new = story.strict(), story.origin(silent)
    worker = shadowed(story, old, new, methods=("POST",), in_flight=3, timeout_s=TIMEOUT_S)
    clients = [story.client(worker) for _ in range(6)]
    for client in clients:
        client.send(request("POST", "/x", "Content-Length: 2") + b"a")
    worker.settle()
    for client in clients:
        client.send(b"b")
        client.response(b"POST")
    assert worker.call(copies) == 3
    assert worker.count("shadow_skipped_total", "all", "in_flight") == 3
    worker.expire(TIMEOUT_S)


def test_a_copy_and_its_control_are_two(story: Story) -> None:
    old, new = story.strict(), story.origin(silent)
    worker = shadowed(story, old, new, control=True, in_flight=3, timeout_s=TIMEOUT_S)
    client = story.client(worker)
    for number in range(4):
        client.ask(get(f"/{number}"))
        assert worker.call(copies) <= 3
    worker.expire(TIMEOUT_S)


def test_the_time_of_a_copy_begins_when_it_does(story: Story) -> None:
    old, new = story.strict(), story.strict()
    worker = shadowed(story, old, new, methods=("POST",), timeout_s=2.0)
    with worker.connect() as client:
        client.send(request("POST", "/slow", "Content-Length: 2") + b"a")
        worker.settle()
        worker.pass_time(3.0)
        may_go_on = threading.Event()
        new._answer = lambda _: ok(b"in time") if may_go_on.wait(DEADLINE_S) else b""
        client.send(b"b")
        client.response(b"POST")
        worker.pass_time(1.0)
        may_go_on.set()
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert worker.count("shadow_requests_total", "all", "answered") == 1


def test_a_shadow_teaches_the_parser_of_the_clients_answers_nothing(story: Story) -> None:
    names = iter(range(100))
    old, new = story.strict(), story.strict(lambda _: ok(b"x", b"Te%d: 1" % next(names)))
    worker = shadowed(story, old, new)
    client = story.client(worker)
    for number in range(10):
        client.ask(get(f"/{number}"))
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert worker.call(lambda worker: len(worker.site.responses._shapes)) == 1


def test_copies_end_when_the_worker_does(story: Story) -> None:
    old, new = story.origin(silent), story.origin(silent)
    worker = shadowed(story, old, new, methods=("GET", "POST"), control=True)
    collecting, waiting = story.client(worker), story.client(worker)
    collecting.send(request("POST", "/x", "Content-Length: 2") + b"a")
    waiting.send(get("/y"))
    new.wait_until(lambda: new.connections == 1)
    budget = worker.call(lambda worker: worker.shadows._budgets["all"])
    worker.call(lambda worker: worker.close())
    worker.wait_until(lambda _: budget.idle)


def test_a_copy_outlives_the_route_that_asked_for_it(story: Story) -> None:
    old, new = story.strict(), story.strict()
    worker = shadowed(story, old, new, methods=("POST",))
    with worker.connect() as client:
        client.send(request("POST", "/x", "Content-Length: 2") + b"a")
        worker.settle()
        budget = worker.call(lambda worker: worker.shadows._budgets["all"])
        worker.apply(shadow_snapshot(old, new, percent=0, revision=2))
        client.send(b"b")
        client.response(b"POST")
    assert new.wait_requests(1)[0].body == b"ab"
    worker.wait_until(lambda _: budget.idle)
