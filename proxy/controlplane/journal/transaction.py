"""One transaction of the journal: all of it or nothing, durable when the block is left."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Write inside the block; it is committed at its end and taken back if anything is raised, also by the commit.

    The write lock is taken at the beginning (IMMEDIATE), so that nothing read inside can be outdated.
    """
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:        # SQLite has often rolled back by itself: https://sqlite.org/lang_transaction.html
            database.execute("ROLLBACK")
        raise
