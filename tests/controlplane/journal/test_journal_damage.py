"""Whatever happens to the files, a start finds the last acknowledged state or says what to do; never another state."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from proxy.controlplane.journal.journal import Journal, StateError
from proxy.core.state import State
from tests.support.journal_story import event, first_state, picture, with_split

PAGE = 4096
ROUTES = 40
CHANGES = 60


def told(folder: Path) -> None:
    """A journal's life: changes, of which the first half is checkpointed and the second in the write-ahead log."""
    journal = Journal.open(str(folder), keep=1000)
    state = first_state(ROUTES)
    journal.append([event(1)], state)
    for number in range(CHANGES):
        name = f"route-{number % ROUTES}"
        state = with_split(state, name, number)
        journal.append([event(state.revision, name)], state)
        if number == CHANGES // 2:
            with sqlite3.connect(folder / "journal.db") as other:
                other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            other.close()
    picture(folder, folder.parent / "killed")
    journal.close()
    picture(folder, folder.parent / "closed")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("damage")
    told(base / "live")
    return base / "killed", base / "closed"


@contextmanager
def copied(folder: Path, to: Path) -> Iterator[Path]:
    shutil.copytree(folder, to)
    try:
        yield to
    finally:
        shutil.rmtree(to)


def final_state_or_refusal(folder: Path) -> str:
    """Open what is there; returns the refusal, empty when it is usable: then state and events must be right."""
    try:
        journal = Journal.open(str(folder), keep=1000)
    except StateError as refusal:
        text = str(refusal)
        assert str(folder) in text
        assert "`state_dir" in text
        return text
    try:
        assert journal.state == final_state()
        found = journal.events(limit=1000)
        assert len(found) == CHANGES + 1
        for entry in found:
            assert entry.verb == "damaged" or entry == replace(event(entry.revision, entry.route), id=entry.id)
        changed = with_split(final_state(), "route-0", 1.0)
        journal.append([event(changed.revision)], changed)
    finally:
        journal.close()
    return ""


@cache
def final_state() -> State:
    state = first_state(ROUTES)
    for number in range(CHANGES):
        state = with_split(state, f"route-{number % ROUTES}", number)
    return state


def overwrite(path: Path, at: int, what: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(what)


def test_what_is_whole_is_read(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for folder in folders:
        with copied(folder, tmp_path / "copy") as copy:
            assert final_state_or_refusal(copy) == ""


@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal"])
def test_a_file_cut_at_the_end_of_a_page_is_noticed(folders: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    for folder in folders:
        whole = folder / name
        step = PAGE if name == "journal.db" else 3 * PAGE
        for size in range(0, whole.stat().st_size if whole.exists() else 0, step):
            with copied(folder, tmp_path / "copy") as copy:
                os.truncate(copy / name, size)
                refusal = final_state_or_refusal(copy)
                # With a write-ahead log that holds every lost page, nothing is lost.
                assert refusal or (folder.name == "killed" and name == "journal.db")


@pytest.mark.parametrize("seed", range(4))
def test_garbage_anywhere_is_noticed_or_harmless(folders: tuple[Path, Path], tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(150):
        with copied(chance.choice(folders), tmp_path / "copy") as copy:
            victim = chance.choice([path for path in sorted(copy.iterdir()) if path.suffix != ".mark"])
            size = victim.stat().st_size
            at = chance.choice([chance.randrange(size), chance.randrange(128)])
            match chance.randrange(4):
                case 0:
                    os.truncate(victim, at)
                case 1:
                    overwrite(victim, at, chance.randbytes(1))
                case 2:
                    overwrite(victim, at, chance.randbytes(chance.randrange(3000)))
                case _:
                    overwrite(victim, at // PAGE * PAGE, bytes(PAGE))
            final_state_or_refusal(copy)


def test_one_changed_digit_of_a_route_is_noticed(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with copied(folders[1], tmp_path / "copy") as copy:
        database = sqlite3.connect(copy / "journal.db")
        database.execute("UPDATE routes SET state = replace(state, '59.0', '58.0')")
        assert database.execute("SELECT changes()").fetchone() > (0,)
        database.commit()
        database.close()
        assert "not those of its last revision" in final_state_or_refusal(copy)


@pytest.mark.parametrize("statement", [
    "DELETE FROM routes WHERE name = 'route-3'",
    "UPDATE head SET revision = revision + 1",
    "DELETE FROM head",
    "INSERT INTO routes SELECT 'route-99', state FROM routes LIMIT 1",
    "UPDATE routes SET name = 'route-98' WHERE name = 'route-3'",
    "DROP TABLE routes",
    "ALTER TABLE events RENAME COLUMN reason TO why",
    "DELETE FROM drained",
    "INSERT INTO drained VALUES ('old', 'http://10.9.9.9:80')",
    "UPDATE drained SET version = 'next' WHERE server <> ''",
    "UPDATE drained SET server = 'http://10.0.0.9:80' WHERE server = (SELECT max(server) FROM drained)",
    "DROP TABLE drained",
])
def test_a_state_that_was_edited_by_hand_is_noticed(
    folders: tuple[Path, Path], tmp_path: Path, statement: str
) -> None:
    with copied(folders[1], tmp_path / "copy") as copy:
        database = sqlite3.connect(copy / "journal.db")
        database.execute(statement)
        database.commit()
        database.close()
        assert final_state_or_refusal(copy) != ""


def test_a_damaged_event_is_shown_as_such_and_hides_no_other(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with copied(folders[1], tmp_path / "copy") as copy:
        database = sqlite3.connect(copy / "journal.db")
        database.execute("UPDATE events SET reason = 'another' WHERE id = 5")
        database.execute("UPDATE events SET before = CAST(x'ff7b' AS TEXT) WHERE id = 6")
        database.execute("UPDATE events SET revision = 'x' WHERE id = 7")
        database.commit()
        database.close()
        journal = Journal.open(str(copy), keep=1000)
        found = journal.events(limit=8)
        journal.close()
    assert [entry.id for entry in found] == list(range(1, 9))
    assert [entry.id for entry in found if entry.verb == "damaged"] == [5, 6, 7]


def test_a_lost_write_ahead_log_is_noticed_and_the_mark_may_be_removed(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    with copied(folders[0], tmp_path / "copy") as copy:
        (copy / "journal.db-wal").unlink()
        refusal = final_state_or_refusal(copy)
        assert f"reached revision {CHANGES + 1}" in refusal
        assert "journal.db-wal was removed" in refusal
        assert "from revision 32" in refusal
        (copy / "journal.mark").unlink()
        journal = Journal.open(str(copy), keep=1000)
        assert journal.state is not None
        assert journal.state.revision == 32
        journal.close()


@pytest.mark.parametrize("mark", [b"", b"garbage", b"\0" * 42, b"9" * 42])
def test_an_unreadable_mark_is_no_mark(folders: tuple[Path, Path], tmp_path: Path, mark: bytes) -> None:
    with copied(folders[0], tmp_path / "copy") as copy:
        (copy / "journal.mark").write_bytes(mark)
        assert final_state_or_refusal(copy) == ""


def test_an_older_mark_is_harmless(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with copied(folders[0], tmp_path / "copy") as copy:
        (copy / "journal.mark").write_bytes(b"%020d %020d\n" % (1, 1))
        assert final_state_or_refusal(copy) == ""


def test_what_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"these are not the bytes you look for\n" * 500)
    with pytest.raises(StateError, match=r"no SQLite database .* move the files journal\.\* .* `state_dir: memory`"):
        Journal.open(str(tmp_path), keep=1)
    assert path.read_bytes().startswith(b"these are")


def test_a_removed_database_is_not_mistaken_for_a_first_start(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for empty in (True, False):
        with copied(folders[0], tmp_path / "copy") as copy:
            (copy / "journal.db").unlink()
            if empty:
                (copy / "journal.db").touch()
            assert "missing or empty" in final_state_or_refusal(copy)
            assert (copy / "journal.db-wal").stat().st_size > PAGE


def test_the_way_out_that_the_refusal_names_works(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with copied(folders[1], tmp_path / "copy") as copy:
        overwrite(copy / "journal.db", 0, bytes(PAGE))
        assert f"move the files journal.* in {copy} away" in final_state_or_refusal(copy)
        (tmp_path / "away").mkdir()
        for file in copy.glob("journal.*"):
            file.rename(tmp_path / "away" / file.name)
        journal = Journal.open(str(copy), keep=1)
        assert journal.state is None
        journal.append([event(1)], first_state())
        journal.close()
