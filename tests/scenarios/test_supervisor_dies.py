"""What happens to workers, and to clients, when the supervisor is killed: they serve on, and a new one takes over."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from proxy.ipc import heirloom
from tests.support.bare import Bare, bare
from tests.support.deadline import wait_until
from tests.support.load import Load
from tests.support.origins import Origin, Peer, StrictOrigin, ok
from tests.support.processes import all_gone, is_gone, stand_still
from tests.support.wire import Wire, refuses

GET = b"GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"


def waits_for_an_heir(pid: int) -> bool:
    return re.search(rf"@turnout-orphan/.*/{pid}$", Path("/proc/net/unix").read_text(), re.MULTILINE) is not None


def tagged(name: bytes) -> StrictOrigin:
    return StrictOrigin(lambda _: ok(name))


@contextmanager
def orphaned(origin: StrictOrigin, **plan: object) -> Iterator[Bare]:
    """Workers whose supervisor has just been killed."""
    with bare(origin, **plan) as first:  # type: ignore[arg-type]
        assert first.workers
        first.kill()
        yield first


def at(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


def test_without_their_supervisor_workers_serve_on_and_nothing_is_lost() -> None:
    with tagged(b"old") as old, bare(old) as first, Load(first.address, 12, GET) as load:
        load.wait_each(10)
        first.kill()
        load.wait_each(50)
        assert not any(map(is_gone, first.workers))
        load.stop()
        assert (load.lost, load.strange) == ([], [])
        assert not any(client.refused for client in load.clients)


@pytest.mark.parametrize(("before", "after"), [(2, 2), (3, 1), (1, 3)])
def test_a_new_supervisor_takes_the_sockets_over_under_load_and_nothing_is_lost(before: int, after: int) -> None:
    with tagged(b"old") as old, bare(old, workers=before) as first, Load(first.address, 12, GET) as load:
        load.wait_each(10)
        first.kill()
        load.wait_each(10)
        with bare(old, listen=at(first.address), workers=after) as second:
            assert sorted(second.heard("serving")["orphans"]) == first.workers
            all_gone(*first.workers)
            load.wait_each(20)
            load.stop()
            assert (load.lost, load.strange) == ([], [])
            assert not any(client.refused for client in load.clients)
            second.tell("")
            assert second.wait() == 0


def test_a_connection_that_waits_in_the_queue_of_an_orphan_is_answered() -> None:
    with tagged(b"old") as old, orphaned(old, workers=1) as first, Wire(first.address) as wire:
        with bare(old, listen=at(first.address), workers=2) as second:
            assert second.workers
            all_gone(*first.workers)
            wires = [Wire(second.address) for _ in range(8)]
            for one in wires:
                assert one.ask(GET).body == b"old"
                one.close()
        assert wire.is_closed()


def test_no_change_is_answered_before_orphans_have_become_quiet() -> None:
    with (
        tagged(b"old") as old, tagged(b"new") as new, orphaned(old, workers=1) as first,
        Wire(first.address) as kept, bare(old, new=new, listen=at(first.address)) as second,
    ):
        assert kept.ask(GET).body == b"old"
        assert second.workers
        second.tell("apply 2 new")
        assert second.heard("changed")["workers"] == 2
        assert kept.is_closed(), "who is still with an orphan would be served by the revision before"
        with Wire(second.address) as wire:
            assert wire.ask(GET).body == b"new"


def test_a_change_that_cuts_also_cuts_what_orphans_work_on() -> None:
    release = threading.Event()

    def script(peer: Peer) -> None:
        while peer.read_head():
            release.wait()

    with (
        Origin(script) as slow, tagged(b"old") as old, bare(old, new=slow, weight=100.0) as first,
        Wire(first.address) as busy,
    ):
        busy.send(GET)
        slow.wait_until(lambda: slow.connections == 1)
        first.kill()
        with bare(old, new=slow, listen=at(first.address)) as second:
            assert second.workers
            second.tell("apply 2 old")
            assert second.heard("changed")
            assert busy.response().body == b"old", "what the server did not answer goes to the other version"
        release.set()


def test_orphans_that_nobody_comes_for_leave_when_their_time_is_up() -> None:
    with tagged(b"old") as old, orphaned(old, orphan_s=0.3) as first, Wire(first.address) as wire:
        assert wire.ask(GET).body == b"old"
        all_gone(*first.workers)
        assert refuses(first.address)


def test_without_time_for_orphans_workers_finish_and_leave_at_once() -> None:
    with tagged(b"old") as old, orphaned(old, orphan_s=0.0) as first:
        all_gone(*first.workers)
        assert refuses(first.address)


def test_an_orphan_that_is_told_to_end_finishes_and_leaves() -> None:
    with tagged(b"old") as old, orphaned(old) as first:
        wait_until(lambda: all(map(waits_for_an_heir, first.workers)), "all have noticed")
        for pid in first.workers:
            os.kill(pid, signal.SIGTERM)
        all_gone(*first.workers)


def test_a_worker_whose_supervisor_lives_ignores_signals_of_the_group() -> None:
    with tagged(b"old") as old, bare(old, workers=1) as first:
        os.kill(first.workers[0], signal.SIGTERM)
        with Wire(first.address) as wire:
            assert wire.ask(GET).body == b"old"


def test_an_orphan_that_is_stuck_is_ended_and_does_not_hold_up_the_start() -> None:
    with tagged(b"old") as old, bare(old) as first:
        stuck, well = first.workers
        stand_still(stuck)
        first.kill()
        with bare(old, listen=at(first.address)) as second:
            assert second.heard("serving")["orphans"] == [well]
            assert second.heard("serving")["took_s"] < 2.5, "a second of it is patience"
            all_gone(stuck, well)


def test_where_every_orphan_is_stuck_the_start_waits_for_their_end_and_has_the_address_then() -> None:
    with tagged(b"old") as old, bare(old) as first:
        for pid in first.workers:
            stand_still(pid)
        first.kill()
        with bare(old, listen=at(first.address)) as second:
            assert second.heard("serving")["orphans"] == []
            all_gone(*first.workers)
            with Wire(second.address) as wire:
                assert wire.ask(GET).body == b"old"


def test_nobody_can_sit_where_orphans_wait_before_them() -> None:
    with tagged(b"old") as old, bare(old) as first, ExitStack() as squatters:
        for pid in first.workers:
            squatter = squatters.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            squatter.bind(heirloom.meeting_place(pid))  # all of it that the process id tells
            squatter.listen()
        first.kill()
        with bare(old, listen=at(first.address)) as second:
            assert sorted(second.heard("serving")["orphans"]) == first.workers


def test_orphans_on_a_unix_socket_hand_it_over_and_its_file_stays(tmp_path: Path) -> None:
    path = str(tmp_path / "front")
    with tagged(b"old") as old, orphaned(old, listen=f"unix:{path}") as first:
        file = os.stat(path).st_ino
        with bare(old, listen=f"unix:{path}") as second:
            assert sorted(second.heard("serving")["orphans"]) == first.workers
            all_gone(*first.workers)
            assert os.stat(path).st_ino == file
            with Wire(path) as wire:
                assert wire.ask(GET).body == b"old"
            second.tell("")
            assert second.wait() == 0
            assert not os.path.exists(path)


def test_a_supervisor_that_cannot_start_leaves_orphans_where_they_are(tmp_path: Path) -> None:
    path = str(tmp_path / "front")
    with tagged(b"old") as old, orphaned(old, listen=f"unix:{path}") as first:
        with bare(old, listen=f"unix:{path}", worker=("/nonexistent/worker",)) as second:
            assert second.wait() == 1
        with Wire(path) as wire:
            assert wire.ask(GET).body == b"old"
        assert not any(map(is_gone, first.workers))


def test_two_that_died_one_after_the_other_are_followed_by_a_third() -> None:
    with tagged(b"old") as old, orphaned(old) as first, bare(old, listen=at(first.address)) as second:
        assert second.workers
        second.kill()
        with bare(old, listen=at(first.address)) as third, Wire(third.address) as wire:
            assert set(third.heard("serving")["orphans"]) >= set(second.workers)
            assert wire.ask(GET).body == b"old"
            all_gone(*first.workers, *second.workers)
