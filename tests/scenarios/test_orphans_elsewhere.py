"""Orphans of a supervisor whose successor listens elsewhere: they are its own all the same, by whom they had."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from proxy.cli.client import get
from tests.support.front import write_file
from tests.support.origins import StrictOrigin, ok
from tests.support.processes import all_gone, is_gone
from tests.support.turnout import Turnout, running
from tests.support.wire import Wire, refuses

GET = b"GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"


def a_free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def written(folder: Path, old: StrictOrigin, listen: str, state: str = "state") -> str:
    return str(write_file(folder, {"old": old.url}, [{"name": "shop", "split": {"old": 1}}], listen=listen,
                          watch="none", state_dir=str(folder / state)))


def killed(turnout: Turnout) -> list[int]:
    """End the supervisor alone; returns its workers."""
    workers = [worker["pid"] for worker in turnout.status()["workers"]]
    turnout.tell(signal.SIGKILL)
    turnout.process.wait()
    return workers


@pytest.mark.parametrize("listen", ["another", "chosen by the system"])
def test_they_are_followed_where_the_address_was_changed(tmp_path: Path, listen: str) -> None:
    elsewhere = a_free_address() if listen == "another" else "127.0.0.1:0"
    with StrictOrigin(lambda _: ok(b"old")) as old, running("-c", written(tmp_path, old, a_free_address())) as first:
        before = first.address
        with Wire(before) as kept:
            assert kept.ask(GET).body == b"old"
            workers = killed(first)
            with running("-c", written(tmp_path, old, elsewhere)) as second:
                assert second.address != before
                revision = second.post("/api/v1/routes/shop/rollback", {"in_flight": "cut"})["revision"]
                assert (revision, kept.is_closed()) == (2, True), "no change is answered before they have become quiet"
                all_gone(*workers)
                assert refuses(before)
                started = get(second.admin, "/api/v1/events")["events"][-2]
                assert started["verb"] == "start"
                assert all(str(pid) in started["reason"] for pid in workers)
                assert second.ask() == (200, b"old")


def test_those_of_somebody_elses_supervisor_are_left_alone(tmp_path: Path) -> None:
    with StrictOrigin(lambda _: ok(b"old")) as old, running("-c", written(tmp_path, old, "127.0.0.1:0")) as first:
        before = first.address
        workers = killed(first)
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "lock").write_text(f"{os.getpid()}\n")
        with running("-c", written(tmp_path, old, "127.0.0.1:0", "other")) as second:
            assert second.ask() == (200, b"old")
            assert not any(map(is_gone, workers))
            with Wire(before) as wire:
                assert wire.ask(GET).body == b"old"
