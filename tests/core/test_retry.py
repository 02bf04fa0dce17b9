"""What may follow a failed attempt: invariant 9 as a table, and around it the operator's rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.retry import MAX_ATTEMPTS, Failure, Retry, may_rescue, may_retry, pause_s

EVERYTHING = Retry(on=("connect", "reset", "timeout", "502", "503", "504"), attempts=10)
rules = st.builds(Retry, on=st.lists(st.sampled_from(EVERYTHING.on), unique=True).map(tuple),
                  attempts=st.integers(1, 10))
statuses = st.sampled_from([0, 500, 501, 502, 503, 504, 505])
MAY_HAVE_BEGUN = [failure for failure in Failure if failure is not Failure.CONNECT]


@given(rules, st.sampled_from(MAY_HAVE_BEGUN), statuses, st.booleans(), st.integers(1, 10))
def test_what_may_have_begun_is_never_repeated_unless_that_does_no_harm(
    rule: Retry, failure: Failure, status: int, repeatable: bool, attempt: int
) -> None:
    assert not may_retry(rule, failure, idempotent=False, repeatable=repeatable, attempt=attempt, status=status)
    assert not may_rescue(failure, idempotent=False, repeatable=repeatable, status=status)


@given(rules, st.sampled_from(MAY_HAVE_BEGUN), statuses, st.integers(1, 10))
def test_a_body_that_is_gone_ends_all_attempts(rule: Retry, failure: Failure, status: int, attempt: int) -> None:
    assert not may_retry(rule, failure, idempotent=True, repeatable=False, attempt=attempt, status=status)
    assert not may_rescue(failure, idempotent=True, repeatable=False, status=status)


@given(rules, st.sampled_from(Failure), statuses, st.booleans(), st.booleans())
def test_attempts_end(rule: Retry, failure: Failure, status: int, idempotent: bool, repeatable: bool) -> None:
    assert not may_retry(rule, failure, idempotent=idempotent, repeatable=repeatable, attempt=rule.attempts,
                         status=status)


@pytest.mark.parametrize("idempotent", [True, False])
def test_what_was_never_sent_goes_elsewhere_by_default(idempotent: bool) -> None:
    assert may_retry(Retry(), Failure.CONNECT, idempotent=idempotent, repeatable=True, attempt=1)


def test_a_connection_that_was_closed_is_made_good_by_default_and_nothing_after_it() -> None:
    allowed = {failure for failure in Failure
               if may_retry(Retry(), failure, idempotent=True, repeatable=True, attempt=MAX_ATTEMPTS - 1, status=503)}
    assert allowed == {Failure.CONNECT, Failure.CLOSED}


@pytest.mark.parametrize(("cause", "failure", "status"), [
    ("connect", Failure.CONNECT, 0), ("reset", Failure.CLOSED, 0), ("timeout", Failure.TIMEOUT, 0),
    ("502", Failure.STATUS, 502), ("503", Failure.STATUS, 503), ("504", Failure.STATUS, 504)])
def test_each_cause_allows_its_own_failure_and_no_other(cause: str, failure: Failure, status: int) -> None:
    def allowed(rule: Retry) -> bool:
        return may_retry(rule, failure, idempotent=True, repeatable=True, attempt=1, status=status)

    assert allowed(Retry(on=(cause,)))  # type: ignore[arg-type]
    assert not allowed(Retry(on=tuple(other for other in EVERYTHING.on if other != cause)))


@pytest.mark.parametrize("status", [500, 501, 505])
def test_what_a_server_says_of_itself_or_of_the_request_is_not_asked_again(status: int) -> None:
    assert not may_retry(EVERYTHING, Failure.STATUS, idempotent=True, repeatable=True, attempt=1, status=status)


def test_an_answer_that_had_begun_is_not_hidden_by_a_retry() -> None:
    assert not may_retry(EVERYTHING, Failure.ANSWER, idempotent=True, repeatable=True, attempt=1)


@pytest.mark.parametrize(("status", "rescued"), [(500, True), (501, False), (502, True), (503, True), (504, True),
                                                 (505, False)])
def test_the_baseline_rescues_from_what_is_the_candidates_fault(status: int, rescued: bool) -> None:
    assert may_rescue(Failure.STATUS, idempotent=True, repeatable=True, status=status) is rescued


def test_what_never_reached_the_candidate_is_rescued_whatever_its_method() -> None:
    assert may_rescue(Failure.CONNECT, idempotent=False, repeatable=False)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.floats(0, 10), st.floats(0, 100))
def test_a_pause_is_never_longer_than_one_and_a_half_times_the_most(
    retry: int, chance: float, first_s: float, most_s: float
) -> None:
    assert 0.0 <= pause_s(Retry(backoff_s=first_s, most_backoff_s=most_s), retry, chance) <= 1.5 * most_s


def test_pauses_double() -> None:
    rule = Retry(backoff_s=1.0, most_backoff_s=5.0)
    assert [pause_s(rule, retry, 0.5) for retry in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 5.0]
