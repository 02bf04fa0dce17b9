"""The scanner: what it finds, and that what it splits is the same head again when joined."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.fields import HOP_BY_HOP, REQUEST_FIELDS, RESPONSE_FIELDS, scanner, tokens, without_fields
from proxy.http1.shape import Shape, joined, remove
from tests.support.exploring import examples

NAMES = sorted(REQUEST_FIELDS)
KNOWN = REQUEST_FIELDS | {b"cookie"}
SCAN = scanner(KNOWN, prefixes=(b"x-forwarded-",))


def spelled(name: bytes, choices: int) -> bytes:
    """The name with some letters in capitals and some dashes as underscores."""
    return bytes(
        (ord("_") if letter == ord("-") and choices >> place & 1 else letter - 32 if 97 <= letter <= 122
         and choices >> place & 1 else letter) for place, letter in enumerate(name))


field_lines = st.lists(st.tuples(
    st.one_of(st.builds(spelled, st.sampled_from(NAMES), st.integers(0, 1 << 20)),
              st.sampled_from([b"X-Forwarded-Whatever", b"X-Forwarded-", b"hosts", b"xhost", b"Hos", b"x-forwarded",
                               b"A"])),
    st.sampled_from([b":", b": ", b":\t ", b":  "]),
    st.binary(max_size=12).map(lambda value: value.replace(b"\r", b"").replace(b"\n", b"")),
), max_size=8)


@given(field_lines)
@examples(300)
def test_the_parts_joined_are_the_head_again_and_no_known_name_is_missed(
        lines: list[tuple[bytes, bytes, bytes]]) -> None:
    head = b"GET / HTTP/1.1\r\n" + b"".join(n + colon + v + b"\r\n" for n, colon, v in lines) + b"\r\n"
    parts = SCAN(head)
    assert b"".join(parts) == head
    assert len(parts) % 3 == 1
    known = [(n.lower(), v) for n, _, v in lines if _is_known(n)]
    found = [(name.strip(b"\n: \t").lower(), value) for name, value in zip(parts[1::3], parts[2::3], strict=True)
             if _is_known(name.strip(b"\n: \t"))]
    assert [n for n, _ in found] == [n for n, _ in known]
    for (_, value), (_, sent) in zip(found, known, strict=True):
        assert value == sent.lstrip(b" \t") + b"\r"


def _is_known(name: bytes) -> bool:
    plain = name.lower().replace(b"_", b"-")
    return plain in REQUEST_FIELDS or plain.startswith(b"x-forwarded-")


@pytest.mark.parametrize("name", sorted(REQUEST_FIELDS | RESPONSE_FIELDS))
def test_each_known_name_is_found_in_any_case(name: bytes) -> None:
    for spelling in (name, name.upper(), name.title(), name.replace(b"-", b"_")):
        parts = SCAN(b"GET / HTTP/1.1\r\nA: b\r\n" + spelling + b": v\r\nD: d\r\n\r\n")
        assert parts[1::3] == [b"\n" + spelling + b": "]
        assert parts[2::3] == [b"v\r"]


def test_a_known_name_within_another_name_or_a_value_means_nothing() -> None:
    head = b"GET /?\x20host: HTTP/1.1\r\nX-Host: a\r\nHost-X: b\r\nA: host: c\r\nHos: d\r\nHostt: e\r\n\r\n"
    shape = Shape(tuple(SCAN(head)[1::3]), KNOWN)
    assert not shape.places(*KNOWN)
    assert not shape.aliases


def test_names_of_one_letter_can_be_looked_for() -> None:
    parts = scanner({b"a", b"host"})(b"GET / HTTP/1.1\r\nA: 1:2\r\nHost: b\r\nB: 3\r\n\r\n")
    assert parts[1::3] == [b"\nA: ", b"\nHost: "]
    assert parts[2::3] == [b"1:2\r", b"b\r"]


def test_neighbouring_fields_are_both_found_and_either_can_go() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nTE: b\r\nA: c\r\n\r\n"
    parts = SCAN(head)
    remove(parts, [2])
    assert b"".join(parts) == b"GET / HTTP/1.1\r\nTE: b\r\nA: c\r\n\r\n"
    parts = SCAN(head)
    remove(parts, (5,))
    assert b"".join(parts) == b"GET / HTTP/1.1\r\nHost: a\r\nA: c\r\n\r\n"
    parts = SCAN(head)
    remove(parts, (2, 5))
    assert b"".join(parts) == b"GET / HTTP/1.1\r\nA: c\r\n\r\n"


def test_a_shape_says_where_values_stand_and_takes_aliases_for_nobody() -> None:
    parts = SCAN(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: b\r\nX_Forwarded_For: c\r\nCookie: d\r\nTE: e\r\n\r\n")
    shape = Shape(tuple(parts[1::3]), KNOWN)
    assert shape.values == {b"host": (2,), b"cookie": (5, 11), b"te": (14,)}
    assert shape.aliases == [8]
    assert sorted(shape.hop_by_hop()) == [8, 14]
    assert joined(parts, shape.values[b"cookie"], b"; ") == b"b; d"


def test_only_a_name_that_could_be_taken_for_a_known_one_is_an_alias() -> None:
    names = (b"\ncontent_length: ", b"\napp_key: ", b"\nx_forwarded_by: ")
    assert Shape(names, KNOWN).aliases == [2, 8]
    assert Shape(names, KNOWN | {b"app-key"}).aliases == [2, 5, 8]
    assert Shape(names, KNOWN | {b"app-key", b"app_key"}).values == {b"app_key": (5,)}


@pytest.mark.parametrize(("value", "members"), [
    (b"", []), (b",", []), (b"a", [b"a"]), (b" A ,\tb\t,, c d ", [b"a", b"b", b"c d"]), (b"a\r", [b"a"]),
])
def test_lists_are_read_leniently_and_in_lower_case(value: bytes, members: list[bytes]) -> None:
    assert tokens(value) == members


def test_only_the_named_lines_go_and_never_a_protected_one() -> None:
    head = b"GET /x: HTTP/1.1\r\nHost: a\r\nX: 1\r\nx: 2\r\nX-Forwarded-For: b\r\nY: 3\r\n\r\n"
    names = frozenset({b"x", b"host", b"x-forwarded-for", b"get /x"})
    assert without_fields(head, names) == b"GET /x: HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: b\r\nY: 3\r\n\r\n"


def test_every_hop_by_hop_field_is_one_the_scanners_know() -> None:
    assert HOP_BY_HOP <= REQUEST_FIELDS
    assert HOP_BY_HOP <= RESPONSE_FIELDS
