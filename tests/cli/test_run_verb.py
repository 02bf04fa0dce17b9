"""`turnout run` as a whole: real workers, real sockets, real signals."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.support.deadline import wait_until
from tests.support.front import write_file
from tests.support.origins import Origin, Peer, StrictOrigin, ok
from tests.support.processes import stand_still
from tests.support.turnout import Turnout, between, running
from tests.support.wire import Wire

REQUEST = b"GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"


def tagged(name: bytes) -> StrictOrigin:
    return StrictOrigin(lambda _: ok(name))


def held(release: threading.Event) -> Origin:
    """An origin that answers each request only when it is told to."""

    def script(peer: Peer) -> None:
        while peer.read_head():
            release.wait()
            peer.send(ok(b"late"))

    return Origin(script)


def pid_of(turnout: Turnout, worker: int = 0) -> int:
    pid = turnout.status()["workers"][worker]["pid"]
    assert isinstance(pid, int)
    return pid


def is_gone(pid: int) -> Callable[[], bool]:
    def look() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"

    return look


def replaced(turnout: Turnout, worker: int, pid: int) -> bool:
    view = turnout.status()["workers"][worker]
    return (view["state"], view["pid"] == pid) == ("serving", False)


def test_traffic_is_split_and_the_status_counts_it() -> None:
    with tagged(b"old") as old, tagged(b"new") as new, running(*between(old.url, new.url, 25, workers=2)) as turnout:
        bodies = [turnout.ask()[1] for _ in range(40)]
        assert set(bodies) == {b"old", b"new"}

        def counted() -> bool:
            totals = turnout.status()["routes"][0]["totals"]
            counts = {name: totals[name]["codes"].get("200", 0) for name in ("old", "new")}
            return counts == {"old": bodies.count(b"old"), "new": bodies.count(b"new")}

        wait_until(counted, "every request is counted once, for the version that answered it")


def test_a_worker_that_was_killed_is_replaced_and_the_status_shows_it() -> None:
    with tagged(b"old") as old, running(*between(old.url, old.url)) as turnout:
        before = pid_of(turnout)
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: replaced(turnout, 0, before), "a successor serves")
        view = turnout.status()
        assert view["restarts"] == view["workers"][0]["restarts"] == 1
        assert view["workers"][0]["last_end"] == "it was ended by signal 9"
        assert turnout.ask() == (200, b"old")


def test_a_connection_that_waited_on_a_dead_worker_is_answered_by_its_successor() -> None:
    with tagged(b"old") as old, running(*between(old.url, old.url)) as turnout:
        before = pid_of(turnout)
        stand_still(before)
        with Wire(turnout.address) as one, Wire(turnout.address) as two:
            one.send(REQUEST)
            two.send(REQUEST)
            os.kill(before, signal.SIGKILL)
            assert one.response().body == b"old"
            assert two.response().body == b"old"


def test_the_connections_of_other_workers_do_not_notice_a_death() -> None:
    with tagged(b"old") as old, running(*between(old.url, old.url, workers=2)) as turnout, ExitStack() as stack:
        wires = [stack.enter_context(Wire(turnout.address)) for _ in range(24)]
        for wire in wires:
            assert wire.ask(REQUEST).status == 200

        def held_by_workers() -> list[int] | None:
            counts = [worker["connections"] for worker in turnout.status()["workers"]]
            return counts if sum(counts) == len(wires) else None

        counts = wait_until(held_by_workers, "every connection is reported")
        assert all(counts), "24 connections on one of two sockets: one in eight million"
        victim = pid_of(turnout, 0)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: replaced(turnout, 0, victim), "a successor serves")
        assert sum(answers(wire) for wire in wires) == counts[1]


def answers(wire: Wire) -> bool:
    """Whether a connection that was open still is."""
    if not wire.send_some(REQUEST):
        return False
    return not wire.is_closed()


def test_leaving_finishes_what_is_in_flight_and_closes_what_is_idle() -> None:
    release = threading.Event()
    with held(release) as old, running(*between(old.url, old.url, workers=2)) as turnout:
        with Wire(turnout.address) as busy, Wire(turnout.address) as idle:
            busy.send(REQUEST)
            old.wait_until(lambda: old.connections == 1)
            turnout.tell(signal.SIGTERM)
            turnout.event("draining")
            assert idle.is_closed()
            release.set()
            assert busy.response().body == b"late"
            assert busy.is_closed()
        assert turnout.wait() == 0
        assert turnout.event("left")["connections_cut"] == 0


def test_nobody_new_is_let_in_while_it_leaves() -> None:
    release = threading.Event()
    with held(release) as old, running(*between(old.url, old.url, workers=2)) as turnout, Wire(turnout.address) as busy:
        busy.send(REQUEST)
        old.wait_until(lambda: old.connections == 1)
        turnout.tell(signal.SIGTERM)
        turnout.event("draining")
        try:
            wait_until(lambda: refuses(turnout.address), "new connections are refused", within_s=2.0)
        finally:
            release.set()


def refuses(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_second_signal_cuts_and_says_so_with_its_exit_code() -> None:
    release = threading.Event()
    with held(release) as old, running(*between(old.url, old.url)) as turnout:
        with Wire(turnout.address) as busy:
            busy.send(REQUEST)
            old.wait_until(lambda: old.connections == 1)
            worker = pid_of(turnout)
            turnout.tell(signal.SIGINT)
            turnout.event("draining")
            turnout.tell(signal.SIGINT)
            assert turnout.wait() == 1
            assert busy.is_closed()
        assert is_gone(worker)()
        release.set()


def test_the_drain_deadline_cuts_what_is_left_and_the_exit_code_is_0(tmp_path: Path) -> None:
    release = threading.Event()
    with held(release) as old:
        file = tmp_path / "turnout.yaml"
        file.write_text(
            "listen: 127.0.0.1:0\nworkers: 1\nadmin: {listen: '127.0.0.1:0'}\nstate_dir: memory\n"
            f"timeouts: {{drain: 100ms}}\nversions: {{old: {{servers: ['{old.url}']}}}}\n"
            "routes: [{name: shop, split: {old: 1}}]\n"
        )
        with running("-c", str(file)) as turnout, Wire(turnout.address) as busy:
            busy.send(REQUEST)
            old.wait_until(lambda: old.connections == 1)
            turnout.tell(signal.SIGTERM)
            assert turnout.wait() == 0
            assert turnout.event("left") | {"connections_cut": 1, "workers_killed": 0} == turnout.event("left")
            assert busy.is_closed()
        release.set()


def test_workers_leave_when_their_supervisor_is_gone_and_they_are_not_to_wait_for_another(tmp_path: Path) -> None:
    file = write_file(tmp_path, {"old": "http://127.0.0.1:1"}, [{"name": "shop", "split": {"old": 1}}],
                      timeouts={"orphan": "0s"})
    with running("-c", str(file)) as turnout:
        workers = [pid_of(turnout, 0), pid_of(turnout, 1)]
        turnout.tell(signal.SIGKILL)
        for pid in workers:
            wait_until(is_gone(pid), f"worker {pid} has left")


def test_a_hangup_of_the_terminal_ends_nothing() -> None:
    with tagged(b"old") as old, running(*between(old.url, old.url)) as turnout:
        turnout.event("serving")
        turnout.tell(signal.SIGHUP)
        assert "without a file" in turnout.event("not reloaded")["because"]
        assert turnout.ask() == (200, b"old")


def test_it_listens_on_several_addresses_and_on_unix_sockets(tmp_path: Path) -> None:
    path = str(tmp_path / "front")
    with tagged(b"old") as old:
        arguments = ("--old", old.url, "--new", old.url, "--workers", "2", "--admin", "127.0.0.1:0",
                     "--listen", "127.0.0.1:0", "--listen", f"unix:{path}")
        with running(*arguments) as turnout:
            assert turnout.ask() == (200, b"old")
            with Wire(path) as wire:
                assert wire.ask(REQUEST).body == b"old"
            turnout.tell(signal.SIGTERM)
            assert turnout.wait() == 0
        assert not os.path.exists(path)
