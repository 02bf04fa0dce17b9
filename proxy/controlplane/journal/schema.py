"""The tables of the journal, and how every older form of them becomes the present one.

Invariant: `MIGRATIONS[n]` takes schema version n to n+1 in one transaction, so a kill at any instant leaves one of
them whole; a migration that was released is never edited. Version 0 is the empty file. A migration that rewrites
`routes` or `drained` must also renew the digest in `head` (`state_codec.seal`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from proxy.controlplane.journal.errors import StateError
from proxy.controlplane.journal.older_states import without_compare
from proxy.controlplane.journal.state_codec import digest, seal
from proxy.controlplane.journal.transaction import transaction

Migration = Callable[[sqlite3.Connection], None]
Schema = list[tuple[str, str, str, str | None]]

APPLICATION_ID = 0x54524E54                # "TRNT": tells the journal from any other SQLite database

_TABLES = (
    # One row: the revision of the state, and the digest over all routes and it.
    "CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL, digest INTEGER NOT NULL)",
    # A route's state as JSON (state_codec).
    "CREATE TABLE routes (name TEXT PRIMARY KEY NOT NULL, state TEXT NOT NULL) WITHOUT ROWID",
    # AUTOINCREMENT: an id is never used again, also when the newest events were removed.
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, actor TEXT NOT NULL, origin TEXT NOT NULL,
        verb TEXT NOT NULL, route TEXT, before TEXT, after TEXT, reason TEXT NOT NULL, revision INTEGER NOT NULL,
        digest INTEGER NOT NULL)""",
    "CREATE INDEX events_of_route ON events (route)",
)


def _create(database: sqlite3.Connection) -> None:
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for statement in _TABLES:
        database.execute(statement)


def _take_compare_out(database: sqlite3.Connection) -> None:
    """How answers are compared is the file's alone since version 2. What is damaged stays as it is.

    Raises sqlite3.DataError for a state that cannot be read, and leaves everything as it is.
    """
    rows = database.execute("SELECT CAST(name AS TEXT), CAST(state AS TEXT) FROM routes").fetchall()
    head = database.execute("SELECT revision, digest FROM head").fetchone()
    if head is None or head[1] != seal(head[0], {name: digest(name, text) for name, text in rows}):
        return                             # nothing, or nothing that can be trusted: `read_state` says so
    try:
        renewed = {name: without_compare(text) for name, text in rows}
    except ValueError as error:
        raise sqlite3.DataError(str(error)) from error
    for name, text in renewed.items():
        database.execute("UPDATE routes SET state = ? WHERE name = ?", (text, name))
    sealed = seal(head[0], {name: digest(name, text) for name, text in renewed.items()})
    database.execute("UPDATE head SET digest = ?", (sealed,))


def _keep_what_is_drained(database: sqlite3.Connection) -> None:
    """Servers can be out of service since version 3. While none is, the digest in `head` is the same."""
    database.execute(
        # `server`: its address; empty for all of the version (core.draining).
        """CREATE TABLE drained (
        version TEXT NOT NULL, server TEXT NOT NULL, PRIMARY KEY (version, server)) WITHOUT ROWID"""
    )


MIGRATIONS: tuple[Migration, ...] = (_create, _take_compare_out, _keep_what_is_drained)


def check_version(database: sqlite3.Connection, path: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Refuse a database that is not ours or that a newer Turnout has written; reads only.

    Raises StateError, and sqlite3.Error when it cannot be read.
    """
    version = _number(database, "user_version")
    empty = not version and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if not empty and _number(database, "application_id") != APPLICATION_ID:
        raise StateError(
            f"{path} is an SQLite database, but no journal of Turnout: move it away, or choose another `state_dir`"
        )
    if not 0 <= version <= len(migrations):
        raise StateError(
            f"{path} was written by a newer Turnout (schema {version}; this one knows 1 to {len(migrations)}): run the "
            "newer one, or choose another `state_dir`, where every route starts as the file says"
        )


def migrate(database: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the database to the newest version, one transaction for each step. Raises sqlite3.Error."""
    while _number(database, "user_version") < len(migrations):
        with transaction(database):
            version = _number(database, "user_version")      # again: a predecessor may have been here meanwhile
            if version < len(migrations):
                migrations[version](database)
                database.execute(f"PRAGMA user_version = {version + 1}")


def schema(database: sqlite3.Connection) -> Schema:
    """Every table and index as SQLite keeps it: one that was made by other migrations, or damaged, is another one."""
    return database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()


def _number(database: sqlite3.Connection, pragma: str) -> int:
    number: int = database.execute(f"PRAGMA {pragma}").fetchone()[0]
    return number
