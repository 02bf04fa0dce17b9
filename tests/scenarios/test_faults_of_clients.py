"""Clients that vanish, crawl and never read: the others are served, and nothing grows."""

from __future__ import annotations

import socket
import struct
from contextlib import ExitStack
from pathlib import Path

import pytest

from proxy.clock import monotonic
from tests.support.deadline import wait_until
from tests.support.faults import descriptors, memory, processor_s, settled_memory, whole_program, wires, workers_of
from tests.support.story import Story, get, request, small_socket
from tests.support.wire import Wire

MIB = 1 << 20


def test_five_thousand_connects_that_reset_at_once_leave_nothing(tmp_path: Path) -> None:
    with whole_program(config=tmp_path / "t.yaml") as (turnout, _):
        (worker,) = workers_of(turnout)
        assert turnout.ask("/warm")[0] == 200
        before, open_before = memory(worker), descriptors(worker)
        linger = struct.pack("ii", 1, 0)
        for number in range(5000):
            sock = socket.create_connection(turnout.address, timeout=15)
            if number % 3 == 0:
                sock.sendall(get("/gone"))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            sock.close()
        assert turnout.ask("/after") == (200, b"/after")
        wait_until(lambda: descriptors(worker) <= open_before + 2, "every descriptor given back")
        assert memory(worker) - before < 8 * MIB
        idle_from = processor_s(worker)
        assert turnout.ask("/again")[0] == 200
        assert processor_s(worker) - idle_from < 0.2, "something spins"


KEPT = 8 * 1024 * 1024
"""What a worker may keep of memory that was freed, so that it need not be asked for again."""

ONE_READ = 256_000
"""The most the event loop reads at once. Of what has been sent in part, the whole is kept."""

BESIDE = 64 * 1024
"""For the two connections and the exchange themselves, and for gaps between blocks of memory."""


def test_two_hundred_slow_readers_of_a_gigabyte_do_not_fill_the_memory(tmp_path: Path) -> None:
    with whole_program(config=tmp_path / "t.yaml") as (turnout, _), ExitStack() as ends:
        (worker,) = workers_of(turnout)
        assert turnout.ask("/warm")[0] == 200
        before = memory(worker)
        readers = [ends.enter_context(small_socket(turnout.address, 128 * 1024)) for _ in range(200)]
        for reader in readers:
            reader.sendall(get(f"/?big={1 << 30}"))
        for reader in readers:
            assert reader.recv(1000)
        grown = settled_memory(worker) - before
        for _ in range(4):
            for reader in readers:
                assert reader.recv(65536)
        later = settled_memory(worker) - before
        bound = 200 * (ONE_READ + BESIDE) + KEPT
        assert grown < bound
        assert later < bound
        assert turnout.ask("/others") == (200, b"/others")
        ends.close()
        wait_until(lambda: descriptors(worker) < 60, "every reader forgotten")


def test_five_hundred_heads_that_never_end_keep_nobody_out(tmp_path: Path) -> None:
    with whole_program(config=tmp_path / "t.yaml", timeouts="request_head: 1s") as (turnout, _), \
            wires(turnout.address, 500) as crawling:
        for wire in crawling:
            wire.send(b"GET / HTTP/1.1\r\nHost: h\r\n")
        begun = monotonic()
        open_still = list(crawling)
        while open_still:
            for wire in open_still:
                wire.send_some(b"X: y\r\n")
            assert turnout.ask("/others") == (200, b"/others")
            assert monotonic() - begun < 10, "a dripping head is not ended"
            open_still = [wire for wire in open_still if not has_ended(wire)]
        for wire in crawling:
            assert wire.received.startswith(b"HTTP/1.1 408 ")


def has_ended(wire: Wire) -> bool:
    wire.sock.settimeout(0.001)
    try:
        while piece := wire.sock.recv(4096):
            wire.received += piece
    except TimeoutError:
        return b"HTTP/1.1 408 " in wire.received
    except ConnectionResetError:
        pass
    return True


REQUESTS = {
    "bare": request("GET", "/bare"),
    "sized": request("POST", "/sized", body=b"hello world"),
    "chunked": request("POST", "/chunked", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    "expecting": request("POST", "/expecting", "Expect: 100-continue", body=b"hello world"),
}


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("end", ["close", "reset", "half_close"])
def test_a_request_that_breaks_at_any_byte_is_never_served_as_whole(story: Story, kind: str, end: str) -> None:
    whole = REQUESTS[kind]
    origin = story.strict()
    worker = story.worker(origin)
    for size in range(len(whole)):
        client = story.client(worker)
        client.send(whole[:size])
        getattr(client, end)()
        client.close()
    worker.wait_until(lambda w: not w.clients)
    assert story.client(worker).ask(get("/after")).body == b"GET /after 0"
    assert [message.target for message in origin.requests] == [b"/after"]


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_request_that_drips_byte_by_byte_is_served(story: Story, kind: str) -> None:
    client = story.client(story.worker(story.strict()))
    for byte in REQUESTS[kind]:
        client.send(bytes((byte,)))
    answer = client.response()
    assert answer.status == 200
    assert client.ask(get("/next")).body == b"GET /next 0"


def test_clients_that_leave_with_their_answers_under_way_leave_nothing(tmp_path: Path) -> None:
    with whole_program(config=tmp_path / "t.yaml") as (turnout, _):
        (worker,) = workers_of(turnout)
        assert turnout.ask("/warm")[0] == 200
        before, open_before = settled_memory(worker), descriptors(worker)
        for turn in range(300):
            wire = Wire(turnout.address)
            wire.send(get(f"/?big={64 * MIB}"))
            assert wire.sock.recv(100)
            wire.reset() if turn % 2 else wire.close()
        wait_until(lambda: descriptors(worker) <= open_before + 2, "every descriptor given back")
        assert memory(worker) - before < 16 * MIB
        assert turnout.ask("/after") == (200, b"/after")
