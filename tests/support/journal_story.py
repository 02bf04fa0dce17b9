"""States and events for tests of the journal, and pictures of its folder as a kill at this instant would leave it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from proxy.controlplane.events import Author, Event
from proxy.core.route import Shadow
from proxy.core.state import Course, Pending, RouteState, State

SCHEMA_1 = """
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL, digest INTEGER NOT NULL);
CREATE TABLE routes (name TEXT PRIMARY KEY NOT NULL, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, actor TEXT NOT NULL, origin TEXT NOT NULL,
        verb TEXT NOT NULL, route TEXT, before TEXT, after TEXT, reason TEXT NOT NULL, revision INTEGER NOT NULL,
        digest INTEGER NOT NULL);
CREATE INDEX events_of_route ON events (route);
"""
"""The tables as the first release made them, and the second; the third has one for what is drained."""

CI = Author("ci", "10.0.0.7:51234")


def course(new: float, shadow: Shadow | None = None) -> Course:
    """A course that gives the version `new` this many percent."""
    return Course((("old", 100.0 - new), ("new", new)), shadow)


def first_state(routes: int = 3) -> State:
    """Revision 1 of a file with so many routes, each at home."""
    return State(1, {f"route-{number}": RouteState(course(0.0), course(0.0), 1) for number in range(routes)})


def with_split(state: State, route: str, new: float) -> State:
    """The state after one change of one route, and of what is drained: one server more or less, or a version."""
    revision = state.revision + 1
    was = state.routes[route]
    now = replace(was, course=course(new), revision=revision, before=was.course, pending=Pending(1e9 + new, was.course))
    turned = ("new", "") if revision % 7 == 0 else ("old", f"http://10.0.0.{revision % 5}:80")
    return State(revision, {**state.routes, route: now}, state.drained ^ {turned})


def event(revision: int, route: str | None = "route-0", verb: str = "split", reason: str = "it is time") -> Event:
    """An event of this revision."""
    return Event(1.7e9 + revision, CI, verb, revision, route, {"split": {"new": 0.0}}, {"split": {"new": 5.0}}, reason)


def picture(folder: Path, to: Path) -> Path:
    """Copy what a kill would leave on disk now, write-ahead log included; the hold ends with the process."""
    to.mkdir(mode=0o700)
    for file in folder.glob("journal.*"):
        if not file.name.endswith("-shm"):
            shutil.copyfile(file, to / file.name)
    return to
