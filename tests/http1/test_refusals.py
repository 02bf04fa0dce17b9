"""Refusals on the wire: whole responses that say which side is at fault, in the form the client prefers."""

from __future__ import annotations

import json

import pytest

from proxy import errors
from proxy.errors import BAD_GATEWAY, BAD_REQUEST, OVERLOADED, Refusal
from proxy.http1.refusal import accept_of, render
from tests.support.strict import Message, take_response

ALL = [value for value in vars(errors).values() if isinstance(value, Refusal)]


def rendered(refusal: Refusal, detail: str = "because", method: bytes = b"GET", *, accept: bytes = b"",
             keep_alive: bool = True) -> Message:
    data = render(refusal, detail, accept=accept, keep_alive=keep_alive, with_body=method != b"HEAD")
    message = take_response(data, method)
    assert message is not None
    assert message.raw == data
    return message


@pytest.mark.parametrize("refusal", ALL, ids=lambda refusal: refusal.slug)
def test_every_refusal_is_a_whole_response_that_names_its_culprit(refusal: Refusal) -> None:
    message = rendered(refusal)
    assert message.status == refusal.status
    assert message.value(b"content-type") == b"application/problem+json"
    assert message.value(b"cache-control") == b"no-store"
    problem = json.loads(message.body)
    assert (problem["status"], problem["title"], problem["detail"], problem["culprit"]) == (
        refusal.status, refusal.title, "because", refusal.culprit.value)
    text = rendered(refusal, accept=b"text/html,application/xhtml+xml,*/*;q=0.8")
    assert text.value(b"content-type") == b"text/plain; charset=utf-8"
    assert refusal.culprit.value.encode() in text.body


def test_it_says_whether_the_connection_ends() -> None:
    assert rendered(BAD_REQUEST, keep_alive=False).value(b"connection") == b"close"
    assert rendered(BAD_REQUEST).value(b"connection") is None


def test_the_answer_to_head_has_the_fields_but_not_the_body() -> None:
    assert rendered(BAD_GATEWAY, method=b"HEAD").value(b"content-length") == rendered(BAD_GATEWAY).value(
        b"content-length")
    assert rendered(BAD_GATEWAY, method=b"HEAD").body == b""


def test_overload_says_when_to_come_again() -> None:
    assert rendered(OVERLOADED).value(b"retry-after") == b"1"


def test_a_detail_with_line_breaks_stays_in_the_body() -> None:
    detail = "a\r\nSet-Cookie: b\r\n\r\nc"
    assert json.loads(rendered(BAD_REQUEST, detail).body)["detail"] == detail
    assert rendered(BAD_REQUEST, detail, accept=b"text/plain").values(b"set-cookie") == []


@pytest.mark.parametrize(("accept", "text"), [
    (b"", False), (b"*/*", False), (b"application/json", False), (b"application/problem+json, text/plain", False),
    (b"text/plain", True), (b"TEXT/HTML, application/json", True), (b"text/*", True), (b"image/png", False),
])
def test_text_goes_to_who_names_it_first(accept: bytes, text: bool) -> None:
    assert (rendered(BAD_REQUEST, accept=accept).value(b"content-type") == b"text/plain; charset=utf-8") is text


@pytest.mark.parametrize(("head", "accept"), [
    (b"GET / HTTP/1.1\r\nAccept: a/b \r\n\r\n", b"a/b "),
    (b"GET / HTTP/1.1\r\naccept:a/b\r\nAccept: c/d\r\n\r\n", b"a/b"),
    (b"GET / HTTP/1.1\r\nAccept: a", b"a"),
    (b"GET / HTTP/1.1\nAccept: a\nB: c", b"a"),
    (b"GET / HTTP/1.1\r\nX-Accept: a\r\n\r\n", b""),
    (b"", b""), (b"\x16\x03\x01", b""),
])
def test_what_is_preferred_is_found_even_in_a_broken_head(head: bytes, accept: bytes) -> None:
    assert accept_of(head) == accept
