"""Cookies and query parameters are found in the bytes as received."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.request import find_cookie, find_parameter
from tests.support.exploring import examples


@pytest.mark.parametrize(("header", "value"), [
    (b"", None), (b"turnout=1", b"1"), (b"turnout=", b""), (b"turnout", None), (b"a=b; turnout=1", b"1"),
    (b"a=b; turnout=1; c=d", b"1"), (b"a=b;turnout=1;c=d", b"1"), (b"xturnout=1", None),
    (b"xturnout=1; turnout=2", b"2"), (b"x-turnout=1;  turnout=2", None),
    (b"turnout=1; turnout=2", b"1"), (b"a=turnout=1; turnout=2", b"2"),
    (b"turnout2=1; turnout=2", b"2"), (b"Turnout=1", None), (b"a= turnout=1", None), (b"turnout=a=b", b"a=b"),
    (b" turnout=1", None), (b";turnout=1", b"1"),
])
def test_a_cookie_is_a_whole_pair_of_exactly_its_name_and_the_first_wins(header: bytes, value: bytes | None) -> None:
    assert find_cookie(header, b"turnout=") == value


@pytest.mark.parametrize(("target", "value"), [
    (b"/", None), (b"/v=1", None), (b"/?v=1", b"1"), (b"/?a=b&v=1", b"1"), (b"/?a=b&v=1&v=2", b"1"), (b"/?av=1", None),
    (b"/?av=1&v=2", b"2"), (b"/?v=", b""), (b"/?a=?v=1", None), (b"/?v=a%20b", b"a%20b"), (b"/&v=1?a", None),
    (b"*", None), (b"/?&v=1", b"1"), (b"/?v=1?&x", b"1?"),
])
def test_a_parameter_is_a_whole_pair_behind_the_first_question_mark(target: bytes, value: bytes | None) -> None:
    assert find_parameter(target, b"v=") == value


tokens = st.text("ab=x ", max_size=6).map(str.encode)


@examples(300)
@given(parts=st.lists(tokens, max_size=6), name=st.sampled_from((b"a", b"ab", b"b")))
def test_finding_a_cookie_agrees_with_splitting_the_header(parts: list[bytes], name: bytes) -> None:
    pairs = [part for part in parts if not part.startswith(b" ")]      # exactly one space follows a semicolon
    pair = name + b"="
    expected = next((part[len(pair):] for part in pairs if part.startswith(pair)), None)
    assert find_cookie(b"; ".join(pairs), pair) == expected


@examples(300)
@given(parts=st.lists(tokens, max_size=6), name=st.sampled_from((b"a", b"ab", b"b")))
def test_finding_a_parameter_agrees_with_splitting_the_query(parts: list[bytes], name: bytes) -> None:
    pair = name + b"="
    expected = next((part[len(pair):] for part in parts if part.startswith(pair)), None)
    assert find_parameter(b"/a?" + b"&".join(parts), pair) == expected
