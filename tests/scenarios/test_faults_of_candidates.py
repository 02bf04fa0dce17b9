"""The whole candidate fails, with half of the traffic and rescue on: what clients notice, and what is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fickle import got_twice
from tests.support.asking import Asking
from tests.support.fickle_shop import FickleShop, shop_of_two

FAULTS = {"is killed": "kill", "stands still": "stop", "reads and never answers": "silent", "lets nobody in": "full",
          "resets before its answer": "reset", "resets within the head": "reset-in-head", "sends garbage": "garbage",
          "answers 503": "status 503", "answers 500": "status 500"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FickleShop]:
    """One for all tests that leave it well."""
    with shop_of_two(tmp_path_factory.mktemp("shop"), rescue=True) as shop:
        yield shop
        assert got_twice(shop.got()) == []
        shop.wait_quiet()


@pytest.fixture(autouse=True)
def all_well(shop: FickleShop) -> Iterator[None]:
    yield
    shop.servers["new"][0].heal()


@pytest.mark.parametrize("fault", FAULTS)
def test_with_rescue_idempotent_requests_notice_nothing_of_a_candidate_that(shop: FickleShop, fault: str) -> None:
    with Asking(shop.address) as asking:
        asking.wait(100)
        shop.servers["new"][0].fail(FAULTS[fault])
        mark = asking.wait(200)
        shop.servers["new"][0].heal()
        asking.wait_back("new")
        asking.stop()
        assert asking.failed(mark) == Counter()


def test_what_was_rescued_is_the_candidates_failure_and_the_baselines_answer(tmp_path: Path) -> None:
    with shop_of_two(tmp_path, rescue=True) as shop, Asking(shop.address) as asking:
        asking.wait(100)
        shop.servers["new"][0].behave("reset")
        asking.wait(200)
        asking.stop()
        by = Counter(asked.by for asked in asking.done)
        shop.wait_count(len(asking.done), "requests_total")
        assert shop.count("requests_total", version="old", code="200") == by["old"]
        assert shop.count("requests_total", version="new") == by["new"]
        assert shop.count("attempts_total", version="new", outcome="reset") >= 1
        assert shop.count("rescues_total", version="new", outcome="answered") >= 1


def test_requests_that_are_not_idempotent_are_neither_rescued_nor_sent_twice(shop: FickleShop) -> None:
    with Asking(shop.address, methods=("POST",)) as asking:
        asking.wait(100)
        shop.servers["new"][0].behave("reset")
        mark = asking.wait(200)
        shop.servers["new"][0].heal()
        asking.wait_back("new")
        asking.stop()
        assert asking.failed(mark).keys() == {"502"}
        assert got_twice(shop.got()) == []
