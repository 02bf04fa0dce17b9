"""Patterns of JSON paths, and the general paths that places have."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.compare.json_paths import PLACES, Paths, Place, parse
from tests.support.exploring import examples

Step = str | None


def at(paths: Paths, *steps: Step) -> Place:
    place = paths.root()
    for step in steps:
        place = place.element() if step is None else place.child(step)
    return place


@pytest.mark.parametrize(("pattern", "inside", "outside"), [
    ("$.items[*].id", [("items", None, "id"), ("items", None, "id", "x")],
     [("items", "id"), ("items", None, "ids"), ()]),
    ("$..updated_at", [("updated_at",), ("a", None, "updated_at"), ("a", "updated_at", "b")], [("a",), ()]),
    ("$.meta.*", [("meta", "a"), ("meta", None), ("meta", "a", "b")], [("meta",), ("a", "meta")]),
    ("$..*", [("a",), (None,), (None, "a")], [()]),
    ("$..[*].id", [("a", None, "id"), (None, "id"), ("a", "id")], [("id",)]),
    ("$..a.b", [("a", "b"), ("a", "a", "b"), ("x", None, "a", "b")], [("a", "x", "b"), ("b",)]),
    ("$['odd name']['it\\'s']", [("odd name", "it's")], [("odd name",)]),
    ('$["a.b"]', [("a.b",)], [("a", "b")]),
    ("$", [(), ("a",)], []),
])
def test_a_pattern_covers_what_it_names_and_all_below(
        pattern: str, inside: list[tuple[Step, ...]], outside: list[tuple[Step, ...]]) -> None:
    paths = Paths([pattern])
    assert all(at(paths, *steps).ignored for steps in inside)
    assert not any(at(paths, *steps).ignored for steps in outside)


@pytest.mark.parametrize(("pattern", "says"), [
    ("items", "must begin with `$`"), ("$.items[0]", "write `[*]`, at character 8"), ("$.a[?(@.b)]", "no conditions"),
    ("$.", "expected"), ("$a", "expected"), ("$.a..", "at character 4"), ("$.a['b", "at character 4"),
    ("$.a b", "at character 4"), ("$[]", "expected"), ("$" + ".a" * 40, "more than 32 steps"),
])
def test_a_bad_pattern_is_refused_with_the_place(pattern: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse(pattern)


def test_a_set_is_an_array_that_a_pattern_ends_at() -> None:
    paths = Paths((), ["$.tags", "$..roles"])
    assert at(paths, "tags").unordered
    assert at(paths, "a", None, "roles").unordered
    assert not at(paths, "tags", None).unordered
    assert not at(paths).unordered


@examples(200)
@given(st.lists(st.one_of(st.none(), st.text(min_size=1, max_size=20)), max_size=8))
def test_the_path_of_a_place_is_a_pattern_that_covers_it(steps: list[Step]) -> None:
    path = at(Paths(), *steps).path
    assert at(Paths([path]), *steps).ignored
    assert path.isprintable()


def test_what_hostile_names_make_it_remember_is_bounded() -> None:
    paths = Paths(["$..id", "$..a.*.*.*.b"])
    for number in range(3 * PLACES):
        paths.root().child(f"name{number}x").child("y")
    assert len(paths.root()._children) <= PLACES


@examples(150)
@given(st.text(max_size=30))
def test_a_pattern_is_read_or_refused_and_nothing_else(text: str) -> None:
    said = ""
    try:
        parse("$" + text)
    except ValueError as refused:
        said = str(refused)
    assert said.isprintable()
