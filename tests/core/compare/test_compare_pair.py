"""Two answers compared: status, headers, bodies of every sort."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.compare.content import Skipped, decoded
from proxy.core.compare.pair import CompiledRules, compare
from proxy.core.compare.values import Answer, Difference, Rules
from tests.support.exploring import examples
from tests.support.packing import packed, zstd_in_windows_of

JSON = ((b"Content-Type", b"application/json"),)


def answer(body: bytes = b"", status: int = 200, headers: Any = JSON, whole: bool = True) -> Answer:
    return Answer(status, tuple(headers), body, whole)


def differences(rules: CompiledRules, one: Answer, other: Answer) -> tuple[Difference, ...]:
    return compare(rules, one, other).differences


def kinds(one: Answer, other: Answer, **rules: Any) -> list[tuple[str, str]]:
    return [(found.path, found.kind.value) for found in differences(CompiledRules(Rules(**rules)), one, other)]


def coded(coding: str, body: bytes, media: str = "application/json") -> Answer:
    return answer(body, headers=((b"content-encoding", coding.encode()), (b"content-type", media.encode())))


def test_another_status_class_is_another_answer() -> None:
    html = ((b"Content-Type", b"text/html"),)
    assert kinds(answer(b"{}"), answer(b"oops", 500, html)) == [("status", "status-class")]


def test_another_status_of_the_class_is_told_beside_the_rest() -> None:
    assert kinds(answer(b"[1]"), answer(b"[2]", 201)) == [("status", "status"), ("$[*]", "value")]
    assert kinds(answer(b"[1]"), answer(b"[2]", 500), ignore=("status", "$[*]")) == []


@pytest.mark.parametrize(("ours", "theirs", "expected"), [
    ([(b"Location", b"/a")], [(b"location", b"/b")], [("header:location", "header-value")]),
    ([(b"Location", b"/a")], [], [("header:location", "header-missing")]),
    ([], [(b"Cache-Control", b"no-store")], [("header:cache-control", "header-extra")]),
    ([(b"Cache-Control", b"a, b")], [(b"cache-control", b"a"), (b"Cache-Control", b"b")], []),
    ([(b"Content-Type", b"text/html; charset=UTF-8")], [(b"Content-Type", b"TEXT/HTML;charset=utf-8")], []),
    ([(b"X-Any", b"1")], [(b"X-Any", b"2")], []),
])
def test_chosen_headers_are_compared(ours: Any, theirs: Any, expected: list[tuple[str, str]]) -> None:
    assert kinds(answer(headers=ours), answer(headers=theirs)) == expected
    assert kinds(answer(headers=ours), answer(headers=theirs), ignore=("header:location", "header:cache-control")) == []


def test_with_a_star_all_headers_are_compared_but_those_of_every_answer() -> None:
    ours = [(name, b"1") for name in (b"Date", b"Server", b"X-Request-Id", b"traceparent", b"X-Amzn-Trace-Id", b"Age",
                                      b"ETag", b"Content-Length", b"X-Trace-Id", b"X-Own")]
    theirs = [(name, b"2") for name, _ in ours]
    assert kinds(answer(headers=ours), answer(headers=theirs), headers=("*",)) == [("header:x-own", "header-value")]
    listed = kinds(answer(headers=ours), answer(headers=theirs), headers=("*", "etag"))
    assert listed == [("header:etag", "header-value"), ("header:x-own", "header-value")]
    assert kinds(answer(headers=ours), answer(headers=theirs), headers=("*",), ignore=("header:x-own",)) == []


def test_of_cookies_names_and_attributes_are_compared_and_shown_and_no_values() -> None:
    one = answer(headers=((b"Set-Cookie", b"sid=SECRET; Path=/; Max-Age=60"),))
    same = answer(headers=((b"Set-Cookie", b"sid=x;max-age=59; path=/"),))
    other = answer(headers=((b"Set-Cookie", b"sid=ELSE; Path=/; Max-Age=60"), (b"Set-Cookie", b"b=SECRET")))
    assert kinds(one, same, headers=("set-cookie",)) == []
    found = differences(CompiledRules(Rules(headers=("*",))), one, other)
    assert [(one.path, one.primary, one.shadow) for one in found] == [
        ("header:set-cookie", "sid; path=/; max-age", "sid; path=/; max-age, b")]


@pytest.mark.parametrize("lost", ["HttpOnly", "Secure", "SameSite=Strict", "Expires=Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_cookie_that_lost_an_attribute_differs(lost: str) -> None:
    before = answer(headers=((b"Set-Cookie", f"sid=1; Path=/; {lost}".encode()),))
    after = answer(headers=((b"Set-Cookie", b"sid=2; Path=/"),))
    assert kinds(before, after, headers=("*",)) == [("header:set-cookie", "header-value")]


def test_headers_are_compared_to_their_ends() -> None:
    ours, theirs = (answer(headers=((b"Location", b"/" + b"x" * 10_000 + end),)) for end in (b"a", b"b"))
    assert kinds(ours, theirs) == [("header:location", "header-value")]


def test_bodies_that_say_the_same_do_not_differ() -> None:
    assert kinds(answer(b'{"a": 1, "b": [2]}'), answer(b'{"b":[2.0],"a":1}')) == []
    assert kinds(answer(b""), answer(b"")) == []
    assert kinds(answer(status=304), answer(status=304)) == []


def test_a_body_that_is_no_json_any_more_is_unparsable() -> None:
    assert kinds(answer(b"{}"), answer(b"<html>")) == [("body", "unparsable")]
    assert kinds(answer(b"{}"), answer(b"")) == [("body", "unparsable")]
    assert kinds(answer(b"[" * 5000), answer(b"[1]")) == [("body", "unparsable")]


def test_two_bodies_that_claim_to_be_json_and_are_none_are_compared_as_text() -> None:
    assert kinds(answer(b"[" * 5000), answer(b"[" * 5001)) == [("body", "text")]
    assert kinds(answer(b'{"a": NaN}'), answer(b'{"a": 1e}')) == [("body", "text")]
    assert kinds(answer(b"\xff\xfe1"), answer(b"\xff\xfe1")) == []


def test_text_differs_at_a_line_and_column() -> None:
    html = ((b"Content-Type", b"text/html; charset=latin-1"),)
    [found] = differences(CompiledRules(Rules()), answer(b"<p>\n<b>\xe4lter</b>", headers=html),
                          answer(b"<p>\n<b>\xe4rger</b>", headers=html))
    assert (found.kind.value, found.primary) == ("text", "line 2, column 5: <b>älter</b>")
    assert found.shadow == "line 2, column 5: <b>ärger</b>"


def test_bytes_differ_at_an_offset() -> None:
    png = ((b"Content-Type", b"image/png"),)
    [found] = differences(CompiledRules(Rules()), answer(b"\x89PNG\x00", headers=png), answer(b"\x89PNG", headers=png))
    assert (found.kind.value, found.primary, found.shadow) == (
        "bytes", "5 bytes, at offset 4: 00", "4 bytes, at offset 4: the end")


@pytest.mark.parametrize("charset", ["utf-8", "hex", "nonsense", "zip", "idna", "utf-16", "rot13", "punycode",
                                     "unicode_escape"])
def test_no_charset_can_make_it_fail(charset: str) -> None:
    media = ((b"Content-Type", f"text/plain; charset={charset}".encode()),)
    assert len(kinds(answer(b"\xffa\xd8", headers=media), answer(b"\xffb..--", headers=media))) <= 1


@pytest.mark.parametrize("mode", ["json", "text", "bytes", "none"])
def test_the_configured_mode_wins_over_the_media_type(mode: str) -> None:
    expected = {"json": [("$[*]", "value")], "text": [("body", "text")], "bytes": [("body", "bytes")], "none": []}
    assert kinds(answer(b"[1]", headers=()), answer(b"[2]", headers=()), body=mode) == expected[mode]
    assert kinds(answer(b"[1]"), answer(b"[2]"), body=mode, ignore=("body",)) == []


RAW = json.dumps({"a": list(range(500))}).encode()


@pytest.mark.parametrize("other", [
    coded("gzip", gzip.compress(RAW)), coded("x-gzip", gzip.compress(RAW[:100]) + gzip.compress(RAW[100:])),
    coded("deflate", zlib.compress(RAW)), coded("deflate", zlib.compress(RAW)[2:-4]), coded("identity", RAW),
    coded("GZIP", gzip.compress(RAW) + b"\0" * 16), coded(" , identity", RAW),
    coded("br", packed("br", RAW)), coded("zstd", packed("zstd", RAW)),
    coded("zstd", packed("zstd", RAW[:100]) + packed("zstd", RAW[100:])),
])
def test_codings_are_undone_before_comparing(other: Answer) -> None:
    assert kinds(answer(RAW), other) == []
    assert kinds(other, answer(RAW.replace(b"499", b"500"))) == [("$.a[*]", "value")]


def test_codings_that_are_not_undone_are_compared_as_they_are_or_skipped() -> None:
    rules = CompiledRules(Rules())
    assert kinds(coded("dcb", b"abc"), coded("dcb", b"abd")) == [("body", "bytes")]
    assert compare(rules, coded("dcb", b"abc"), coded("dcz", b"abc")).skipped == "coding"
    assert compare(rules, coded("dcb", b"abc"), coded("dcb", b"abc")).skipped is None
    assert compare(rules, coded("gzip, gzip", b"abc"), answer(b"abc")).skipped == "coding"


@pytest.mark.parametrize(("coding", "packed"), [
    ("gzip", gzip.compress(RAW)), ("br", packed("br", RAW)), ("zstd", packed("zstd", RAW)),
])
def test_a_coding_that_only_one_side_gets_wrong_is_a_difference(coding: str, packed: bytes) -> None:
    assert kinds(coded(coding, packed), coded(coding, RAW)) == [("body", "encoding")]
    assert kinds(coded(coding, packed), coded(coding, packed[:-20])) == [("body", "encoding")]


def test_a_zstd_body_may_not_ask_for_more_memory_than_http_allows() -> None:
    """A frame names the window that its reader needs; RFC 9659 §3 allows 8 MiB."""
    body = Random(1).randbytes(1 << 18) * 64
    assert decoded(coded("zstd", zstd_in_windows_of(23, body)), 1 << 26) == body
    assert decoded(coded("zstd", zstd_in_windows_of(24, body)), 1 << 26) == Skipped("corrupt")


def test_a_body_that_was_cut_or_is_too_large_is_skipped_with_the_reason() -> None:
    rules = CompiledRules(Rules(max_body=100))
    assert compare(rules, answer(b"[1]", whole=False), answer(b"[1]")).skipped == "cut"
    assert compare(rules, answer(b"[1]" * 50), answer(b"[1]")).skipped == "too-large"
    assert compare(rules, coded("gzip", gzip.compress(RAW[:500])), answer(b"[1]")).skipped == "too-large"


@pytest.mark.parametrize(("coding", "bomb"), [
    ("gzip", gzip.compress(b"\0" * 50_000_000)), ("gzip", gzip.compress(b"\0" * 1_000_000) * 40),
    ("gzip", gzip.compress(b"") * 5_000), ("br", packed("br", b"\0" * 50_000_000)),
    ("zstd", packed("zstd", b"\0" * 50_000_000)), ("zstd", packed("zstd", b"") * 5_000),
], ids=["gzip", "gzip members", "gzip of nothing", "br", "zstd", "zstd of nothing"])
@pytest.mark.parametrize("most", [1_000, 4 * 1024**2])
def test_a_bomb_never_takes_more_memory_than_the_cap(coding: str, bomb: bytes, most: int) -> None:
    tracemalloc.start()
    try:
        result = decoded(coded(coding, bomb), max(most, len(bomb)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(result, Skipped)
    assert peak < 3 * max(most, len(bomb)) + 200_000


@examples(300)
@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from(["", "gzip", "deflate", "br", "zstd", "x,y"]),
       st.sampled_from(["application/json", "text/plain", "text/x; charset=utf-16", "image/png", ""]))
def test_no_bytes_can_make_a_comparison_fail(one: bytes, other: bytes, coding: str, media: str) -> None:
    rules = CompiledRules(Rules(headers=("*",)))
    for found in differences(rules, coded(coding, one, media), coded(coding, other, media)):
        assert len(found.primary) <= 200
        assert found.primary.isprintable()
        assert found.shadow.isprintable()


@examples(100)
@given(st.binary(max_size=60), st.sampled_from([200, 204, 304, 404]), st.sampled_from(["", "gzip", "br", "zstd"]))
def test_an_answer_does_not_differ_from_itself(body: bytes, status: int, coding: str) -> None:
    one = Answer(status, ((b"content-encoding", coding.encode()), (b"x", b"y")), body)
    assert kinds(one, one, headers=("*",)) == []


def test_a_megabyte_of_elements_is_compared() -> None:
    one, other = list(range(180_000)), list(range(180_000))
    other[90_000] = -1
    found = kinds(answer(json.dumps(one).encode()), answer(json.dumps(other).encode()), max_body=4 * 1024**2)
    assert found == [("$[*]", "value")]
