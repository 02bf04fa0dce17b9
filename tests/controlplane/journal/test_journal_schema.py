from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from proxy.controlplane.journal.journal import Journal, StateError
from proxy.controlplane.journal.schema import APPLICATION_ID, MIGRATIONS, check_version, migrate, schema
from tests.support.journal_story import event, first_state


def by_hand(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        number: int = database.execute("PRAGMA user_version").fetchone()[0]
        return number


def add_a_ticket(database: sqlite3.Connection) -> None:
    """What a later version could do: a column more, filled for the events that are there."""
    database.execute("ALTER TABLE events ADD COLUMN ticket TEXT NOT NULL DEFAULT ''")
    database.execute("UPDATE events SET ticket = 'none' WHERE id > 0")


def test_an_empty_database_of_version_0_becomes_a_journal(tmp_path: Path) -> None:
    by_hand(tmp_path / "journal.db", "PRAGMA application_id = 7", "VACUUM")
    assert version(tmp_path / "journal.db") == 0
    journal = Journal.open(str(tmp_path), keep=10)
    journal.append([event(1)], first_state())
    journal.close()
    assert version(tmp_path / "journal.db") == len(MIGRATIONS)


def test_an_older_database_is_migrated_with_what_it_holds(tmp_path: Path) -> None:
    journal = Journal.open(str(tmp_path), keep=10)
    journal.append([event(1), event(1)], first_state())
    journal.close()
    newer = (*MIGRATIONS, add_a_ticket)
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as database:
        check_version(database, "journal.db", newer)
        migrate(database, newer)
        assert database.execute("SELECT ticket FROM events").fetchall() == [("none",), ("none",)]
        assert database.execute("PRAGMA user_version").fetchone() == (len(newer),)
        migrate(database, newer)


def test_a_migration_that_fails_leaves_the_version_before_it(tmp_path: Path) -> None:
    def fails_at_its_end(database: sqlite3.Connection) -> None:
        add_a_ticket(database)
        database.execute("INSERT INTO nowhere VALUES (1)")

    Journal.open(str(tmp_path), keep=10).close()
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as database:
        before = schema(database)
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            migrate(database, (*MIGRATIONS, fails_at_its_end))
        assert schema(database) == before
    assert version(tmp_path / "journal.db") == len(MIGRATIONS)
    Journal.open(str(tmp_path), keep=10).close()


def test_a_newer_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    Journal.open(str(tmp_path), keep=10).close()
    by_hand(tmp_path / "journal.db", f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = (tmp_path / "journal.db").read_bytes()
    with pytest.raises(StateError, match=r"newer Turnout .*: run the newer one, or choose another `state_dir`"):
        Journal.open(str(tmp_path), keep=10)
    assert (tmp_path / "journal.db").read_bytes() == before


@pytest.mark.parametrize("extra", ["PRAGMA user_version = 1", f"PRAGMA application_id = {APPLICATION_ID}"])
def test_a_database_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path, extra: str) -> None:
    by_hand(tmp_path / "journal.db", "CREATE TABLE head (songs TEXT)", extra)
    before = (tmp_path / "journal.db").read_bytes()
    with pytest.raises(StateError, match=r"no journal of Turnout|cannot be used"):
        Journal.open(str(tmp_path), keep=10)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("head",)]
    assert len((tmp_path / "journal.db").read_bytes()) == len(before)


def test_refusing_is_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StateError) as refused:
        Journal.open(str(tmp_path), keep=10)
    assert refused.value.exit_code == 3
