"""One of three servers fails now and then, answers late, answers badly, or is dead for a while."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.asking import FOREIGN, Asking
from tests.support.deadline import wait_until
from tests.support.faults import sockets_to, workers_of
from tests.support.fickle_shop import FickleShop, goes_well_again, nothing_is_left, shop_of_three


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FickleShop]:
    """One for all: every test leaves it well."""
    with shop_of_three(tmp_path_factory.mktemp("shop")) as shop:
        yield shop


@pytest.fixture(autouse=True)
def all_well(shop: FickleShop) -> Iterator[None]:
    yield
    for server in shop.servers["old"]:
        server.heal()


def test_answers_with_500_are_answers_and_go_to_the_client(shop: FickleShop) -> None:
    with Asking(shop.address) as asking:
        asking.wait(100)
        shop.servers["old"][0].behave("status 500")
        mark = asking.wait(200)
        shop.servers["old"][0].heal()
        goes_well_again(shop, asking, shop.servers["old"][0])
        asking.stop()
        assert asking.failed(mark).keys() == {"500"}
        nothing_is_left(shop, asking)


def test_a_server_that_fails_every_other_moment_costs_idempotent_requests_nothing(shop: FickleShop) -> None:
    with Asking(shop.address) as asking:
        asking.wait(100)
        bad = shop.servers["old"][0]
        for _ in range(4):
            bad.behave("status 503")
            asking.wait(100)
            bad.behave("well")
            asking.wait(100)
        goes_well_again(shop, asking, bad)
        asking.stop()
        assert asking.failed() == Counter()
        nothing_is_left(shop, asking)


def test_what_a_server_says_late_reaches_nobody_else(shop: FickleShop) -> None:
    with Asking(shop.address, methods=("GET", "POST")) as asking:
        for _ in range(2):
            asking.wait(100)
            shop.servers["old"][1].stop()
            asking.wait(200)
            shop.servers["old"][1].go_on()
        asking.wait_well()
        asking.stop()
        assert FOREIGN not in asking.failed()
        assert asking.failed(method="GET") == Counter()
        nothing_is_left(shop, asking)


def test_nothing_leads_to_a_server_that_was_killed(shop: FickleShop) -> None:
    killed = shop.servers["old"][2]
    with Asking(shop.address) as asking:
        asking.wait(100)
        killed.kill()
        mark = asking.wait(200)
        assert asking.failed(mark) == Counter()
        for worker in workers_of(shop.turnout):
            wait_until(lambda worker=worker: sockets_to(worker, killed.port) == 0,  # type: ignore[misc]
                       "no connection to the server")
        killed.start()
        goes_well_again(shop, asking, killed)
