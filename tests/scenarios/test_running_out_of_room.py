"""More clients than there are descriptors for, and ten thousand that only sit there: nobody else notices."""

from __future__ import annotations

import resource
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from proxy.clock import monotonic
from tests.support.deadline import wait_until
from tests.support.faults import Backend, descriptors, memory, settled_memory, workers_of
from tests.support.story import get, small_socket
from tests.support.turnout import Turnout, between, running
from tests.support.wire import Wire

GIB = 1 << 30
IDLE = 10_000
EACH_BYTES = 20 * 1024
"""Of memory for an idle connection: what the event loop and Python's objects take, and no buffers."""


@contextmanager
def behind_one_server(*, workers: int = 1, descriptors: int = 0) -> Iterator[Turnout]:
    with ExitStack() as ends:
        backend = Backend()
        ends.callback(backend.close)
        arguments = between(backend.url, backend.url, workers=workers)
        turnout = ends.enter_context(running(*arguments, descriptors=descriptors))
        assert turnout.address
        yield turnout


def paused_for(turnout: Turnout, reason: str) -> bool:
    with urllib.request.urlopen(f"{turnout.admin}/metrics", timeout=15) as page:
        return f'turnout_accept_paused{{reason="{reason}"}} 1'.encode() in page.read()


def test_five_hundred_clients_on_256_descriptors_wait_their_turn_and_the_operator_does_not() -> None:
    with behind_one_server(descriptors=256) as turnout, ExitStack() as ends:
        (worker,) = workers_of(turnout)
        assert turnout.ask("/before") == (200, b"/before")
        readers = [ends.enter_context(small_socket(turnout.address, 64 * 1024)) for _ in range(500)]
        for reader in readers:
            reader.sendall(get(f"/?big={GIB}"))
        served = 96  # half of what is left of 256 when 64 are put aside
        for reader in readers[:served]:
            assert reader.recv(12) == b"HTTP/1.1 200"
        wait_until(lambda: paused_for(turnout, "descriptors"), "told that it is paused")
        assert turnout.status()["workers"]
        assert descriptors(worker) < 256
        ends.close()
        left_at = monotonic()
        assert turnout.ask("/after") == (200, b"/after")
        assert monotonic() - left_at < 2
        wait_until(lambda: not paused_for(turnout, "descriptors"), "told that it goes on")
        wait_until(lambda: descriptors(worker) < 60, "every descriptor given back")
        assert workers_of(turnout) == [worker]
        assert turnout.process.poll() is None


@pytest.fixture
def _many_files() -> Iterator[None]:
    """As many descriptors as the host lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + 2000:
        pytest.skip(f"a process may open {hard} files here, too few for {IDLE} connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def idle_connections(turnout: Turnout, count: int) -> Iterator[None]:
    """So many connections that ask nothing more; every tenth has had an answer, so that none waits in a queue."""
    with ExitStack() as ends:
        for _ in range(count // 100):
            some = [Wire(turnout.address) for _ in range(100)]
            for wire in some:
                ends.callback(wire.reset)
            for wire in some[::10]:
                wire.send(get("/idle"))
            for wire in some[::10]:
                assert wire.response().body == b"/idle"
        yield


@pytest.mark.usefixtures("_many_files")
def test_ten_thousand_idle_connections_cost_little_memory_and_nobody_an_answer() -> None:
    with behind_one_server(workers=2) as turnout:
        workers = workers_of(turnout)
        with Wire(turnout.address) as busy:
            assert busy.ask(get("/warm")).status == 200
            before = sum(map(memory, workers))
            with idle_connections(turnout, IDLE):
                kept = [busy.ask(get(f"/{number}")).body for number in range(100)]
                fresh = [turnout.ask(f"/{number}") for number in range(100)]
                wait_until(lambda: sum(map(descriptors, workers)) > IDLE, "every connection accepted")
                grown = sum(map(settled_memory, workers)) - before
        assert kept == [b"/%d" % number for number in range(100)]
        assert fresh == [(200, body) for body in kept]
        assert grown < IDLE * EACH_BYTES
        wait_until(lambda: sum(map(descriptors, workers)) < 1100, "every connection forgotten")
        assert turnout.ask("/after") == (200, b"/after")
