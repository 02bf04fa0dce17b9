"""Invariant 9: never sent twice, unless nothing was done or the method is idempotent."""

from __future__ import annotations

import pytest

from proxy.core.retry import MAX_ATTEMPTS, Failure, may_retry

METHODS = (b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"POST", b"PATCH", b"TRACE", b"CONNECT", b"get", b"PROPFIND")


@pytest.mark.parametrize("method", METHODS)
def test_where_no_connection_came_about_anything_may_be_tried_again(method: bytes) -> None:
    assert may_retry(method, Failure.CONNECT, body_taken=0, attempt=1)


@pytest.mark.parametrize("method", METHODS)
def test_after_a_connection_closed_without_an_answer_only_idempotent_methods_are_sent_again(method: bytes) -> None:
    assert may_retry(method, Failure.CLOSED, body_taken=0, attempt=1) == (method in METHODS[:5])


@pytest.mark.parametrize("failure", [Failure.TIMEOUT, Failure.ANSWER])
@pytest.mark.parametrize("method", METHODS)
def test_what_a_server_works_on_or_has_begun_to_answer_is_never_sent_again(failure: Failure, method: bytes) -> None:
    assert not may_retry(method, failure, body_taken=0, attempt=1)


@pytest.mark.parametrize("failure", Failure)
def test_a_body_that_is_gone_cannot_be_sent_again(failure: Failure) -> None:
    assert not may_retry(b"PUT", failure, body_taken=1, attempt=1)


@pytest.mark.parametrize("failure", Failure)
def test_attempts_end(failure: Failure) -> None:
    assert not may_retry(b"GET", failure, body_taken=0, attempt=MAX_ATTEMPTS)
