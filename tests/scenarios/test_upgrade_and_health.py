"""What traffic has put out stays out over an upgrade: clients do not pay for it a second time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.client import get
from tests.support.deadline import wait_until
from tests.support.front import write_file
from tests.support.origins import StrictOrigin, ok
from tests.support.turnout import Turnout, running

ENOUGH = 30
"""Requests, each on a connection of its own: both workers get some."""
FAILURE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Shop:
    """All requests are meant for the version `new`, whose only server fails; `old` stands in when it is down."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.old = stack.enter_context(StrictOrigin(lambda _: ok(b"old")))
        self.new = stack.enter_context(StrictOrigin(lambda _: FAILURE))
        self.other = stack.enter_context(StrictOrigin(lambda _: ok(b"other")))
        self.turnout: Turnout = stack.enter_context(running("-c", str(self.write())))

    def write(self, new: str = "", **health: Any) -> Path:
        """Write the file; `health`: keys of the version `new`."""
        file = write_file(self.folder, {"old": self.old.url, "new": new or self.new.url},
                          [{"name": "shop", "split": {"old": 0, "new": 100}, "baseline": "old"}],
                          watch="none", state_dir=str(self.folder / "state"))
        document = json.loads(file.read_text())
        document["versions"]["new"] |= {"eject": {"for": "60s"}, "breaker": {"for": "60s"}, **health}
        file.write_text(json.dumps(document))
        return file

    def ask(self) -> tuple[int, bytes]:
        return self.turnout.ask(method="POST")

    def fail(self, server: str = "ejected") -> None:
        """Ask until the version is known to be down, and its server to be in this state."""
        wait_until(lambda: self.ask() == (200, b"old") and self.state() == ["down", server], "it is put out")
        wait_until(lambda: self.events("version-down"), "it is journaled")

    def state(self) -> list[str]:
        """Of the version `new`, and of its servers."""
        view = get(self.turnout.admin, "/api/v1/versions/new")
        return [self.turnout.status()["versions"]["new"]["state"], *(server["state"] for server in view["servers"])]

    def events(self, *verbs: str) -> Counter[str]:
        view = get(self.turnout.admin, "/api/v1/events?limit=500")
        return Counter(event["verb"] for event in view["events"] if event["verb"] in verbs)

    def upgrade(self, time: int = 1) -> None:
        self.turnout.post("/api/v1/upgrade")
        self.turnout.event("serving", time + 1)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with ExitStack() as stack:
        yield Shop(tmp_path, stack)


def test_a_server_that_traffic_has_put_out_stays_out_over_upgrades_and_is_journaled_once(shop: Shop) -> None:
    shop.fail()
    asked = len(shop.new.requests)
    for time in (1, 2):
        shop.upgrade(time)
        assert shop.state() == ["down", "ejected"]
        assert {shop.ask() for _ in range(ENOUGH)} == {(200, b"old")}
    assert len(shop.new.requests) == asked
    assert shop.events("server-out", "server-in", "version-down", "version-up") == {
        "server-out": 1, "version-down": 1}


def test_an_open_breaker_stays_open_over_an_upgrade(shop: Shop) -> None:
    shop.write(eject="off")
    shop.turnout.post("/api/v1/config/reload")
    shop.fail("up")
    asked = len(shop.new.requests)
    shop.upgrade()
    assert shop.state() == ["down", "up"]
    assert {shop.ask() for _ in range(ENOUGH)} == {(200, b"old")}
    assert len(shop.new.requests) == asked
    assert shop.events("version-down", "version-up") == {"version-down": 1}


def test_a_server_that_the_new_configuration_has_in_its_place_is_asked_at_once(shop: Shop) -> None:
    shop.fail()
    shop.write(shop.other.url)
    shop.upgrade()
    assert shop.state()[1:] == ["up"]
    assert {shop.ask() for _ in range(ENOUGH)} == {(200, b"other")}
