"""What the journal says when it cannot be opened or written: what is wrong, where, and what the operator can do.

Nothing of SQLite's own errors leaves the journal's modules: `cause` and `remedy` translate them here.
"""

from __future__ import annotations

import sqlite3

from proxy.controlplane.errors import StartError
from proxy.errors import TurnoutError

_PRIMARY = 0xFF                            # the low byte of an extended result code: https://sqlite.org/rescode.html

_CAUSES = {
    sqlite3.SQLITE_BUSY: "another program holds it",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk refuses to read or write it",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database",
    sqlite3.SQLITE_PERM: "access to it is not permitted",
    sqlite3.SQLITE_READONLY: "it cannot be written",
}

_REMEDIES = {
    sqlite3.SQLITE_BUSY: "end that program (a `sqlite3` shell, a backup?)",
    sqlite3.SQLITE_CORRUPT: "restart Turnout, which then says how to go on",
    sqlite3.SQLITE_FULL: "free space on the disk",
    sqlite3.SQLITE_IOERR: "free space on the disk, and look for errors in the kernel's log and at the file size limit",
    sqlite3.SQLITE_NOTADB: "restart Turnout, which then says how to go on",
}
_ANY_REMEDY = "make the folder and its files writable by the user that runs Turnout"


DatabaseErrors = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite's calls raise; the second where its message quotes a damaged schema."""


class StateError(StartError):
    """What `state_dir` holds cannot be used; the message says what to do about it. Turnout exits with code 3."""

    exit_code = 3


class JournalError(TurnoutError):
    """A change could not be made durable, and nothing of it was kept. The message says why and what helps."""


def primary_code(error: Exception) -> int:
    """SQLite's primary result code, 0 for an error that is not SQLite's own."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & _PRIMARY


def cause(error: Exception) -> str:
    """What went wrong, in words for the operator, with SQLite's own name for those who search for it."""
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return f"{_CAUSES.get(primary_code(error), str(error))} ({name})"


def remedy(error: Exception) -> str:
    """What makes the next attempt succeed."""
    return _REMEDIES.get(primary_code(error), _ANY_REMEDY)
