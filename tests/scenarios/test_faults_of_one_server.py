"""One of three servers of a version fails, in every way there is: what clients notice of it, and for how long.

Beside each fault stands what clients may get instead of an answer. Idempotent requests are tried again at another
server as long as no answer has begun; others never, once they may have begun.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.asking import Asking
from tests.support.fickle_shop import FickleShop, goes_well_again, nothing_is_left, shop_of_three

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
    """One for all: every test leaves it well."""
    with shop_of_three(tmp_path_factory.mktemp("shop")) as shop:
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
