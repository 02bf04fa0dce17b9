"""What operators have made of the routes at run time: the state that outlives restarts, one value per revision.

The file says where a route starts; a change at run time sets a course of its own, which stays until the file's own
course for that route changes (`core.changes` holds that rule and every other). All values are frozen: a change is a
new state, and undo is the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.core.route import Shadow

Drains = frozenset[tuple[str, str]]
"""Version and address of the servers that are out of service; an empty address: all of them (`core.draining`)."""


@dataclass(frozen=True, slots=True)
class Course:
    """Where a route's requests and copies go: everything about it that can be changed at run time."""

    split: tuple[tuple[str, float], ...]
    shadow: Shadow | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """A change that undoes itself unless it is confirmed. `until`: seconds since the epoch; `back_to`: what then."""

    until: float
    back_to: Course


@dataclass(frozen=True, slots=True)
class RouteState:
    """One route's course and how it came to it.

    `written`: the course that the file gave when `course` was set; by it a later reload sees who changed what.
    `revision`: of the last change of this route (its ETag). `generation`: raised by a rollback, ends session
    stickiness. `before`: what undo returns to, None while nothing was changed. `pending`: see `Pending`.
    """

    course: Course
    written: Course
    revision: int
    generation: int = 0
    before: Course | None = None
    pending: Pending | None = None


@dataclass(frozen=True, slots=True)
class State:
    """Every route's state by its name, and what is drained, under one revision number, which grows by one with every
    change.
    """

    revision: int
    routes: Mapping[str, RouteState] = field(default_factory=dict)
    drained: Drains = frozenset()
