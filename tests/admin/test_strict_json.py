from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.strict_json import MAX_DEPTH, NotJson, parse


def refusal(raw: bytes) -> list[dict[str, str]]:
    with pytest.raises(NotJson) as caught:
        parse(raw)
    return caught.value.errors


def details(raw: bytes) -> str:
    return " ".join(error["detail"] for error in refusal(raw))


_leaves = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(max_size=5) | st.floats(
    allow_nan=False, allow_infinity=False)
_values = st.recursive(_leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
    st.text(max_size=4), inner, max_size=4), max_leaves=10)


@given(_values)
def test_what_json_writes_is_read_back(value: Any) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=60) | st.text(alphabet='[]{}",:\\0eE-+.ntu ', max_size=60).map(str.encode))
def test_whatever_comes_is_read_or_refused(raw: bytes) -> None:
    try:
        parse(raw)
    except NotJson as error:
        told = error.errors
    else:
        return
    assert told


def test_a_key_given_twice_is_named_with_its_place_and_every_one_of_them() -> None:
    errors = refusal(b'{"split": {"old": 1, "old": 2, "new": 3}, "a/b": [{"x": 1, "x": 1}], "split": {}, "split": 1}')
    assert [error["pointer"] for error in errors] == ["/split", "/a~1b/0/x"]
    assert refusal(b'{"split": {"old": 1, "old": 2}}') == [{"pointer": "/split/old", "detail": "is given twice"}]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 21, "9" * 5000])
def test_a_number_that_the_next_program_would_read_otherwise_is_refused(word: str) -> None:
    assert "number" in details(f'{{"split": {{"old": {word}}}}}'.encode())


def test_it_ends_at_a_depth_that_no_body_needs() -> None:
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    for raw in (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), b"[" * 60_000, b'{"a":' * 10_000):
        assert "nested" in details(raw)


def test_brackets_inside_of_strings_have_no_depth() -> None:
    assert parse(b'["' + b"[" * 100 + b'\\"' + b"{" * 100 + b'"]') == ["[" * 100 + '"' + "{" * 100]


def test_text_that_is_not_one_in_utf_8_is_refused() -> None:
    assert "UTF-8" in details(b'"\xff"')
    assert "UTF-8" in details('{"a": 1}'.encode("utf-16"))
    assert "surrogate" in details(b'"\\ud800"')
    assert parse(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_a_mistake_is_shown_by_line_and_column() -> None:
    assert "line 2, column 8" in details(b'{"a": 1,\n "b": 2')


@pytest.mark.timeout(5)
@pytest.mark.parametrize("raw", [b'"' + b'\\"' * 500_000, b'"' * 1_000_000, b'"\\' * 500_000, b'{"a' * 300_000])
def test_a_megabyte_of_quotes_is_looked_through_once(raw: bytes) -> None:
    assert refusal(raw)
