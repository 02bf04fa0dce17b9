"""What happened, for people and programs that ask later: who did what to which route, when, from where and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Author:
    """Who asks for a change. `name`: of the token, or `loopback`, `file`, `signal`, `turnout`. `origin`: from where."""

    name: str
    origin: str = ""


TURNOUT = Author("turnout")
"""Turnout itself: what it does without being asked, such as going back when nobody confirmed."""


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the journal. `id` is 0 until it is in there; ids grow and are never used again.

    `at`: seconds since the epoch. `verb`: split, rollback, undo, confirm, revert, shadow, reload, start, upgrade,
    server-out, server-in, version-down, version-up, …
    `before` and `after`: the route's course as JSON objects, None where the verb changes none; of drain and restore
    what is drained of the version. `revision`: the one that held afterwards.
    """

    at: float
    author: Author
    verb: str
    revision: int
    route: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    reason: str = ""
    id: int = 0
