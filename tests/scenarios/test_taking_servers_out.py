"""A server is taken out of service while it works, and stays out whatever Turnout goes through."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.client import Api, Refused, get
from tests.support.deadline import WITHIN_S, wait_until
from tests.support.front import write_file
from tests.support.httpbin_server import ROOT
from tests.support.origins import Origin, Peer, ok
from tests.support.turnout import COMMAND, Turnout, running
from tests.support.wire import Wire

SLOW = b"GET /slow HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"
ENOUGH = 30
"""Requests of which a server in service gets some: one that is skipped by chance is skipped once in 2^30."""


class Server(Origin):
    """Answers with its name; requests for /slow when it is told to. Counts the requests that it got."""

    def __init__(self, name: bytes) -> None:
        self._name = name
        self.asked = 0
        self.go_on = threading.Event()
        super().__init__(self._answer)

    def _answer(self, peer: Peer) -> None:
        while request := peer.request():
            self.asked += 1
            if request.target == b"/slow":
                assert self.go_on.wait(WITHIN_S)
            peer.send(ok(self._name))

    def close(self) -> None:
        self.go_on.set()
        super().close()


class Shop:
    """The version `old` with two servers, `new` with one, and a file that says so."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stay, self.leave, self.new = (stack.enter_context(Server(name)) for name in (b"stay", b"leave", b"new"))
        self.file = self.write([self.stay.url, self.leave.url])
        self._stack = stack

    def write(self, old: list[str], **settings: Any) -> Path:
        return write_file(self.folder, {"old": old, "new": self.new.url},
                          [{"name": "shop", "split": {"old": 1, "new": 0}}],
                          **{"watch": "none", "state_dir": str(self.folder / "state"), **settings})

    def run(self) -> Turnout:
        return self._stack.enter_context(running("-c", str(self.file)))

    def leaving(self, turnout: Turnout) -> dict[str, Any]:
        """What the API shows of the server that leaves."""
        servers: list[dict[str, Any]] = get(turnout.admin, "/api/v1/versions/old")["servers"]
        return next(server for server in servers if server["address"] == self.leave.url)

    def drain(self, turnout: Turnout) -> dict[str, Any]:
        return turnout.post("/api/v1/versions/old/drain", {"server": self.leave.url, "reason": "kernel"})

    def must_be_left_alone(self, turnout: Turnout) -> None:
        """None of many requests goes there, and all are answered."""
        asked = self.leave.asked
        assert {turnout.ask() for _ in range(ENOUGH)} == {(200, b"stay")}
        assert self.leave.asked == asked


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with ExitStack() as stack:
        yield Shop(tmp_path, stack)


def test_what_runs_there_finishes_nothing_new_comes_and_waiting_ends_when_it_is_idle(shop: Shop) -> None:
    turnout = shop.run()
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(turnout.address)) for _ in range(8)]
        for wire in wires:
            wire.send(SLOW)
        wait_until(lambda: shop.stay.asked + shop.leave.asked == len(wires), "every slow request has arrived")
        there = shop.leave.asked
        assert there > 0
        shop.drain(turnout)
        shop.must_be_left_alone(turnout)
        wait_until(lambda: shop.leaving(turnout)["in_flight"] == there, "the API counts what runs there")
        assert not shop.leaving(turnout)["idle"]
        waiting = subprocess.Popen(
            [*COMMAND, "drain", "old", shop.leave.url, "--wait", "--admin", turnout.admin], text=True,
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
        with waiting:
            assert waiting.stdout is not None
            said = [waiting.stdout.readline() for _ in range(5)]
            assert said[-1] == f"{there} in flight\n", said
            shop.leave.go_on.set()
            shop.stay.go_on.set()
            rest, _ = waiting.communicate(timeout=WITHIN_S)
        assert waiting.returncode == 0
        assert rest.endswith(f"Idle: stop it now. `turnout restore old {shop.leave.url}` brings it back.\n")
        assert shop.leaving(turnout)["idle"]
        assert sorted(wire.response().body for wire in wires) == [b"leave"] * there + [b"stay"] * (len(wires) - there)
    turnout.post("/api/v1/versions/old/restore", {"server": shop.leave.url})
    assert wait_until(lambda: turnout.ask() == (200, b"leave"), "it gets requests again")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_it_stays_out_over_a_restart_and_a_death(shop: Shop, end: signal.Signals) -> None:
    first = shop.run()
    shop.drain(first)
    first.tell(end)
    first.process.wait(WITHIN_S)
    second = shop.run()
    second.event("serving")
    assert shop.leaving(second)["drained"]
    shop.must_be_left_alone(second)


def test_it_is_not_idle_while_an_orphan_still_works_for_it(shop: Shop) -> None:
    """The supervisor dies; its successor does not know what the orphaned workers have in flight there."""
    first = shop.run()
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(first.address)) for _ in range(8)]
        for wire in wires:
            wire.send(SLOW)
        wait_until(lambda: shop.stay.asked + shop.leave.asked == len(wires), "every slow request has arrived")
        assert shop.leave.asked > 0
        first.tell(signal.SIGKILL)
        first.process.wait(WITHIN_S)
        second = shop.run()
        shop.drain(second)
        shop.must_be_left_alone(second)
        assert not shop.leaving(second)["idle"]
        shop.leave.go_on.set()
        shop.stay.go_on.set()
        assert {wire.response().status for wire in wires} == {200}
        wait_until(lambda: shop.leaving(second)["idle"], "nothing runs there any more")


@pytest.mark.parametrize("state_dir", ["memory", "state"])
def test_it_stays_out_over_an_upgrade_in_place(shop: Shop, state_dir: str) -> None:
    shop.write([shop.stay.url, shop.leave.url], state_dir=state_dir)
    turnout = shop.run()
    shop.drain(turnout)
    turnout.post("/api/v1/upgrade")
    turnout.event("serving", 2)
    assert shop.leaving(turnout)["drained"]
    shop.must_be_left_alone(turnout)


def test_a_reload_keeps_it_out_until_the_file_names_it_no_more(shop: Shop) -> None:
    turnout = shop.run()
    shop.drain(turnout)
    shop.write([shop.leave.url, shop.stay.url, shop.new.url])
    turnout.post("/api/v1/config/reload")
    assert shop.leaving(turnout)["drained"]
    shop.write([shop.stay.url])
    turnout.post("/api/v1/config/reload")
    shop.write([shop.stay.url, shop.leave.url])
    turnout.post("/api/v1/config/reload")
    assert not shop.leaving(turnout)["drained"]
    assert [event["verb"] for event in get(turnout.admin, "/api/v1/events")["events"]
            if event["verb"] in ("drain", "restore")] == ["drain", "restore"]


def test_a_worker_that_is_replaced_begins_with_what_is_drained(shop: Shop) -> None:
    turnout = shop.run()
    shop.drain(turnout)
    for worker in turnout.status()["workers"]:
        os.kill(worker["pid"], signal.SIGKILL)
    wait_until(lambda: turnout.status()["ready"] and turnout.status()["restarts"] == 2, "both were replaced")
    shop.must_be_left_alone(turnout)


def test_the_last_server_stays_in_service(shop: Shop) -> None:
    turnout = shop.run()
    shop.drain(turnout)
    with pytest.raises(Refused, match="turnout weight shop old=0 new=100"):
        turnout.post("/api/v1/versions/old/drain", {"server": shop.stay.url})
    turnout.ask()
    assert turnout.ask() == (200, b"stay")


def test_a_version_whose_traffic_was_moved_is_drained_as_a_whole_and_becomes_idle(shop: Shop) -> None:
    turnout = shop.run()
    turnout.ask()
    Api(turnout.admin).ask("PUT", "/api/v1/routes/shop/split", {"split": {"old": 0, "new": 1}})
    turnout.post("/api/v1/versions/old/drain")
    wait_until(lambda: get(turnout.admin, "/api/v1/versions/old")["idle"], "nothing runs at old")
    assert turnout.ask() == (200, b"new")
    with pytest.raises(Refused, match="turnout restore old"):
        turnout.post("/api/v1/routes/shop/rollback")


def test_a_candidate_that_is_drained_leaves_its_requests_to_the_baseline(shop: Shop) -> None:
    turnout = shop.run()
    Api(turnout.admin).ask("PUT", "/api/v1/routes/shop/split", {"split": {"old": 1, "new": 1}})
    notes = turnout.post("/api/v1/versions/new/drain")["notes"]
    assert notes == ["requests of `shop` for `new` go to the baseline until it is restored"]
    assert {turnout.ask() for _ in range(ENOUGH)} <= {(200, b"stay"), (200, b"leave")}
    assert shop.new.asked == 0
    turnout.post("/api/v1/versions/new/restore")
    wait_until(lambda: turnout.ask() == (200, b"new"), "it gets its share again")
