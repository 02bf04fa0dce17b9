"""A version is given no more than it may have at once; who finds no place waits for one, if there is room to wait."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import pytest

from proxy.core.overload.values import Adaptive, Load
from proxy.core.route import HeaderMatch, Match, Route, Sticky, Version
from proxy.dataplane.fleet.places import Places
from proxy.dataplane.worker import Worker
from tests.support.origins import Peer, ok
from tests.support.shop import EVERYTHING, PLENTY, Shop, servers, shop_snapshot
from tests.support.story import Story, get, request
from tests.support.unsteady import StepByStep, assert_adds_up, attempts
from tests.support.wire import Wire
from tests.support.worker import a_snapshot, server_at

ONE = Load(in_flight=1, queue=10, wait_s=30.0)


def step_by_step(story: Story) -> tuple[StepByStep, Callable[[int], None]]:
    """A server that answers when it is told to, and how to have it answer the request of this number, from 0."""
    server = story.join(StepByStep(b"old-0"))
    return server, server.answer


def waiting(shop: Shop, count: int, version: str = "old") -> None:
    """Wait until so many wait for a place."""
    shop.worker.wait_until(lambda worker: len(worker.site.fleets[version].places.room) == count)


def targets(heads: list[bytes]) -> list[bytes]:
    return [head.split(b" ")[1] for head in heads]


def send(shop: Shop, *what: bytes) -> list[Wire]:
    """Send each on a connection of its own, so that they come in this order."""
    clients = []
    for each in what:
        before = shop.worker.call(begun)
        clients.append(shop.story.client(shop.worker))
        clients[-1].send(each)
        shop.worker.wait_until(lambda worker, before=before: begun(worker) > before)  # type: ignore[misc]
    return clients


def begun(worker: Worker) -> int:
    """How many requests have come so far."""
    return sum(backend.tally.begun for backends in worker.site.backends for backend in backends)


@pytest.mark.parametrize("load", [Load(in_flight=2, queue=10, wait_s=30.0), Load(per_server=2, queue=10, wait_s=30.0)])
def test_no_more_are_in_flight_than_may_be_and_all_are_answered(story: Story, load: Load) -> None:
    most, now = [0], [0]

    def script(peer: Peer) -> None:
        while peer.read_head():
            now[0] += 1
            most[0] = max(most[0], now[0])
            peer.sock.settimeout(15)
            now[0] -= 1
            peer.send(ok(b"x"))

    origin = story.origin(script)
    shop = Shop(story, [origin.address], load=load)
    clients = [story.client(shop.worker) for _ in range(12)]
    for client in clients:
        client.send(get())
    assert {client.response().status for client in clients} == {200}
    assert most[0] <= 2
    assert origin.connections <= 2
    assert_adds_up(shop.worker)


def test_who_waits_is_served_in_the_order_of_coming(story: Story) -> None:
    server, answer = step_by_step(story)
    shop = Shop(story, [server], load=ONE)
    clients = send(shop, *[get(f"/{number}") for number in range(4)])
    waiting(shop, 3)
    for number, client in enumerate(clients):
        answer(number)
        assert client.response().body == b"GET /%d 0" % number
    assert shop.worker.count("queued_total", "old") == 3
    assert_adds_up(shop.worker)


def test_in_a_queue_that_stands_the_last_come_are_served_first(story: Story) -> None:
    server, answer = step_by_step(story)
    shop = Shop(story, [server], load=replace(ONE, wait_s=10.0))
    clients = send(shop, get("/0"), get("/1"))
    waiting(shop, 1)
    shop.worker.leap(6.0)
    clients += send(shop, get("/2"))[:1]
    waiting(shop, 2)
    for number in range(3):
        answer(number)
    assert {client.response().status for client in clients} == {200}
    assert targets(server.begun) == [b"/0", b"/2", b"/1"]


def test_the_more_important_routes_requests_are_served_first(story: Story) -> None:
    server, answer = step_by_step(story)
    versions = (Version("old", (server_at(server),), load=ONE),)
    important = Route("important", Match(headers=(HeaderMatch("x-important"),)), (("old", 1.0),), "old", priority=2)
    routes = (important, Route("all", Match(), (("old", 1.0),), "old"))
    shop = Shop(story, [server])
    shop.worker.apply(a_snapshot(versions=versions, routes=routes, revision=2))
    clients = send(shop, get("/0"), get("/1"), get("/2", "X-Important: yes"))
    waiting(shop, 2)
    for number in range(3):
        answer(number)
    assert {client.response().status for client in clients} == {200}
    assert targets(server.begun) == [b"/0", b"/2", b"/1"]


def test_where_the_room_is_full_the_one_who_came_first_has_to_go(story: Story) -> None:
    server, answer = step_by_step(story)
    shop = Shop(story, [server], load=replace(ONE, queue=1))
    first, loser, winner = send(shop, get("/0"), get("/1"), get("/2"))
    refused = loser.response()
    assert (refused.status, refused.value(b"retry-after")) == (503, b"1")
    assert b"version-busy" in refused.body
    for number in range(3):
        answer(number)
    assert (first.response().status, winner.response().body) == (200, b"GET /2 0")
    assert shop.worker.count("shed_total", "old", "queue-full") == 1
    assert loser.ask(get("/3")).status == 200
    assert_adds_up(shop.worker)


def test_without_a_queue_whoever_finds_no_place_is_refused(story: Story) -> None:
    server, answer = step_by_step(story)
    shop = Shop(story, [server], load=Load(in_flight=1))
    (first,) = send(shop, get("/0"))
    refused = shop.worker.ask(get("/1"))
    assert (refused.status, refused.value(b"retry-after")) == (503, b"1")
    answer(0)
    assert first.response().status == 200
    assert shop.worker.count("shed_total", "old", "no-place") == 1
    assert_adds_up(shop.worker)


@pytest.mark.parametrize("body", [b"Content-Length: 5\r\n\r\nhello",
                                  b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"])
def test_the_body_of_a_request_that_finds_no_place_is_no_request(story: Story, body: bytes) -> None:
    server, answer = step_by_step(story)
    shop = Shop(story, [server], load=Load(in_flight=1))
    (first,) = send(shop, get("/0"))
    client = story.client(shop.worker)
    head, _, rest = body.partition(b"\r\n\r\n")
    client.send(b"POST /1 HTTP/1.1\r\nHost: shop.example\r\n" + head + b"\r\n\r\n")
    assert client.response().status == 503
    client.send_some(rest)
    assert client.is_closed()
    answer(0)
    assert first.response().status == 200
    assert len(server.heads) == 1


def test_whoever_has_waited_too_long_is_told_so(story: Story) -> None:
    server, answer = step_by_step(story)
    shop = Shop(story, [server], load=replace(ONE, wait_s=2.0))
    first, late = send(shop, get("/0"), get("/1"))
    waiting(shop, 1)
    shop.worker.leap(2.5)
    refused = late.response()
    assert (refused.status, refused.value(b"retry-after")) == (503, b"1")
    answer(0)
    answer(1)
    assert first.response().status == 200
    assert late.ask(get("/2")).status == 200
    assert shop.worker.count("shed_total", "old", "queue-timeout") == 1
    assert_adds_up(shop.worker)


def test_waiting_does_not_take_the_time_that_an_answer_may_take(story: Story) -> None:
    server, answer = step_by_step(story)
    rules = replace(PLENTY, per_try_s=2.0)
    shop = Shop(story, [server], load=ONE, retry=rules)
    first, second = send(shop, get("/0"), get("/1"))
    waiting(shop, 1)
    shop.worker.leap(1.5)
    answer(0)
    assert first.response().status == 200
    server.wait_begun(2)
    shop.worker.leap(1.0)
    answer(1)
    assert second.response().status == 200


def test_a_client_that_leaves_while_it_waits_leaves_nothing_behind(story: Story) -> None:
    server, answer = step_by_step(story)
    shop = Shop(story, [server], load=ONE)
    first, gone, last = send(shop, get("/0"), get("/1"), get("/2"))
    waiting(shop, 2)
    gone.reset()
    waiting(shop, 1)
    answer(0)
    answer(1)
    assert {first.response().status, last.response().status} == {200}
    assert targets(server.begun) == [b"/0", b"/2"]
    assert shop.worker.codes() == {200: 2, 499: 1}
    assert_adds_up(shop.worker)


@pytest.mark.parametrize("size", [10, 30_000, 300_000])
def test_a_body_that_comes_while_it_waits_is_sent_whole(story: Story, size: int) -> None:
    server, answer = step_by_step(story)
    shop = Shop(story, [server], load=ONE)
    first, second = send(shop, get("/0"), b"PUT /1 HTTP/1.1\r\nHost: shop.example\r\nContent-Length: %d\r\n\r\n" % size)
    waiting(shop, 1)
    body = bytes(range(250)) * (size // 250) + bytes(size % 250)
    sending = threading.Thread(target=second.send_some, args=(body,), daemon=True)
    sending.start()
    shop.worker.wait_until(lambda worker: any(upload.taken for upload in worker.uploads) or not worker.uploads)
    answer(0)
    answer(1)
    assert first.response().status == 200
    assert second.response().status == 200
    sending.join(15)
    assert server.bodies[1] == body


def test_a_body_that_waits_takes_no_more_memory_in_small_pieces(story: Story) -> None:
    server, answer = step_by_step(story)
    shop = Shop(story, [server], load=ONE)
    first, second = send(shop, get("/0"), b"PUT /1 HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 100000\r\n\r\n")
    waiting(shop, 1)
    early = b"ab" * 30_000

    def receive(worker: Worker) -> int:
        (upload,) = worker.uploads
        tracemalloc.start()
        try:
            for at in range(0, len(early), 2):
                upload.receive(early[at:at + 2])
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    assert shop.worker.call(receive) < 2 * len(early)
    second.send(b"c" * 40_000)
    answer(0)
    answer(1)
    assert (first.response().status, second.response().status) == (200, 200)
    assert server.bodies[1] == early + b"c" * 40_000


def test_who_is_to_be_asked_for_the_body_waits_first(story: Story) -> None:
    server, answer = step_by_step(story)
    shop = Shop(story, [server], load=ONE, timeouts={"request_idle": 1.0})
    first, second = send(shop, get("/0"), b"PUT /1 HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\n"
                                          b"Expect: 100-continue\r\n\r\n")
    waiting(shop, 1)
    shop.worker.leap(5.0)
    answer(0)
    answer(1)
    assert first.response().status == 200
    server.wait_begun(2)
    second.send(b"hello")
    assert second.response().status == 200


def test_what_is_asked_behind_a_request_that_waits_is_answered_behind_it(story: Story) -> None:
    server, answer = step_by_step(story)
    shop = Shop(story, [server], load=ONE)
    first, second = send(shop, get("/0"), get("/1") + request("POST", "/2", body=b"pay") + get("/3"))
    waiting(shop, 1)
    for number in range(4):
        answer(number)
    assert first.response().status == 200
    assert [second.response().body for _ in range(3)] == [b"GET /1 0", b"POST /2 3", b"GET /3 0"]


def test_who_waits_is_served_by_the_snapshot_of_that_time(story: Story) -> None:
    new, answer = step_by_step(story)
    (old,) = servers(story, "well")
    shop = Shop(story, [old], [new], load=ONE)
    first, second = send(shop, get("/0"), get("/1"))
    waiting(shop, 1, "new")
    shop.change(sticky=Sticky("cookie", name="later"))
    answer(0)
    answer(1)
    assert first.response().values(b"set-cookie") == []
    assert len(second.response().values(b"set-cookie")) == 1
    assert_adds_up(shop.worker)


def test_a_rollback_sends_those_who_wait_to_the_baseline_at_once(story: Story) -> None:
    new, answer = step_by_step(story)
    (old,) = servers(story, "well")
    shop = Shop(story, [old], [new], load=ONE)
    first, second, third = send(shop, get("/0"), get("/1"), request("POST", "/2", body=b"pay"))
    waiting(shop, 2, "new")
    shop.change(weight=0.0)
    assert {second.response().status, third.response().status} == {200}
    assert len(old.heads) == 2
    answer(0)
    assert first.response().status == 200
    assert attempts(shop.worker) == {("new", "answered"): 1, ("old", "answered"): 2}
    assert_adds_up(shop.worker)


def test_a_version_that_is_cut_off_keeps_nobody_waiting(story: Story) -> None:
    (old,), (new,) = servers(story, "well"), servers(story, "silent", name=b"new")
    shop = Shop(story, [old], [new], load=ONE)
    first, second = send(shop, get("/0"), request("POST", "/1", body=b"pay"))
    waiting(shop, 1, "new")
    shop.cut("new", weight=0.0)
    assert {first.response().status, second.response().status} == {200}
    assert attempts(shop.worker) == {("new", "withdrawn"): 1, ("old", "answered"): 2}
    assert_adds_up(shop.worker)


def test_who_is_cut_off_waits_where_the_baseline_is_full(story: Story) -> None:
    old, answer = step_by_step(story)
    (new,) = servers(story, "silent", name=b"new")
    shop = Shop(story, [old], [new], baseline=ONE, weight=0.0)
    (first,) = send(shop, get("/0"))
    shop.change(weight=100.0)
    second = story.client(shop.worker)
    second.send(get("/1"))
    new.wait_heads(1)
    shop.cut("new", weight=0.0)
    waiting(shop, 1)
    answer(0)
    answer(1)
    assert {first.response().status, second.response().status} == {200}
    assert_adds_up(shop.worker)


def test_a_version_that_is_no_more_keeps_nobody_waiting(story: Story) -> None:
    new, answer = step_by_step(story)
    (old,) = servers(story, "well")
    shop = Shop(story, [old], [new], load=replace(ONE, wait_s=2.0))
    first, second, late = send(shop, get("/0"), get("/1"), get("/2"))
    waiting(shop, 2, "new")
    shop.worker._ahead_s += 3.0             # their time is up, and no sweep has told them yet
    shop.worker.apply(shop_snapshot([old], revision=9))
    assert {second.response().status, late.response().status} == {200}
    answer(0)
    assert first.response().status == 200
    assert_adds_up(shop.worker)


def test_more_places_are_filled_at_once(story: Story) -> None:
    server, answer = step_by_step(story)
    shop = Shop(story, [server], load=ONE)
    clients = send(shop, *[get(f"/{number}") for number in range(4)])
    waiting(shop, 3)
    shop.change(load=Load(in_flight=4, queue=10, wait_s=30.0))
    server.wait_begun(4)
    for number in range(4):
        answer(number)
    assert {client.response().status for client in clients} == {200}


def test_a_worker_that_leaves_serves_those_who_wait(story: Story) -> None:
    server, answer = step_by_step(story)
    shop = Shop(story, [server], load=ONE)
    first, second = send(shop, get("/0"), get("/1"))
    waiting(shop, 1)
    cut: list[int] = []
    leaving = threading.Thread(target=lambda: cut.append(shop.worker.drain(10.0)), daemon=True)
    leaving.start()
    shop.worker.wait_until(lambda worker: all(client.last_one for client in worker.clients))
    answer(0)
    answer(1)
    assert {first.response().status, second.response().status} == {200}
    first.close()
    second.close()
    leaving.join(15)
    assert cut == [0]


def test_a_server_that_is_full_leaves_its_requests_to_the_others(story: Story) -> None:
    (first, answer_first), (second, answer_second) = step_by_step(story), step_by_step(story)
    shop = Shop(story, [first, second], load=Load(per_server=1, queue=10, wait_s=30.0))
    clients = send(shop, get("/0"), get("/1"), get("/2"))
    waiting(shop, 1)
    first.wait_begun(1)
    second.wait_begun(1)
    answer_second(0)
    answer_second(1)
    second.wait_begun(2)
    assert len(first.begun) == 1
    answer_first(0)
    assert {client.response().status for client in clients} == {200}


def test_the_limit_that_follows_latency_is_told_and_lets_requests_through(story: Story) -> None:
    shop = Shop(story, servers(story, "well"), load=Load(adaptive=Adaptive(smallest=4, largest=64), queue=10))
    with shop.worker.connect() as client:
        for number in range(50):
            assert client.ask(get(f"/{number}")).status == 200
            shop.worker.leap(0.1)
    fleet = shop.worker.worker.site.fleets["old"]
    assert 4 <= fleet.limit <= 64
    assert fleet.calm
    assert not fleet.silent, "how long answers take is followed"
    assert_adds_up(shop.worker)


def test_a_limit_alone_costs_no_watching(story: Story) -> None:
    shop = Shop(story, servers(story, "well"), load=ONE)
    assert shop.worker.ask(get()).status == 200
    assert shop.worker.worker.site.fleets["old"].calm


def test_when_nobody_waits_any_more_the_version_is_calm(story: Story) -> None:
    server, answer = step_by_step(story)
    shop = Shop(story, [server], load=ONE)
    clients = send(shop, get("/0"), get("/1"))
    waiting(shop, 1)
    assert not shop.worker.worker.site.fleets["old"].calm
    answer(0)
    answer(1)
    assert {client.response().status for client in clients} == {200}
    shop.worker.settle()
    assert shop.worker.worker.site.fleets["old"].calm


def test_a_tunnel_takes_a_place_until_its_end(story: Story) -> None:
    def switching(peer: Peer) -> None:
        while head := peer.read_head():
            if b"Upgrade" not in head:
                peer.send(ok(b"plain"))
                continue
            peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
            peer.read_to_end()

    shop = Shop(story, [story.origin(switching).address], load=ONE, retry=EVERYTHING)
    tunnel, other = story.client(shop.worker), story.client(shop.worker)
    tunnel.send(get("/", "Connection: upgrade", "Upgrade: echo"))
    tunnel.read_until(b"\r\n\r\n")
    other.send(get())
    waiting(shop, 1)
    tunnel.close()
    assert other.response().body == b"plain"
    assert_adds_up(shop.worker)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the limit that follows latency is told, in seconds."""
    seen: list[float] = []
    took = Places.took

    def noting(places: Places, seconds: float) -> None:
        seen.append(seconds)
        took(places, seconds)

    monkeypatch.setattr(Places, "took", noting)
    return seen


def test_how_long_a_client_takes_to_send_its_body_is_no_latency(story: Story, told: list[float]) -> None:
    shop = Shop(story, servers(story, "well"), load=Load(adaptive=Adaptive()))
    client = story.client(shop.worker)
    client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na")
    shop.worker.wait_until(lambda worker: any(upload.taken for upload in worker.uploads))
    shop.worker.leap(5.0)
    client.send(b"b")
    assert client.response(b"PUT").status == 200
    assert len(told) == 1
    assert told[0] < 5.0


def test_a_failed_attempt_before_is_no_latency_of_the_server_that_answers(story: Story, told: list[float]) -> None:
    silent, well = servers(story, "silent", "well")
    shop = Shop(story, [silent, well], load=Load(adaptive=Adaptive()), retry=replace(EVERYTHING, per_try_s=2.0))
    client = story.client(shop.worker)
    client.send(get())
    silent.wait_heads(1)
    shop.worker.leap(3.0)
    assert client.response().status == 200
    assert len(told) == 1
    assert told[0] < 2.0
