"""The only server of the only version fails: nobody can answer for it. Clients are told so; it comes back by itself.

Health never keeps everybody from the last server there is: it is tried all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fickle import got_twice
from tests.support.asking import Asking
from tests.support.fickle_shop import RETRY, FickleShop, fickle_shop

FAULTS = {
    "is killed": ("kill", {"502", "503"}), "stands still": ("stop", {"504", "503"}),
    "reads and never answers": ("silent", {"504", "503"}), "lets nobody in": ("full", {"504", "503"}),
    "resets before its answer": ("reset", {"502", "503"}), "resets within the body": ("reset-in-body", {"cut", "502"}),
    "answers 503": ("status 503", {"503"}), "answers 500": ("status 500", {"500"}),
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FickleShop]:
    """One for all: every test leaves it well."""
    with fickle_shop(tmp_path_factory.mktemp("shop"), route={"retry": RETRY}) as shop:
        yield shop


@pytest.fixture(autouse=True)
def all_well(shop: FickleShop) -> Iterator[None]:
    yield
    shop.servers["old"][0].heal()


@pytest.mark.parametrize("fault", FAULTS)
def test_clients_are_told_of_an_only_server_that(shop: FickleShop, fault: str) -> None:
    (server,) = shop.servers["old"]
    how, outcomes = FAULTS[fault]
    with Asking(shop.address, methods=("GET", "POST")) as asking:
        asking.wait(50)
        server.fail(how)
        mark = asking.wait(20)
        server.heal()
        asking.wait_well()
        asking.stop()
    assert asking.failed(mark).keys() <= outcomes
    assert got_twice(shop.got()) == []
    shop.wait_quiet()


def test_a_short_time_for_each_attempt_is_no_shorter_for_requests_with_a_body(tmp_path: Path) -> None:
    with fickle_shop(tmp_path, route={"retry": {**RETRY, "per_try": "100ms"}}) as shop, \
            Asking(shop.address, methods=("POST",)) as asking:
        asking.wait(1500)
        asking.stop()
        assert asking.failed() == Counter()
