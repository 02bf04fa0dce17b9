"""The journal's SQLite database from closed to trustworthy: opened, checked, migrated, and compared with its mark.

Invariant: a connection that `open_database` returns holds every change that was ever acknowledged; anything else is
refused with what to do, and what was found on disk is left as it was.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from errno import EACCES
from pathlib import Path

from proxy.controlplane.journal.errors import DatabaseErrors, StateError, cause, primary_code, remedy
from proxy.controlplane.journal.folder import DATABASE, Mark, unusable
from proxy.controlplane.journal.schema import Schema, check_version, migrate, schema
from proxy.controlplane.journal.state_codec import CodecError, decode_route, digest, seal
from proxy.core.state import State

_BUSY_S = 1.0                              # how long a predecessor's last commit, or a backup, may hold the write lock
_CHECKPOINT_PAGES = 1000                   # 4 MiB: a checkpoint's syncs fall on one change in some 200
_SETTINGS = (
    "PRAGMA synchronous = FULL",           # a commit is on the disk when it returns
    f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}",
    f"PRAGMA journal_size_limit = {4096 * _CHECKPOINT_PAGES}",
    "PRAGMA cell_size_check = ON",         # notices damage where it is read
    "PRAGMA temp_store = MEMORY",          # no files elsewhere
)
_EFFECTIVE = os.access in os.supports_effective_ids
_NO_DAMAGE = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
})


def open_database(folder: Path | None, mark: Mark | None) -> sqlite3.Connection:
    """The database in `folder` (None: in memory), of the newest schema. Raises StateError."""
    if folder is None or mark is None:
        database = _connect(":memory:")
        migrate(database)
        return database
    path = folder / DATABASE
    try:
        _create_if_missing(path, mark)
        database = _connect(str(path))
    except OSError as error:
        raise unusable(folder, error) from error
    except DatabaseErrors as error:
        raise _refusal(path, error) from error
    try:
        _make_ready(database, path)
        _compare(database, path, mark)
    except DatabaseErrors as error:
        database.close()
        raise _refusal(path, error) from error
    except BaseException:
        database.close()
        raise
    return database


def open_reading(path: Path) -> sqlite3.Connection:
    """Another connection to the database at `path`, which `open_database` has opened: it only reads. Raises StateError.

    In WAL mode neither waits for the other.
    """
    try:
        database = _connect(str(path))
    except DatabaseErrors as error:
        raise _refusal(path, error) from error
    try:
        for setting in ("PRAGMA query_only = ON", "PRAGMA cell_size_check = ON", "PRAGMA temp_store = MEMORY"):
            database.execute(setting)
    except DatabaseErrors as error:
        database.close()
        raise _refusal(path, error) from error
    return database


def read_state(database: sqlite3.Connection) -> tuple[State | None, dict[str, int]]:
    """The state that the rows hold, and the digest of each route's row by the route's name.

    Raises CodecError when they are not what was written.
    """
    head = database.execute("SELECT revision, digest FROM head").fetchone()
    rows = database.execute("SELECT CAST(name AS TEXT), CAST(state AS TEXT) FROM routes").fetchall()
    pairs = database.execute("SELECT CAST(version AS TEXT), CAST(server AS TEXT) FROM drained").fetchall()
    if head is None and not rows and not pairs:
        return None, {}
    digests, drained = {name: digest(name, text) for name, text in rows}, frozenset(pairs)
    if head is None or seal(head[0], digests, drained) != head[1]:
        raise CodecError("its routes and servers are not those of its last revision")
    return State(head[0], {name: decode_route(text) for name, text in rows}, drained), digests


def last_id(database: sqlite3.Connection) -> int:
    """The id of the newest event, 0 when there is none."""
    number: int = database.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0]
    return number


def damaged(path: Path, what: str) -> StateError:
    """The refusal of a database that cannot be trusted."""
    return StateError(
        f"the journal {path} cannot be used: {what}; move the files {path.stem}.* in {path.parent} away, or put a "
        "backup of all of them in their place, and start again (without them every route starts as the file says), "
        "or run with `state_dir: memory`"
    )


def _connect(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    # A damaged text is read all the same; its digest tells.
    database.text_factory = lambda text: text.decode("utf-8", "replace")
    return database


def _create_if_missing(path: Path, mark: Mark) -> None:
    """Put an empty file there, for its owner only: SQLite gives its other files the same mode. Raises OSError.

    A file that may not be written is refused before SQLite sees it, which would leave others like it behind.
    """
    if path.exists() and not os.access(path, os.R_OK | os.W_OK, effective_ids=_EFFECTIVE):
        raise PermissionError(EACCES, os.strerror(EACCES), str(path))
    if path.exists() and path.stat().st_size:
        return
    revision, event = mark.read()
    if event or revision:
        raise damaged(path, f"it is missing or empty, but had reached revision {revision}")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)                   # the name is as durable as the first change
    finally:
        os.close(folder)


def _make_ready(database: sqlite3.Connection, path: Path) -> None:
    """Refuse what is not ours, newer, or damaged, before anything is written; then bring it up to date."""
    check_version(database, str(path))
    found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise damaged(path, f"it is damaged ({' '.join(str(found).split())})")
    mode = database.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StateError(
            f"the journal {path} needs a disk of this host, no network file system: choose another `state_dir`"
        )
    for setting in _SETTINGS:
        database.execute(setting)
    _try_writing(database)
    migrate(database)
    if schema(database) != _newest_schema():
        raise damaged(path, "it is damaged (its tables are not those of its version)")


def _try_writing(database: sqlite3.Connection) -> None:
    """Fail now, rather than at the first change, where nothing may be written; needs no room on the disk."""
    database.execute("BEGIN IMMEDIATE")    # alone it begins a reading transaction where SQLite may only read
    try:
        database.execute("PRAGMA user_version = 0")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")


def _newest_schema() -> Schema:
    with closing(_connect(":memory:")) as database:
        migrate(database)
        return schema(database)


def _compare(database: sqlite3.Connection, path: Path, mark: Mark) -> None:
    head = database.execute("SELECT revision FROM head").fetchone()
    there = (head[0] if head else 0, last_id(database))
    known = mark.read()
    if there[0] < known[0] or there[1] < known[1]:
        raise StateError(
            f"the journal {path} has lost its end: it had reached revision {known[0]} and event {known[1]}, but holds "
            f"only revision {there[0]} and event {there[1]}; {path.name}-wal was removed or damaged, or {path.name} "
            f"replaced by an older copy: put back what was there, or remove {mark.path} to go on from revision "
            f"{there[0]}, or run with `state_dir: memory`"
        )


def _refusal(path: Path, error: Exception) -> StateError:
    if primary_code(error) not in _NO_DAMAGE:
        return damaged(path, cause(error))
    return StateError(
        f"the journal {path} cannot be used: {cause(error)}; {remedy(error)}, or run with `state_dir: memory`"
    )
