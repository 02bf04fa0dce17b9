"""A candidate that is not there, as operators see it: through the API, the metrics and the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from proxy.cli.client import get
from tests.support.deadline import wait_until
from tests.support.front import write_file
from tests.support.origins import StrictOrigin, ok
from tests.support.scripted_api import turnout as command
from tests.support.story import dead_address
from tests.support.turnout import Turnout, running

REQUESTS = 60
Json = dict[str, Any]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Turnout]:
    """Two workers that have sent 60 requests, half of them meant for a version of which nothing is there."""
    nobody = dead_address()
    assert not isinstance(nobody, str)
    routes = [{"name": "shop", "split": {"old": 50, "new": 50}, "baseline": "old", "rescue": True}]
    with ExitStack() as stack:
        old = stack.enter_context(StrictOrigin(lambda _: ok(b"old")))
        versions = {"old": old.url, "new": f"http://{nobody[0]}:{nobody[1]}"}
        file = write_file(tmp_path_factory.mktemp("shop"), versions, routes)
        turnout = stack.enter_context(running("-c", str(file)))
        assert [turnout.ask() for _ in range(REQUESTS)] == [(200, b"old")] * REQUESTS
        wait_until(lambda: totals(turnout)["old"]["requests"] == REQUESTS, "all of them are counted")
        yield turnout


def totals(turnout: Turnout) -> Json:
    [route] = turnout.status()["routes"]
    found: Json = route["totals"]
    return found


def test_answers_are_those_that_clients_got_and_attempts_those_that_were_made(shop: Turnout) -> None:
    old, new = totals(shop)["old"], totals(shop)["new"]
    assert (old["codes"], new["codes"]) == ({"200": REQUESTS}, {})
    assert old["attempts"] == {"answered": REQUESTS}
    assert set(new["attempts"]) == {"connect"}
    assert new["rescues"]["answered"] <= new["attempts"]["connect"]


def test_what_the_split_gave_to_the_dead_version_was_rescued_or_sent_to_the_baseline_at_once(shop: Turnout) -> None:
    new = totals(shop)["new"]
    assert new["rescues"]["answered"] + new["diverted"] == pytest.approx(REQUESTS / 2, abs=3)
    assert new["rescues"]["answered"] > 0
    assert new["diverted"] > 0


def test_it_is_down_and_says_why_and_its_share_is_sent_to_the_baseline(shop: Turnout) -> None:
    [server] = get(shop.admin, "/api/v1/versions/new")["servers"]
    assert server["state"] in ("ejected", "trial")
    view = shop.status()
    assert (view["versions"]["new"]["state"], view["versions"]["old"]["state"]) == ("down", "up")
    assert view["versions"]["new"]["why"]
    assert view["routes"][0]["effective"] == {"old": 1.0, "new": 0.0}


def test_the_command_line_tells_it_in_words(shop: Turnout) -> None:
    told = command("status", admin=shop.admin).stdout
    assert "50 % → 100 %" in told
    assert "new is down: " in told
    explained = command("explain", "/", admin=shop.admin).stdout
    assert "version new is down" in explained
    assert "goes to old (when_down: baseline)" in explained
