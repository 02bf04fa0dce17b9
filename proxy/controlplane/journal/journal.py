"""The journal: every change with its author, and the state it led to, on disk before anybody is told that it happened.

Invariants: an acknowledged change outlives a kill at any instant (invariant 7); events and the state they led to are
written in one transaction, so each start finds both or neither; what cannot be written is kept nowhere, also not here.

The state is kept as one row for each route and each drained server, so that a change of one of many costs one row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from proxy.controlplane.events import Event
from proxy.controlplane.journal.database import damaged, last_id, open_database, open_reading, read_state
from proxy.controlplane.journal.errors import DatabaseErrors, JournalError, StateError, cause, remedy
from proxy.controlplane.journal.event_rows import COLUMNS, PLACES, from_row, to_row
from proxy.controlplane.journal.folder import DATABASE, Hold, Mark, make_folder, unusable
from proxy.controlplane.journal.state_codec import CodecError, digest, encode_route, seal
from proxy.controlplane.journal.transaction import transaction
from proxy.core.state import Drains, RouteState, State

__all__ = ["Journal", "JournalError", "StateError"]

_PRUNED_AT_ONCE = 64                       # old events that go with one change, beyond as many as it adds

_INSERT = f"INSERT INTO events ({COLUMNS}) VALUES ({PLACES})"                         # noqa: S608 - names of our own
_PRUNE = "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id <= ? ORDER BY id LIMIT ?)"
_FIND = f"SELECT id, {COLUMNS} FROM events WHERE id > ?"                               # noqa: S608 - names of our own
_PUT_DRAINED = "INSERT INTO drained (version, server) VALUES (?, ?)"
_DROP_DRAINED = "DELETE FROM drained WHERE version = ? AND server = ?"
_NONE: Drains = frozenset()
_PUT_ROUTE = "INSERT INTO routes (name, state) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET state = excluded.state"


class Journal:
    """The journal of one `state_dir`, or one in memory that ends with the process.

    Every method may be called from any thread; those that touch the disk take about a millisecond, so an event loop
    calls them in a thread. Whoever reads events has a connection of its own: a change waits for no reader.
    """

    def __init__(
        self, database: sqlite3.Connection, keep: int, hold: Hold | None = None, mark: Mark | None = None,
        reading: sqlite3.Connection | None = None,
    ) -> None:
        """Use `Journal.open`. Takes everything over; raises CodecError and sqlite3.Error when the state is damaged."""
        self._state, self._digests = read_state(database)
        self._last_id = last_id(database)
        self._database = database
        self._keep = keep
        self._hold = hold
        self._mark = mark
        self._lock = Lock()
        self._reading = reading or database
        self._sharing = nullcontext() if reading else self._lock
        # One reader at a time: several would keep the interpreter from the thread that answers. Taken before `_lock`.
        self._reading_lock = Lock()
        self._open = True

    @classmethod
    def open(cls, state_dir: str | None, *, keep: int, lock_fd: int | None = None) -> Journal:
        """Open the journal in `state_dir`, made when it is missing; None: in memory.

        `keep`: how many events stay, the newest ones, at least 1. `lock_fd`: the inherited `Journal.lock_fd` of a
        predecessor, which may still have the journal open but has stopped writing; this object owns it from then on.

        Raises StartError when another process uses `state_dir`, and StateError (exit code 3) when what is there cannot
        be read or written or trusted.
        """
        if state_dir is None:
            return cls(open_database(None, None), keep)
        folder = Path(state_dir)
        make_folder(folder)
        hold = Hold(folder, lock_fd)
        try:
            return cls._of_folder(folder, keep, hold)
        except BaseException:
            hold.close()
            raise

    @classmethod
    def _of_folder(cls, folder: Path, keep: int, hold: Hold) -> Journal:
        """Take over a folder that is held. Whatever was opened is closed again when it cannot be used."""
        path = folder / DATABASE
        try:
            mark = Mark(folder)
        except OSError as error:
            raise unusable(folder, error) from error
        with ExitStack() as opened:
            opened.callback(mark.close)
            database = open_database(folder, mark)
            opened.callback(database.close)
            reading = open_reading(path)
            opened.callback(reading.close)
            try:
                journal = cls(database, keep, hold, mark, reading)
            except CodecError as error:
                raise damaged(path, f"it is damaged ({error})") from error
            except DatabaseErrors as error:
                raise damaged(path, cause(error)) from error
            opened.pop_all()
            return journal

    @property
    def state(self) -> State | None:
        """The state that was last made durable; None while there was none."""
        return self._state

    @property
    def last_id(self) -> int:
        """The id of the newest event, 0 while there is none."""
        return self._last_id

    @property
    def lock_fd(self) -> int | None:
        """The descriptor that holds `state_dir`, for a successor to inherit (it is not inheritable by itself)."""
        return None if self._hold is None else self._hold.descriptor

    def claim(self, pid: int | None = None) -> None:
        """Name this process as the holder of `state_dir` again, after a successor that was to take it has failed.

        `pid`: the one that held it before, when it is this process that has failed: its workers are found by that.
        """
        if self._hold is not None:
            self._hold.claim(pid)

    def append(
        self, events: Sequence[Event], state: State | None, changed: Collection[str] | None = None
    ) -> tuple[Event, ...]:
        """Make events and the state they led to durable, in one transaction; returns the events with their ids.

        `state` None: it stays as it is. `changed`: the routes whose state differs from the one before, also those that
        are gone; None: they are found by comparison.

        Raises JournalError, with what the operator can do; then nothing was kept, and the next call may succeed.
        """
        with self._lock:
            self._must_be_open()
            try:
                return self._append(events, state, changed)
            except DatabaseErrors as error:
                raise JournalError(f"the journal cannot be written: {cause(error)}; {remedy(error)}") from error
            except (ValueError, OverflowError) as error:
                raise JournalError(f"the journal has no form for this change: {error}") from error

    def events(
        self, after: int = 0, limit: int = 100, route: str | None = None, *, newest_first: bool = False
    ) -> list[Event]:
        """At most `limit` events with an id above `after`, of one route or of all, from the oldest on or the newest.

        An entry that is damaged on disk has the verb `damaged`. Raises JournalError when the disk cannot be read.
        """
        of_route, values = ("", (after, limit)) if route is None else (" AND route = ?", (after, route, limit))
        order = "DESC" if newest_first else "ASC"
        with self._reading_lock:
            self._must_be_open()
            try:
                with self._sharing:
                    rows = self._reading.execute(f"{_FIND}{of_route} ORDER BY id {order} LIMIT ?", values).fetchall()
            except DatabaseErrors as error:
                raise JournalError(f"the journal cannot be read: {cause(error)}; {remedy(error)}") from error
            return [from_row(row) for row in rows]

    def close(self) -> None:
        """Close the files and let go of `state_dir`; `state` can still be read. Twice is once."""
        with self._reading_lock, self._lock:
            if not self._open:
                return
            self._open = False
            self._reading.close()
            self._database.close()
            for file in (self._mark, self._hold):
                if file is not None:
                    file.close()

    def _must_be_open(self) -> None:
        if not self._open:
            raise JournalError("the journal is closed, because Turnout is leaving: ask its successor")

    def _append(
        self, events: Sequence[Event], state: State | None, changed: Collection[str] | None
    ) -> tuple[Event, ...]:
        rows = [to_row(event) for event in events]
        texts = {} if state is None else self._texts(state, changed)
        digests = self._with(texts)
        with transaction(self._database):
            ids = [self._insert(row) for row in rows]
            if state is not None:
                self._put(state, texts, digests)
            if ids:
                self._database.execute(_PRUNE, (ids[-1] - self._keep, _PRUNED_AT_ONCE + len(ids)))
        self._state = state or self._state
        self._digests = digests
        self._last_id = ids[-1] if ids else self._last_id
        if self._mark is not None:
            self._mark.put(self._state.revision if self._state else 0, self._last_id)
        return tuple(replace(event, id=number) for event, number in zip(events, ids, strict=True))

    def _texts(self, state: State, changed: Collection[str] | None) -> dict[str, str | None]:
        """What has to be written for each changed route; None for one that is gone."""
        known: Mapping[str, RouteState] = self._state.routes if self._state else {}
        if changed is None:
            changed = [name for name in {**known, **state.routes} if known.get(name) != state.routes.get(name)]
        return {name: encode_route(state.routes[name]) if name in state.routes else None for name in changed}

    def _with(self, texts: Mapping[str, str | None]) -> dict[str, int]:
        """The digests of all routes, once these texts are written."""
        digests = dict(self._digests)
        for name, text in texts.items():
            if text is None:
                digests.pop(name, None)
            else:
                digests[name] = digest(name, text)
        return digests

    def _insert(self, row: tuple[Any, ...]) -> int:
        number = self._database.execute(_INSERT, row).lastrowid
        assert number is not None
        return number

    def _put(self, state: State, texts: Mapping[str, str | None], digests: Mapping[str, int]) -> None:
        """Write the head, if it is still the one this object has written or read, and the rows."""
        known = self._state.drained if self._state else _NONE
        head = (state.revision, seal(state.revision, digests, state.drained))
        if self._state is None:
            written = self._database.execute(
                "INSERT OR IGNORE INTO head (one, revision, digest) VALUES (1, ?, ?)", head
            )
        else:
            before = (self._state.revision, seal(self._state.revision, self._digests, known))
            written = self._database.execute(
                "UPDATE head SET revision = ?, digest = ? WHERE revision = ? AND digest = ?", (*head, *before)
            )
        if written.rowcount != 1:
            raise JournalError(
                "another process has written to the journal since: restart Turnout, which reads it anew"
            )
        for name, text in texts.items():
            if text is None:
                self._database.execute("DELETE FROM routes WHERE name = ?", (name,))
            else:
                self._database.execute(_PUT_ROUTE, (name, text))
        self._database.executemany(_DROP_DRAINED, sorted(known - state.drained))
        self._database.executemany(_PUT_DRAINED, sorted(state.drained - known))
