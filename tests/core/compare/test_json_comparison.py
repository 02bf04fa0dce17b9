"""JSON documents compared by structure."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.compare.json_diff import MOST_DIFFERENCES, json_differences
from proxy.core.compare.json_paths import Paths
from proxy.core.compare.json_text import Parsed, parsed
from proxy.core.compare.values import Kind
from tests.support.exploring import examples

Many = examples(150)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
                    st.text(max_size=8))
VALUES = st.recursive(SCALARS, lambda inner: st.one_of(
    st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)), max_leaves=20)


def found(one: Any, other: Any, ignore: tuple[str, ...] = (), unordered: tuple[str, ...] = (),
          tolerance: float = 0.0) -> set[tuple[str, str]]:
    differences, _ = json_differences(one, other, Paths(ignore, unordered), tolerance)
    return {(one.path, one.kind.value) for one in differences}


def strictly_equal(one: Any, other: Any) -> bool:
    """Equality as JSON means it: true is not 1, but 1 is 1.0."""
    numbers = (int, float)
    if type(one) is not type(other):
        return type(one) in numbers and type(other) in numbers and bool(one == other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(strictly_equal(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(strictly_equal, one, other))
    return bool(one == other)


@Many
@given(VALUES)
def test_a_document_does_not_differ_from_its_copy(value: Any) -> None:
    assert found(value, copy.deepcopy(value)) == set()
    assert found(value, copy.deepcopy(value), unordered=("$..*", "$"), tolerance=0.1) == set()


@Many
@given(VALUES, VALUES)
def test_something_is_reported_exactly_where_two_documents_are_not_equal(one: Any, other: Any) -> None:
    assert bool(found(one, other)) == (not strictly_equal(one, other))


@Many
@given(VALUES, VALUES)
def test_missing_seen_from_the_other_side_is_extra(one: Any, other: Any) -> None:
    mirror = {"missing": "extra", "extra": "missing"}
    assert {(path, mirror.get(kind, kind)) for path, kind in found(one, other)} == found(other, one)


@Many
@given(VALUES, VALUES)
def test_what_is_ignored_below_the_root_leaves_nothing(one: Any, other: Any) -> None:
    assert found({"a": one}, {"a": other}, ignore=("$.a",)) == set()
    assert found({"a": one}, {"a": other}, ignore=("$.*",)) == set()
    assert found(one, other, ignore=("$",)) == set()


@Many
@given(st.lists(VALUES, max_size=6), st.randoms(use_true_random=False))
def test_a_set_is_the_same_in_any_order(values: list[Any], chance: random.Random) -> None:
    mixed = copy.deepcopy(values)
    chance.shuffle(mixed)
    assert found({"a": values}, {"a": mixed}, unordered=("$.a",)) == set()


@pytest.mark.parametrize(("one", "other", "expected"), [
    ({"a": 1}, {}, {("$.a", "missing")}),
    ({}, {"a": 1}, {("$.a", "extra")}),
    ({"a": None}, {}, {("$.a", "missing")}),
    ({"a": 1}, {"a": "1"}, {("$.a", "type")}),
    ({"a": True}, {"a": 1}, {("$.a", "type")}),
    ({"a": [True]}, {"a": [1]}, {("$.a[*]", "type")}),
    ({"a": None}, {"a": 0}, {("$.a", "type")}),
    ({"a": {}}, {"a": []}, {("$.a", "type")}),
    ({"a": 1}, {"a": 1.0}, set()),
    ({"a": 10**400}, {"a": 10**400 + 1}, {("$.a", "value")}),
    ([1, 2, 3], [3, 1, 2], {("$", "order")}),
    ([1, 2, 3], [3, 1, 4], {("$[*]", "value")}),
    ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}, {"b": 3}]}, {("$.a[*].b", "value")}),
    ({"a": [{"b": 1, "c": 2}, {"b": 2, "c": 2}]}, {"a": [{"b": 2, "c": 2}, {"b": 1, "c": 2}]}, {("$.a", "order")}),
    ([[1, 2], [3]], [[2, 1], [3]], {("$[*]", "order")}),
    (1, {"a": 1}, {("$", "type")}),
])
def test_each_difference_has_its_kind(one: Any, other: Any, expected: set[tuple[str, str]]) -> None:
    assert found(one, other) == expected


def test_one_element_put_in_does_not_shift_the_others_into_differences() -> None:
    items: list[Any] = [{"id": number, "name": f"item {number}", "kind": "x"} for number in range(50)]
    for at in (0, 1, 25, 50):
        longer = [*items[:at], {"id": 1000, "name": "new", "kind": "x"}, *items[at:]]
        assert found({"items": items}, {"items": longer}) == {("$.items", "length"), ("$.items[*]", "extra")}
        assert found({"items": longer}, {"items": items}) == {("$.items", "length"), ("$.items[*]", "missing")}


def test_an_element_put_in_is_found_though_every_element_has_noise() -> None:
    one: list[Any] = [{"id": number, "name": f"item {number}", "seen": number * 7} for number in range(20)]
    other = [{**item, "seen": item["seen"] + 1} for item in one]
    other.insert(9, {"id": -1, "name": "new", "seen": 0})
    assert found(one, other) == {("$", "length"), ("$[*]", "extra"), ("$[*].seen", "value")}


@pytest.mark.parametrize(("one", "other", "tolerance", "equal"), [
    (100.0, 100.9, 0.01, True), (100.0, 102.0, 0.01, False), (0.0, 0.009, 0.01, True), (0.0, 0.02, 0.01, False),
    (1, 1.0000001, 1e-6, True), (10**400, 10**400 + 1, 0.5, False), (-1, 1, 0.5, False),
])
def test_numbers_are_equal_within_the_absolute_or_relative_tolerance(
        one: float, other: float, tolerance: float, equal: bool) -> None:
    assert (found([one], [other], tolerance=tolerance) == set()) is equal
    assert (found({"a": [one, 7]}, {"a": [7, other]}, tolerance=tolerance, unordered=("$.a",)) == set()) is equal


def test_a_changed_member_in_a_set_is_reported_as_that() -> None:
    one = [{"id": 1, "price": 5, "name": "a"}, {"id": 2, "price": 6, "name": "b"}]
    other = [{"id": 2, "price": 7, "name": "b"}, {"id": 1, "price": 5, "name": "a"}]
    assert found(one, other, unordered=("$",)) == {("$[*].price", "value")}
    assert found(["a", "b"], ["b", "c"], unordered=("$",)) == {("$[*]", "missing"), ("$[*]", "extra")}


def test_noise_in_ignored_members_does_not_unsettle_a_set() -> None:
    one = [{"id": n, "at": n * 3} for n in range(9)]
    other = [{"id": n, "at": n * 5 + 1} for n in reversed(range(9))]
    assert found(one, other, ignore=("$[*].at",), unordered=("$",)) == set()
    assert found(one, other, ignore=("$..at",)) == {("$", "order")}


def test_members_named_by_ids_share_a_path() -> None:
    one = {str(number): {"name": "a"} for number in range(1000)}
    other = {str(number): {"name": "b"} for number in range(1000)}
    assert found(one, other) == {("$.*.name", "value")}


def test_a_path_is_reported_once_however_many_elements_differ() -> None:
    one = [{"a": number, "b": 1} for number in range(60_000)]
    other = [{"a": -number - 1, "b": 1} for number in range(60_000)]
    assert found(one, other) == {("$[*].a", "value")}


def test_the_list_of_differences_is_cut() -> None:
    one = {f"name{chr(97 + n // 26)}{chr(97 + n % 26)}": 1 for n in range(500)}
    listed, more = json_differences(one, {}, Paths())
    assert (len(listed), more) == (MOST_DIFFERENCES, True)
    assert json_differences(one, dict(one), Paths()) == ([], False)


def test_depth_that_the_parser_takes_is_compared_to_its_end() -> None:
    def deep(leaf: str, levels: int) -> Any:
        value: Any = leaf
        for number in range(levels):
            value = [value] if number % 2 else {"a": value}
        return value

    listed, _ = json_differences(deep("x", 20_000), deep("y", 20_000), Paths())
    assert [one.kind for one in listed] == [Kind.VALUE]
    assert len(listed[0].path) < 200
    listed, _ = json_differences([deep("x", 500)], [deep("y", 500)], Paths((), ("$..*",)), 0.1)
    assert [one.kind for one in listed] == [Kind.VALUE]


@Many
@given(VALUES, VALUES)
def test_excerpts_are_short_and_printable(one: Any, other: Any) -> None:
    for difference in json_differences({"a": one, "b": [one]}, {"a": other, "b": [other]}, Paths())[0]:
        for text in (difference.path, difference.primary, difference.shadow):
            assert len(text) <= 200
            assert text.isprintable()


@pytest.mark.parametrize("body", [b"", b"{", b"[1,]", b"NaN", b'{"a": Infinity}', b"[-Infinity]", b'"\xff"',
                                  b'{"a":1} x', b"[" * 100_000, b'{"a":' * 50_000, b"\xfe\xff\x00[", b'"\t"', b"01"])
def test_what_is_no_json_is_told_and_not_raised(body: bytes) -> None:
    assert isinstance(parsed(body), str)


@pytest.mark.parametrize("body", [b"1" * 100_000, b'["\\ud800"]', b"\xef\xbb\xbf[]", b"1e999", b"-0.0", b"[1e-999]"])
def test_odd_but_valid_json_is_parsed(body: bytes) -> None:
    assert isinstance(parsed(body), Parsed)


def test_numbers_beyond_what_python_converts_are_compared_exactly() -> None:
    digits = b"7" * 100_000
    one, other = parsed(b"[%s]" % digits), parsed(b"[%s8]" % digits[:-1])
    assert isinstance(one, Parsed)
    assert isinstance(other, Parsed)
    assert found(one.value, other.value, tolerance=0.001) == {("$[*]", "value")}
    assert found(one.value, one.value) == set()


def test_of_members_with_one_name_the_last_counts() -> None:
    one = parsed(b'{"a": 1, "a": 2}')
    assert isinstance(one, Parsed)
    assert found(one.value, {"a": 2}) == set()


def test_a_name_with_a_lone_surrogate_makes_a_printable_path() -> None:
    listed, _ = json_differences(json.loads('{"\\ud800": 1}'), {}, Paths())
    assert listed[0].path == "$.*"
