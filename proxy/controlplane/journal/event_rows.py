"""Events as rows of the journal, each with a digest of its own, so that damage is seen when one is read."""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.controlplane.events import TURNOUT, Author, Event
from proxy.controlplane.journal.state_codec import CodecError, digest

COLUMNS = "at, actor, origin, verb, route, before, after, reason, revision, digest"
PLACES = "?, ?, ?, ?, ?, ?, ?, ?, ?, ?"

_course = msgspec.json.Decoder(dict[str, Any] | None).decode


def to_row(event: Event) -> tuple[Any, ...]:
    """The values of COLUMNS. Raises CodecError for a course that is not JSON.

    What people typed (reason, names) may hold anything: half a surrogate pair is written as an escape.
    """
    values = (
        float(event.at), _text(event.author.name), _text(event.author.origin), event.verb, event.route,
        _json(event.before), _json(event.after), _text(event.reason), event.revision,
    )
    return (*values, _digest(values))


def from_row(row: tuple[Any, ...]) -> Event:
    """The event of (id, *COLUMNS); one with the verb `damaged` where the row is not what was written."""
    number, *values, expected = row
    try:
        if _digest(tuple(values)) != expected:
            return _damaged(number)
        at, actor, origin, verb, route, before, after, reason, revision = values
        return Event(at, Author(actor, origin), verb, revision, route, _course(before or "null"),
                     _course(after or "null"), reason, number)
    except (msgspec.MsgspecError, TypeError):
        return _damaged(number)


def _damaged(number: int) -> Event:
    return Event(0.0, TURNOUT, "damaged", 0, reason="this entry of the journal is damaged on disk", id=number)


def _digest(values: tuple[Any, ...]) -> int:
    return digest(*map(repr, values))


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _json(course: dict[str, Any] | None) -> str | None:
    if course is None:
        return None
    try:
        return msgspec.json.encode(course).decode()
    except (msgspec.MsgspecError, UnicodeEncodeError, TypeError) as error:
        raise CodecError(f"the course {course!r} of an event is no JSON: {error}") from error
