from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.controlplane.events import Author, Event
from proxy.controlplane.journal.event_rows import from_row, to_row
from proxy.controlplane.journal.state_codec import CodecError, decode_route, digest, encode_route
from proxy.core.route import Shadow
from proxy.core.state import Course, Pending, RouteState

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WEIGHT = st.floats(min_value=0, allow_infinity=False)
SHADOWS = st.builds(Shadow, TEXT, WEIGHT, st.lists(TEXT, max_size=3).map(tuple))
COURSES = st.builds(Course, st.lists(st.tuples(TEXT, WEIGHT), max_size=4).map(tuple), st.none() | SHADOWS)
COUNT = st.integers(0, 2**53)
ROUTES = st.builds(
    RouteState, COURSES, COURSES, COUNT, COUNT, st.none() | COURSES, st.none() | st.builds(Pending, WEIGHT, COURSES)
)
JSON = st.dictionaries(TEXT, st.none() | st.booleans() | TEXT | COUNT | WEIGHT | st.lists(TEXT), max_size=3)
EVENTS = st.builds(
    Event, WEIGHT, st.builds(Author, TEXT, TEXT), TEXT, COUNT, st.none() | TEXT, st.none() | JSON, st.none() | JSON,
    TEXT,
)

SIMPLE = RouteState(Course((("old", 95), ("new", 5.5))), Course((("old", 100.0),)), 3)


@given(ROUTES)
def test_every_state_comes_back_as_it_was(state: RouteState) -> None:
    text = encode_route(state)
    assert decode_route(text) == state
    assert encode_route(decode_route(text)) == text


@given(EVENTS, st.integers(1, 2**60))
def test_every_event_comes_back_as_it_was(event: Event, number: int) -> None:
    back = from_row((number, *to_row(event)))
    assert back.id == number
    assert back == Event(event.at, event.author, event.verb, event.revision, event.route, event.before, event.after,
                         event.reason, number)


@given(EVENTS, st.integers(0, 8))
def test_an_event_that_was_changed_is_damaged(event: Event, column: int) -> None:
    row = [7, *to_row(event)]
    row[column + 1] = None if row[column + 1] is not None else "else"
    assert from_row(tuple(row)).verb == "damaged"


def test_whole_numbers_are_written_as_they_are_read() -> None:
    assert '["old",95.0]' in encode_route(SIMPLE)


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf])
def test_what_json_has_no_form_for_is_not_written(weight: float) -> None:
    with pytest.raises(CodecError):
        encode_route(RouteState(Course((("old", weight),)), SIMPLE.written, 3))


def test_half_a_surrogate_pair_is_not_written() -> None:
    with pytest.raises(CodecError):
        encode_route(RouteState(Course((("\ud800", 1.0),)), SIMPLE.written, 3))


def test_a_field_too_many_or_too_few_needs_a_migration() -> None:
    known = json.loads(encode_route(SIMPLE))
    for strange in ({**known, "colour": "red"}, {name: known[name] for name in known if name != "generation"}):
        with pytest.raises(CodecError, match="unknown or missing"):
            decode_route(json.dumps(strange, separators=(",", ":")))


@pytest.mark.parametrize("text", ["", "{}", "null", "[]", '{"course"', '{"course": {"split": 3}}'])
def test_what_is_no_state_is_refused(text: str) -> None:
    with pytest.raises(CodecError):
        decode_route(text)


def test_a_digest_is_an_integer_that_sqlite_can_hold() -> None:
    assert -(2**63) <= digest("a", "b") < 2**63
    assert digest("a", "b") != digest("b", "a")
