"""Connections of one client address: those beyond the limit are told so and closed, and nobody else notices."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from tests.support.story import Story, get
from tests.support.wire import Wire, reset
from tests.support.worker import RunningWorker, a_snapshot

TWO = {"client_connections": 2}


def from_address(worker: RunningWorker, source: str) -> Wire:
    """A connection that comes from this loopback address."""
    wire = Wire.__new__(Wire)
    wire.received = b""
    wire.sock = socket.create_connection(worker.address, 15.0, (source, 0))  # type: ignore[arg-type]
    return wire


def test_one_too_many_is_told_why_and_closed_and_the_others_go_on(story: Story) -> None:
    worker = story.worker(story.strict(), limits=TWO)
    here = [story.client(worker), story.client(worker)]
    assert [client.ask(get()).status for client in here] == [200, 200]
    refused = story.client(worker).response()
    assert (refused.status, refused.value(b"connection"), refused.value(b"retry-after")) == (429, b"close", b"1")
    assert json.loads(refused.body)["type"] == "urn:turnout:refusal:too-many-connections"
    assert [client.ask(get()).status for client in here] == [200, 200]
    assert worker.count("client_limited_total", "connections") == 1
    assert worker.count("refusals_total", "too-many-connections") == 1
    assert worker.count("connections_accepted_total") == 2


def test_it_learns_so_also_when_its_request_is_there_already(story: Story) -> None:
    worker = story.worker(story.strict(), limits=TWO)
    here = [story.client(worker), story.client(worker)]
    assert [client.ask(get()).status for client in here] == [200, 200]

    def come_with_a_request(_: object) -> Wire:
        """While the worker's loop stands still."""
        wire = story.client(worker)
        wire.send(get())
        return wire

    late = worker.call(come_with_a_request)
    assert late.response().status == 429
    assert late.is_closed()


def test_the_limit_is_exact_even_when_all_come_at_once(story: Story) -> None:
    worker = story.worker(story.strict(), limits=TWO)

    def crowd(_: object) -> list[Wire]:
        return [story.client(worker) for _ in range(20)]

    crowded = worker.call(crowd)
    for wire in crowded:
        wire.send_some(get())
    assert sorted(wire.response().status for wire in crowded) == [200, 200] + [429] * 18


def test_its_seat_is_free_again_when_a_connection_has_ended(story: Story) -> None:
    worker = story.worker(story.strict(), limits={"client_connections": 1})
    for _ in range(5):
        client = story.client(worker)
        assert client.ask(get()).status == 200
        client.close()
        worker.wait_until(lambda w: not w.clients)


def test_connections_that_reset_at_once_leave_no_seat_taken(story: Story) -> None:
    worker = story.worker(story.strict(), limits={"client_connections": 100})

    def crowd(_: object) -> None:
        for _ in range(90):
            sock = socket.create_connection(worker.address)  # type: ignore[arg-type]
            reset(sock)

    for _ in range(3):
        worker.call(crowd)
        worker.settle()
    assert story.client(worker).ask(get()).status == 200
    worker.wait_until(lambda w: len(w.clients) == 1)
    assert worker.call(lambda w: w.admission._seats.taken("127.0.0.1")) == 1


def test_other_addresses_have_seats_of_their_own(story: Story) -> None:
    worker = story.worker(story.strict(), limits={"client_connections": 1})
    assert story.client(worker).ask(get()).status == 200
    with from_address(worker, "127.0.0.2") as other, from_address(worker, "127.0.0.2") as one_too_many:
        assert other.ask(get()).status == 200
        assert one_too_many.response().status == 429


def test_an_ipv6_client_is_limited_too(story: Story) -> None:
    worker = story.worker(story.strict(), limits={"client_connections": 1}, host="::1")
    assert story.client(worker).ask(get()).status == 200
    assert story.client(worker).response().status == 429


def test_a_trusted_proxy_is_as_many_clients_as_it_has_connections(story: Story) -> None:
    worker = story.worker(story.strict(), limits={"client_connections": 1}, trusted=("127.0.0.1/32",))
    assert [story.client(worker).ask(get()).status for _ in range(4)] == [200] * 4


def test_clients_on_a_unix_socket_are_not_limited(story: Story, tmp_path: Path) -> None:
    worker = story.worker(story.strict(), limits={"client_connections": 1}, unix_path=str(tmp_path / "s"))
    assert [story.client(worker).ask(get()).status for _ in range(4)] == [200] * 4


def test_a_limit_that_comes_later_counts_those_who_are_there_and_closes_none(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin)
    here = [story.client(worker) for _ in range(3)]
    assert [client.ask(get()).status for client in here] == [200] * 3
    worker.apply(a_snapshot(origin, limits=TWO, revision=2))
    assert story.client(worker).response().status == 429
    assert [client.ask(get()).status for client in here] == [200] * 3
    for client in here[:2]:
        client.close()
    worker.wait_until(lambda w: len(w.clients) == 1)
    assert story.client(worker).ask(get()).status == 200


def test_a_flood_of_connections_keeps_nobody_out(story: Story) -> None:
    worker = story.worker(story.strict(), limits={"client_connections": 5})
    for _ in range(300):
        story.client(worker)
    with from_address(worker, "127.0.0.3") as other:
        assert other.ask(get()).status == 200
    worker.wait_until(lambda w: len(w.clients) == 5)
