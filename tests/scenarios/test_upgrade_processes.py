"""One supervisor follows on another while clients keep asking; and what happens when the new one fails at any step."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.bare import Bare, bare
from tests.support.load import Load
from tests.support.origins import StrictOrigin, ok
from tests.support.processes import all_gone, is_gone
from tests.support.wire import Wire

GET = b"GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"


def tagged(name: bytes) -> StrictOrigin:
    return StrictOrigin(lambda _: ok(name))


def upgraded(turnout: Bare, time: int = 1) -> list[int]:
    """Upgrade it; returns the process ids of the new workers."""
    os.kill(turnout.heard("serving", time)["pid"], signal.SIGUSR2)
    workers: list[int] = turnout.heard("serving", time + 1)["workers"]
    return workers


def test_upgrades_under_load_lose_no_request() -> None:
    with tagged(b"old") as old, bare(old) as turnout, Load(turnout.address, 12, GET) as load:
        load.wait_each(10)
        for time in range(1, 4):
            before = turnout.heard("serving", time)["workers"]
            assert not set(upgraded(turnout, time)) & set(before)
            all_gone(*before)
            load.wait_each(10)
        load.stop()
        assert (load.lost, load.strange) == ([], [])
        assert not any(client.refused for client in load.clients)
        assert turnout.wait() == 0, "the one that was started first has left well"


def test_what_was_counted_goes_on_in_the_successor() -> None:
    with tagged(b"old") as old, bare(old) as turnout:
        with Load(turnout.address, 4, GET) as load:
            load.wait_each(20)
            upgraded(turnout)
            load.wait_each(20)
        os.kill(turnout.heard("serving", 2)["pid"], signal.SIGTERM)
        left = turnout.heard("left")
        assert left["answered"] == load.answered == len(old.requests)


def test_changes_made_before_hold_in_the_successor_from_its_first_request_on() -> None:
    with tagged(b"old") as old, tagged(b"new") as new, bare(old, new=new) as turnout:
        turnout.tell("apply 7 new")
        turnout.heard("changed")
        with Load(turnout.address, 4, GET) as load:
            load.wait_each(1)
            so_far = len(old.requests)
            upgraded(turnout)
            load.wait_each(10)
        assert (len(old.requests), load.lost) == (so_far, [])


@pytest.mark.parametrize(
    ("misfortune", "because"),
    [("refuses", "it does not want to"), ("dies-early", "ended by signal 9"), ("dies-late", "ended by signal 9"),
     ("dawdles", "did not take over within 6 s"), ("cannot-pack", "it cannot be read")],
)
def test_a_successor_that_fails_changes_nothing(misfortune: str, because: str) -> None:
    upgrade_s = 6.0 if misfortune == "dawdles" else 15.0    # time enough for the one that succeeds afterwards
    with tagged(b"old") as old, tagged(b"new") as new, bare(old, new=new, upgrade_s=upgrade_s) as turnout:
        with Load(turnout.address, 6, GET) as load:
            load.wait_each(5)
            turnout.tell(f"upgrade {misfortune}")
            failure = turnout.heard("not-upgraded")
            assert because in failure["because"]
            assert not failure["frozen"]
            turnout.tell("apply 2 new")
            assert turnout.heard("changed")["workers"] == 2
            load.wait_each(1)   # what had been sent on before the change has been answered
            changed_at = len(old.requests)
            load.wait_each(5)
            load.stop()
            assert len(old.requests) == changed_at, "nobody is left that serves by the revision before"
            assert (load.lost, load.strange) == ([], [])
            assert not any(client.refused for client in load.clients)
        assert not any(map(is_gone, turnout.workers))
        turnout.tell("upgrade")
        turnout.heard("upgraded")


def test_workers_of_a_successor_that_fails_leave_also_where_nobody_but_them_listens() -> None:
    with tagged(b"old") as old, tagged(b"new") as new, bare(old, new=new) as turnout:
        turnout.tell("upgrade dies-elsewhere")
        assert "ended by signal 9" in turnout.heard("not-upgraded")["because"]
        all_gone(*turnout.heard("served")["workers"])
        turnout.tell("apply 2 new")
        assert turnout.heard("changed")["workers"] == 2


def test_a_predecessor_that_dies_while_it_drains_leaves_no_worker_behind() -> None:
    with tagged(b"old") as old, bare(old) as turnout, Wire(turnout.address) as kept:
        assert kept.ask(GET).body == b"old"
        upgraded(turnout)
        turnout.kill()
        all_gone(*turnout.workers)
        with Wire(turnout.address) as wire:
            assert wire.ask(GET).body == b"old"


def test_a_unix_socket_is_handed_over_with_its_file(tmp_path: Path) -> None:
    path = str(tmp_path / "front")
    with tagged(b"old") as old, bare(old, listen=f"unix:{path}") as turnout:
        turnout.heard("serving")
        file = os.stat(path).st_ino
        upgraded(turnout)
        assert turnout.wait() == 0
        assert os.stat(path).st_ino == file
        with Wire(path) as wire:
            assert wire.ask(GET).body == b"old"
