"""The journal where it must not fail: killed at any instant, on a full disk, where it may not write, held twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from proxy.controlplane.errors import StartError
from proxy.controlplane.journal.journal import Journal, JournalError, StateError
from proxy.controlplane.journal.schema import MIGRATIONS, migrate, schema
from proxy.core.state import State
from tests.support.deadline import WITHIN_S
from tests.support.journal_programs import KEEP, ROUTES, many_migrations
from tests.support.journal_story import event, first_state, with_split

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
OWN_MOUNTS = ("unshare", "--user", "--map-root-user", "--mount")


@contextmanager
def child(
    program: str, *arguments: object, inside: tuple[str, ...] = (), pass_fds: tuple[int, ...] = ()
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*inside, sys.executable, "-P", "-m", "tests.support.journal_programs", program, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=pass_fds,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def killed_after(program: str, folder: Path, lines: int, more_s: float) -> list[int]:
    """Run a program, kill it some instants after so many lines of its output; returns the numbers it had said."""
    with child(program, folder) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        try:
            process.wait(more_s)           # the instant of the kill: it ends by nothing else
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
        assert process.wait(WITHIN_S) in (-signal.SIGKILL, 0)
    # A line that was cut by the kill was not said.
    return [int(line) for line in said if line.endswith("\n") and line != "start\n"]


def sound(database: Path) -> bool:
    with closing(sqlite3.connect(database)) as connection:
        found: list[tuple[str]] = connection.execute("PRAGMA integrity_check").fetchall()
    return found == [("ok",)]


def state_of_revision(revision: int) -> State:
    state = first_state(ROUTES)
    while state.revision < revision:
        state = with_split(state, f"route-{state.revision % ROUTES}", state.revision % 100)
    return state


def test_every_acknowledged_change_outlives_kill_9_at_any_instant(tmp_path: Path) -> None:
    chance = random.Random(3)
    folder = tmp_path / "state"
    acknowledged = 1
    for _ in range(32):
        said = killed_after("write", folder, chance.choice([1, 1, 2, 30]), chance.random() * 0.08)
        acknowledged = max([acknowledged, *said])
        journal = Journal.open(str(folder), keep=KEEP)
        state, found = journal.state, journal.events(limit=1000)
        journal.close()
        assert (state.revision if state else 1) >= acknowledged
        assert state is None or state == state_of_revision(state.revision)
        assert [entry.revision for entry in found[-1:]] == ([state.revision] if state else [])
        assert len(found) <= KEEP
        assert [entry.id for entry in found] == [entry.revision - 1 for entry in found]
        assert sound(folder / "journal.db")
    assert acknowledged > 100


def test_a_first_start_that_is_killed_can_be_repeated(tmp_path: Path) -> None:
    chance = random.Random(4)
    for number in range(12):
        folder = tmp_path / str(number)
        said = killed_after("write", folder, 1, chance.random() * 0.01)
        journal = Journal.open(str(folder), keep=KEEP)
        assert (journal.state.revision if journal.state else 1) >= max([1, *said])
        journal.append([event(1)], None)
        journal.close()


def test_a_migration_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    chance = random.Random(5)
    Journal.open(str(tmp_path), keep=KEEP).close()
    steps = many_migrations()
    reached = len(MIGRATIONS)
    for _ in range(8):
        said = killed_after("upgrade", tmp_path, 1, chance.random() * 0.03)
        with closing(sqlite3.connect(tmp_path / "journal.db")) as database:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            assert version >= max([reached, *said])
            reached = version
            tables = {name for kind, name, _, _ in schema(database) if kind == "table" and name.startswith("step_")}
            assert tables == {f"step_{step}" for step in range(version - len(MIGRATIONS))}
        assert sound(tmp_path / "journal.db")
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = OFF")
        migrate(database, steps)
        assert database.execute("PRAGMA user_version").fetchone() == (len(steps),)


def lived_through(program: str, folder: Path, inside: tuple[str, ...] = ()) -> list[str]:
    with child(program, folder, inside=inside) as process:
        output, _ = process.communicate(timeout=WITHIN_S)
        assert process.returncode == 0
    return output.splitlines()


def test_a_change_on_a_full_disk_is_refused_and_works_when_there_is_room(tmp_path: Path) -> None:
    try:
        possible = subprocess.run([*OWN_MOUNTS, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], capture_output=True)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if possible.returncode:
        pytest.skip("no file system of one's own here")
    *refusals, restart, end = lived_through("full_disk", tmp_path, OWN_MOUNTS)
    assert refusals == ["the journal cannot be written: the disk is full (SQLITE_FULL); free space on the disk"] * 4
    assert restart == "opened without room" or "`memory`" in restart or "free space" in restart
    assert end == "done"


def test_a_change_beyond_the_file_size_limit_is_refused_and_works_when_there_is_room(tmp_path: Path) -> None:
    *refusals, restart, end = lived_through("file_size_limit", tmp_path)
    assert len(refusals) == 4
    assert all("SQLITE_IOERR_WRITE" in refusal and "file size limit" in refusal for refusal in refusals)
    assert restart == "opened without room" or "`memory`" in restart or "file size limit" in restart
    assert end == "done"


@contextmanager
def unprivileged() -> Iterator[Path]:
    """A folder, and the rights of somebody whom file modes hold back: root is nobody for a while."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        if root:
            os.chown(name, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            if root:
                os.seteuid(0)


def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    with unprivileged() as folder:
        folder.chmod(0o500)
        for place in (folder, folder / "deeper" / "state"):
            with pytest.raises(StateError, match=r"Permission denied.*choose another `state_dir`, or `memory`"):
                Journal.open(str(place), keep=1)


@pytest.mark.parametrize("name", ["journal.db", "journal.mark", "lock"])
@pytest.mark.parametrize("mode", [0o000, 0o400])
def test_a_file_that_may_not_be_written_is_refused(name: str, mode: int) -> None:
    with unprivileged() as folder:
        journal = Journal.open(str(folder), keep=1)
        journal.append([event(1)], first_state())
        journal.close()
        (folder / name).chmod(mode)
        with pytest.raises(StateError, match=rf"{folder}: Permission denied .*{name}.*`memory`"):
            Journal.open(str(folder), keep=1)
        (folder / name).chmod(0o600)
        Journal.open(str(folder), keep=1).close()


def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    for place in (tmp_path / "state", tmp_path / "state" / "below"):
        with pytest.raises(StateError, match=r"choose another `state_dir`"):
            Journal.open(str(place), keep=1)


def test_a_folder_where_the_database_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(StateError, match=r"journal\.db.*`state_dir"):
        Journal.open(str(tmp_path), keep=1)


def test_a_change_while_another_program_holds_the_database_is_refused(tmp_path: Path) -> None:
    journal = Journal.open(str(tmp_path), keep=10)
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match=r"another program holds it .* end that program"):
            journal.append([event(1)], first_state())
    assert journal.append([event(1)], first_state())[0].id == 1
    journal.close()


def test_the_second_process_on_a_folder_is_refused_with_the_first_ones_id(tmp_path: Path) -> None:
    with child("write", tmp_path) as process:
        assert process.stdout is not None
        for _ in range(2):
            process.stdout.readline()
        with pytest.raises(StartError, match=f"in use by process {process.pid}:"):
            Journal.open(str(tmp_path), keep=KEEP)
        process.kill()
        process.wait(WITHIN_S)
    Journal.open(str(tmp_path), keep=KEEP).close()


def test_a_successor_process_inherits_the_hold_and_the_journal(tmp_path: Path) -> None:
    journal = Journal.open(str(tmp_path), keep=KEEP)
    state = first_state(ROUTES)
    journal.append([event(1)], state)
    assert journal.lock_fd is not None
    with child("succeed", tmp_path, journal.lock_fd, pass_fds=(journal.lock_fd,)) as successor:
        assert successor.stdout is not None
        assert successor.stdout.readline() == "2\n"
        journal.append([event(1, None, "left")], None)
        journal.close()
        with pytest.raises(StartError, match=f"in use by process {successor.pid}:"):
            Journal.open(str(tmp_path), keep=KEEP)
        successor.communicate(timeout=WITHIN_S)
        assert successor.returncode == 0
    after = Journal.open(str(tmp_path), keep=KEEP)
    assert after.state == with_split(state, "route-0", 77.0)
    assert [entry.verb for entry in after.events()] == ["split", "upgrade", "left"]
    after.close()
