"""A journal that opens and then takes nothing: a start that has to write it says so, a successor serves in any case."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from proxy.cli.client import Refused
from proxy.controlplane.journal.journal import Journal
from proxy.core.state import State
from tests.support.bare import ROOT
from tests.support.deadline import WITHIN_S
from tests.support.front import write_file
from tests.support.origins import StrictOrigin, ok
from tests.support.processes import all_gone
from tests.support.turnout import COMMAND, running

ROUTES = 400
"""As many as make the transaction of a start larger than what SQLite needs beside it."""
LITTLE = 40 * 1024
"""Enough for the index of a write-ahead log (32 KiB), and not for a log with all these routes."""


@pytest.fixture
def servers() -> Iterator[tuple[StrictOrigin, StrictOrigin]]:
    with StrictOrigin(lambda _: ok(b"old")) as old, StrictOrigin(lambda _: ok(b"new")) as new:
        yield old, new


def written(folder: Path, old: StrictOrigin, new: StrictOrigin, weight: int, routes: int = 1) -> Path:
    """A file where each route sends so much to the new version."""
    return write_file(
        folder, {"old": old.url, "new": new.url}, workers=1, watch="none", state_dir=str(folder / "state"),
        routes=[{"name": f"shop-{number}", "match": {"path": f"/{number}"},
                 "split": {"old": 100 - weight, "new": weight}} for number in range(routes)])


def kept(folder: Path) -> tuple[State, list[str]]:
    """What the journal has: its state, and the verbs of its events."""
    with closing(Journal.open(str(folder / "state"), keep=1000)) as journal:
        assert journal.state is not None
        return journal.state, [event.verb for event in journal.events(limit=1000)]


def start(file: Path, *inside: str) -> tuple[int, str]:
    """Run Turnout to its end; returns exit code and what it said."""
    ended = subprocess.run([*inside, *COMMAND, "run", "-c", str(file)], capture_output=True, text=True,
                           timeout=WITHIN_S, env={"PYTHONPATH": ROOT}, stdin=subprocess.DEVNULL)
    return ended.returncode, ended.stderr


def test_a_start_that_cannot_keep_what_the_file_says_now_ends_and_says_what_to_do(
    tmp_path: Path, servers: tuple[StrictOrigin, StrictOrigin],
) -> None:
    file = written(tmp_path, *servers, 0, ROUTES)
    with running("-c", str(file)) as first:
        first.event("serving")
        first.tell(signal.SIGTERM)
        assert first.wait() == 0
    before = kept(tmp_path)
    written(tmp_path, *servers, 50, ROUTES)
    code, said = start(file, "sh", "-c", f'ulimit -f {LITTLE // 512}; exec "$@"', "sh")
    last = said.splitlines()[-1]
    assert code == 3, said
    assert re.fullmatch(rf"turnout: cannot keep in {tmp_path}/state what the file says now: .*SQLITE_IOERR_WRITE.*; "
                        r"free space on the disk.*, or run with `state_dir: memory`", last)
    assert "serving" not in said
    assert kept(tmp_path) == before
    with running("-c", str(file)) as again:
        assert again.event("serving")["shares"]["shop-0"] == {"old": 50.0, "new": 50.0}, "there is room again"


def test_a_successor_that_cannot_keep_what_the_file_says_now_serves_by_it_and_the_next_change_keeps_both(
    tmp_path: Path, servers: tuple[StrictOrigin, StrictOrigin],
) -> None:
    file = written(tmp_path, *servers, 0, routes=2)
    with running("-c", str(file)) as turnout:
        assert turnout.ask("/0") == (200, b"old")
        written(tmp_path, *servers, 100, routes=2)
        resource.prlimit(turnout.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        successor = turnout.post("/api/v1/upgrade")["pid"]
        assert "SQLITE_IOERR_WRITE" in turnout.event("took over, but that could not be journaled")["because"]
        turnout.event("serving", 2)
        assert turnout.ask("/0") == (200, b"new")
        with pytest.raises(Refused, match=r"503.*nothing has changed.*free space"):
            turnout.post("/api/v1/routes/shop-1/rollback")
        assert turnout.ask("/1") == (200, b"new")
        resource.prlimit(successor, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        revision = turnout.post("/api/v1/routes/shop-1/rollback")["revision"]
        assert turnout.ask("/1") == (200, b"old")
        os.kill(successor, signal.SIGTERM)
        all_gone(successor)
    state, verbs = kept(tmp_path)
    assert (state.revision, verbs) == (revision, ["start", "rollback"])
    assert {name: dict(held.course.split) for name, held in state.routes.items()} == {
        "shop-0": {"old": 0.0, "new": 100.0}, "shop-1": {"old": 100.0, "new": 0.0}}


def test_orphans_serve_on_beside_a_start_that_fails_and_are_known_to_the_next_one(
    tmp_path: Path, servers: tuple[StrictOrigin, StrictOrigin],
) -> None:
    with running("-c", str(written(tmp_path, *servers, 0, ROUTES))) as first:
        pids = [worker["pid"] for worker in first.status()["workers"]]
        first.tell(signal.SIGKILL)
        first.process.wait()
        before = (tmp_path / "state" / "lock").read_text()
        file = written(tmp_path, *servers, 100, ROUTES)
        code, said = start(file, "sh", "-c", f'ulimit -f {LITTLE // 512}; exec "$@"', "sh")
        assert (code, "what the file says now" in said) == (3, True), said
        assert first.ask("/0") == (200, b"old")
        assert (tmp_path / "state" / "lock").read_text() == before
        with running("-c", str(file)) as again:
            assert again.ask("/0") == (200, b"new")
            all_gone(*pids)
