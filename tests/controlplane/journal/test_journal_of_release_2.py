"""A journal of schema 2, before anything could be drained, is taken over as it is: nothing is drained in it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.controlplane.journal.journal import Journal, StateError
from proxy.controlplane.journal.schema import APPLICATION_ID
from proxy.controlplane.journal.state_codec import digest, encode_route, seal
from tests.support.journal_story import SCHEMA_1 as SCHEMA_2
from tests.support.journal_story import event, first_state

STATE = replace(first_state(), revision=9)


def journal_2(folder: Path, *, sealed: int | None = None) -> None:
    """Write a journal of schema 2 at revision 9; `sealed`: another digest than the right one."""
    routes = {name: encode_route(held) for name, held in STATE.routes.items()}
    right = seal(9, {name: digest(name, text) for name, text in routes.items()})
    with closing(sqlite3.connect(folder / "journal.db")) as database:
        database.executescript(f"PRAGMA application_id = {APPLICATION_ID}; {SCHEMA_2} PRAGMA user_version = 2;")
        database.execute("INSERT INTO head VALUES (1, 9, ?)", (right if sealed is None else sealed,))
        database.executemany("INSERT INTO routes VALUES (?, ?)", routes.items())
        database.commit()


def test_its_state_is_found_and_can_be_drained(tmp_path: Path) -> None:
    journal_2(tmp_path)
    journal = Journal.open(str(tmp_path), keep=10)
    assert journal.state == STATE
    drained = replace(STATE, revision=10, drained=frozenset({("old", "")}))
    journal.append([event(10)], drained, [])
    journal.close()
    again = Journal.open(str(tmp_path), keep=10)
    assert again.state == drained
    again.close()


def test_damage_is_still_noticed(tmp_path: Path) -> None:
    journal_2(tmp_path, sealed=7)
    with pytest.raises(StateError, match="not those of its last revision"):
        Journal.open(str(tmp_path), keep=10)


def test_a_predecessor_that_has_it_open_can_go_on_when_its_successor_gives_up(tmp_path: Path) -> None:
    """The successor has migrated before it failed: what the predecessor seals next is what a later start accepts."""
    journal_2(tmp_path)
    Journal.open(str(tmp_path), keep=10).close()
    routes = {name: encode_route(held) for name, held in STATE.routes.items()}
    digests = {name: digest(name, text) for name, text in routes.items()}
    with closing(sqlite3.connect(tmp_path / "journal.db")) as database:
        written = database.execute("UPDATE head SET revision = 10, digest = ? WHERE revision = 9 AND digest = ?",
                                   (seal(10, digests), seal(9, digests)))
        assert written.rowcount == 1
        database.commit()
    journal = Journal.open(str(tmp_path), keep=10)
    assert journal.state == replace(STATE, revision=10)
    journal.close()

