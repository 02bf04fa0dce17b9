"""One of three servers of a version fails, in every way there is: what clients notice of it, and for how long.

Beside each fault stands what clients may get instead of an answer. Idempotent requests are tried again at another
server as long as no answer has begun; others never, once they may have begun.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from benchmarks.fickle import Fickle, got_twice
from tests.support.asking import FOREIGN, Asking
from tests.support.deadline import wait_until
from tests.support.faults import sockets_to, workers_of
from tests.support.fickle_shop import RETRY, FickleShop, fickle_shop

UNTIL_NOTICED = 40
"""More failures than that reach nobody: five in a row at each worker, what was under way, and single ones that try out
whether the server is back."""


@dataclass(frozen=True, slots=True)
class Row:
    """A fault, and what requests may meet that are idempotent (`get`) or not (`post`)."""

    fault: str
    get: frozenset[str] = frozenset()
    post: frozenset[str] = frozenset()


def row(fault: str, get: str = "", post: str = "") -> Row:
    return Row(fault, frozenset(get.split()), frozenset(post.split()))


FAULTS = {
    "is killed": row("kill", post="502"),
    "stands still": row("stop", post="504"),
    "reads and never answers": row("silent", post="504"),
    "lets nobody in": row("full"),
    "resets whoever comes": row("reset-at-once", post="502"),
    "resets before its answer": row("reset", post="502"),
    "resets within the head": row("reset-in-head", get="502", post="502"),
    "resets within the body": row("reset-in-body", get="cut 502", post="cut 502"),
    "cuts its answers": row("cut", get="cut 502", post="cut 502"),
    "answers half": row("stall", get="cut 502", post="cut 502"),
    "answers too much": row("overlong"),
    "drips": row("drip"),
    "sends garbage": row("garbage", get="502", post="502"),
    "answers 503": row("status 503", post="503"),
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FickleShop]:
    """One for all: every test leaves it well. Servers that are put out are tried soon, however often they were out."""
    with fickle_shop(tmp_path_factory.mktemp("shop"), old=3, route={"retry": RETRY},
                     version={"eject": {"failures": 5, "for": "300ms", "at_most": "300ms"}}) as shop:
        yield shop


@pytest.fixture(autouse=True)
def all_well(shop: FickleShop) -> Iterator[None]:
    yield
    for server in shop.servers["old"]:
        server.heal()


@pytest.mark.parametrize("fault", FAULTS)
def test_clients_of_three_servers_notice_little_of_one_that(shop: FickleShop, fault: str) -> None:
    expected = FAULTS[fault]
    with Asking(shop.address, methods=("GET", "GET", "POST")) as asking:
        asking.wait(100)
        bad = shop.servers["old"][0]
        bad.fail(expected.fault)
        mark = asking.wait(200)
        bad.heal()
        goes_well_again(shop, asking, bad)
        asking.stop()
        gets, posts = asking.failed(mark, "GET"), asking.failed(mark, "POST")
        assert gets.keys() <= expected.get
        assert posts.keys() <= expected.post
        assert gets.total() + posts.total() <= UNTIL_NOTICED
        nothing_is_left(shop, asking)


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


def goes_well_again(shop: FickleShop, asking: Asking, healed: Fickle) -> None:
    """By itself, without anybody's help, and the server that failed takes part again."""
    before = len(healed.got())
    asking.wait_until(lambda: len(healed.got()) > before + 5, "requests at the server that is back")
    asking.wait_well()


def nothing_is_left(shop: FickleShop, asking: Asking) -> None:
    """No request that was not idempotent came twice, nobody got another's answer, nothing is under way."""
    assert got_twice(shop.got()) == []
    assert FOREIGN not in asking.failed()
    answered = {asked.id for asked in asking.since(method="POST") if asked.outcome == "200"}
    assert answered <= {got.id for got in shop.got() if got.method == "POST"}
    shop.wait_quiet()
