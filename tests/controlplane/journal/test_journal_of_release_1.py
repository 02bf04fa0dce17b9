"""A journal as the first release wrote it, schema 1, is taken over: `compare` leaves the states, the rest stays."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.controlplane.journal.journal import Journal, StateError
from proxy.controlplane.journal.older_states import without_compare
from proxy.controlplane.journal.schema import APPLICATION_ID
from proxy.controlplane.journal.state_codec import decode_route, digest, encode_route, seal
from proxy.controlplane.upgrade.luggage import Luggage, pack, unpack
from proxy.core.route import Shadow
from proxy.core.state import Course, Pending, RouteState, State
from tests.support.journal_story import SCHEMA_1

SHADOWED = (
    '{"course":{"split":[["old",95.0],["new",5.0]],"shadow":{"to":"new","percent":12.5,"methods":["GET"],'
    '"compare":"{\\"ignore\\":[\\"/id\\"]}"}},'
    '"written":{"split":[["old",100.0],["new",0.0]],"shadow":{"to":"new","percent":1.0,"methods":["GET","HEAD"],'
    '"compare":"{}"}},"revision":7,"generation":2,'
    '"before":{"split":[["old",100.0],["new",0.0]],"shadow":{"to":"new","percent":1.0,"methods":[],"compare":"{}"}},'
    '"pending":{"until":1700000000.5,"back_to":{"split":[["old",1.0],["new",1.0]],"shadow":{"to":"old","percent":3.0,'
    '"methods":["POST"],"compare":"{}"}}}}'
)
PLAIN = (
    '{"course":{"split":[["old",1e300],["new",0.1]],"shadow":null},"written":{"split":[["old",1e300],["new",0.1]],'
    '"shadow":null},"revision":3,"generation":0,"before":null,"pending":null}'
)
OLD = {"shop": SHADOWED, "é/ \"'": PLAIN}
HOME = (("old", 100.0), ("new", 0.0))
SHOP = RouteState(
    Course((("old", 95.0), ("new", 5.0)), Shadow("new", 12.5, ("GET",))),
    Course(HOME, Shadow("new", 1.0)), 7, 2, Course(HOME, Shadow("new", 1.0, ())),
    Pending(1700000000.5, Course((("old", 1.0), ("new", 1.0)), Shadow("old", 3.0, ("POST",)))),
)


def journal_1(folder: Path, routes: Mapping[str, str], *, sealed: int | None = None) -> None:
    """Write a journal of schema 1 at revision 9; `sealed`: another digest than the right one."""
    with closing(sqlite3.connect(folder / "journal.db")) as database:
        database.executescript(f"PRAGMA application_id = {APPLICATION_ID}; {SCHEMA_1} PRAGMA user_version = 1;")
        right = seal(9, {name: digest(name, text) for name, text in routes.items()})
        database.execute("INSERT INTO head VALUES (1, 9, ?)", (right if sealed is None else sealed,))
        database.executemany("INSERT INTO routes VALUES (?, ?)", routes.items())
        database.commit()


def content(folder: Path) -> tuple[int, list[tuple[str, str]], tuple[int, int]]:
    """The schema's version, the routes' rows, and the head."""
    with closing(sqlite3.connect(folder / "journal.db")) as database:
        return (database.execute("PRAGMA user_version").fetchone()[0],
                database.execute("SELECT name, state FROM routes ORDER BY name").fetchall(),
                database.execute("SELECT revision, digest FROM head").fetchone())


def test_every_course_of_a_state_loses_compare_and_nothing_else(tmp_path: Path) -> None:
    journal_1(tmp_path, OLD)
    journal = Journal.open(str(tmp_path), keep=10)
    assert journal.state is not None
    assert journal.state.revision == 9
    assert journal.state.routes["shop"] == SHOP
    assert journal.state.routes["é/ \"'"].course.split == (("old", 1e300), ("new", 0.1))
    journal.close()


def test_what_was_migrated_can_be_changed_and_read_again(tmp_path: Path) -> None:
    journal_1(tmp_path, OLD)
    journal = Journal.open(str(tmp_path), keep=10)
    assert journal.state is not None
    changed = State(10, {**journal.state.routes, "shop": RouteState(SHOP.written, SHOP.written, 10)})
    journal.append([], changed)
    journal.close()
    again = Journal.open(str(tmp_path), keep=10)
    assert again.state == changed
    again.close()


def test_a_journal_that_was_opened_and_never_written_to_is_migrated(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.db")) as database:
        database.executescript(f"PRAGMA application_id = {APPLICATION_ID}; {SCHEMA_1} PRAGMA user_version = 1;")
    journal = Journal.open(str(tmp_path), keep=10)
    assert journal.state is None
    journal.close()


@pytest.mark.parametrize(("routes", "sealed"), [(OLD, 1), ({"shop": '{"course": '}, None), ({"shop": "[]"}, None)])
def test_damage_is_refused_and_its_rows_are_left_as_they_are(
    tmp_path: Path, routes: Mapping[str, str], sealed: int | None
) -> None:
    journal_1(tmp_path, routes, sealed=sealed)
    _, rows, head = content(tmp_path)
    with pytest.raises(StateError, match="cannot be used"):
        Journal.open(str(tmp_path), keep=10)
    assert content(tmp_path)[1:] == (rows, head)


def test_a_predecessor_of_the_first_release_can_hand_its_state_over() -> None:
    packed = pack(Luggage(State(9, {"shop": SHOP}), None, b"s"))
    assert unpack({**packed, "routes": {"shop": SHADOWED}}).state == State(9, {"shop": SHOP})


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_SHADOWS = st.none() | st.builds(Shadow, _TEXT, st.floats(0, 100), st.lists(_TEXT, max_size=2).map(tuple))
_COURSES = st.builds(Course, st.lists(st.tuples(_TEXT, st.floats(0, 1e300)), max_size=2).map(tuple), _SHADOWS)
_ROUTES = st.builds(RouteState, _COURSES, _COURSES, st.integers(0, 2**53), st.integers(0, 9), st.none() | _COURSES,
                    st.none() | st.builds(Pending, st.floats(0, 1e12), _COURSES))


@given(_ROUTES, _TEXT)
def test_what_an_older_release_wrote_of_any_state_is_read_as_that_state(state: RouteState, compare: str) -> None:
    def with_compare(value: object) -> object:
        if not isinstance(value, dict):
            return value
        inner = {key: with_compare(below) for key, below in value.items()}
        return {**inner, "compare": json.dumps({"x": compare})} if "percent" in inner else inner

    old = msgspec.json.encode(with_compare(msgspec.json.decode(encode_route(state)))).decode()
    assert decode_route(without_compare(old)) == state
    assert without_compare(encode_route(state)) == encode_route(state)
