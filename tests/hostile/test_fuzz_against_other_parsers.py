"""Differential fuzzing of heads and framing against h11 and aiohttp's parser; see `tests.support.agreement`."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.support.agreement import Judge
from tests.support.exploring import examples
from tests.support.mutants import a_request, an_answer

MUTANTS = 20_000


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    judge = Judge()
    yield judge
    judge.close()


def test_mutants_of_requests_are_refused_or_passed_on_in_one_reading(judge: Judge) -> None:
    for seed in range(MUTANTS):
        head, after = a_request(Random(seed))
        try:
            judge.request(head, after)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {head!r} + {after!r}: {error}") from error
    assert judge.seen["passed on"] > MUTANTS / 20
    assert judge.seen["refused"] > MUTANTS / 20


def test_mutants_of_answers_are_refused_or_passed_on_in_one_reading(judge: Judge) -> None:
    for seed in range(MUTANTS):
        random = Random(seed)
        head, after = an_answer(random)
        method = random.choice([b"GET", b"GET", b"POST", b"HEAD"])
        try:
            judge.answer(head, after, method)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {method!r} {head!r} + {after!r}: {error}") from error


checked = examples(1500, suppress=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@checked
@given(st.randoms(use_true_random=False))
def test_requests_that_hypothesis_bends_and_shrinks(judge: Judge, random: Random) -> None:
    judge.request(*a_request(random))


@checked
@given(st.randoms(use_true_random=False), st.sampled_from([b"GET", b"POST", b"HEAD"]))
def test_answers_that_hypothesis_bends_and_shrinks(judge: Judge, random: Random, method: bytes) -> None:
    judge.answer(*an_answer(random), method)
