"""Everything that may change while a shadow is there, and processes that die: clients notice nothing, copies follow."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.deadline import wait_until
from tests.support.load import Load
from tests.support.processes import all_gone
from tests.support.shadow_shop import BOTH, GET, NEW, OLD, copies, originals, says, shop


def test_killing_the_comparer_costs_clients_nothing_and_another_one_goes_on(tmp_path: Path) -> None:
    with says(OLD) as old, says(NEW) as new, shop(tmp_path, old, new) as it, Load(it.turnout.address, 4, GET) as load:
        it.compares()
        first = it.comparer()
        os.kill(first, signal.SIGKILL)
        all_gone(first)
        load.wait_each(20)
        load.wait(lambda: it.report()["comparer"]["restarts"] == 1 and it.total("compared") > 0, "comparisons again")
        assert it.comparer() != first
        load.wait_each(5)
        load.stop()
        assert (load.lost, load.strange) == ([], [])
        assert it.differences() == BOTH


def test_a_reload_changes_how_answers_are_compared(tmp_path: Path) -> None:
    with says(OLD) as old, says(NEW) as new, shop(tmp_path, old, new) as it:
        it.compares()
        wait_until(it.differences, "differences")
        it.write(compare={"ignore": ["$.price", "$.currency"]})
        it.turnout.post("/api/v1/config/reload")
        it.ask_until(lambda: it.total("matched") > 0)


def test_a_reload_that_ends_the_shadow_ends_the_copies(tmp_path: Path) -> None:
    with says(OLD) as old, says(NEW) as new, shop(tmp_path, old, new) as it:
        it.compares()
        it.wait_settled(len(old.requests))
        so_far = len(new.requests)
        it.write(percent=0)
        it.turnout.post("/api/v1/config/reload")
        for _ in range(20):
            assert it.turnout.ask()[0] == 200
        it.write(percent=100)
        it.turnout.post("/api/v1/config/reload")
        it.ask_until(lambda: len(new.requests) > so_far, "/first")
        assert new.requests[so_far].target == b"/first"


def test_weights_and_rollback_move_clients_and_never_copies(tmp_path: Path) -> None:
    with says(OLD) as old, says(NEW) as new, shop(tmp_path, old, new) as it, Load(it.turnout.address, 4, GET) as load:
        it.compares()
        for _ in range(3):
            it.api("PUT", "/api/v1/routes/shop/split", {"split": {"old": 0, "new": 100}})
            load.wait_each(5)
            it.api("POST", "/api/v1/routes/shop/rollback", {"reason": "because"})
            load.wait_each(1)       # what was under way to the candidate has been answered
            so_far = len(originals(new))
            load.wait_each(10)
            assert len(originals(new)) == so_far, "after a rollback only copies go to the candidate"
        load.stop()
        assert (load.lost, load.strange) == ([], [])
        assert copies(old) == []


def test_while_the_candidate_answers_alone_it_gets_no_copies(tmp_path: Path) -> None:
    with says(OLD) as old, says(NEW) as new, shop(tmp_path, old, new, route={"split": {"old": 0, "new": 1}}) as it:
        for count in range(1, 11):
            assert it.turnout.ask(f"/{count}")[0] == 200
        it.api("PUT", "/api/v1/routes/shop/split", {"split": {"old": 1, "new": 0}})
        it.ask_until(lambda: copies(new), "/copied")
        assert {message.target for message in copies(new)} == {b"/copied"}


def test_with_the_candidate_answering_the_baseline_can_be_the_referee(tmp_path: Path) -> None:
    route = {"split": {"old": 0, "new": 100}, "baseline": "old"}
    with says(OLD) as old, says(NEW) as new, shop(tmp_path, old, new, {"to": "old"}, route) as it:
        it.compares()
        wait_until(lambda: it.differences() == {("$.price", "type"), ("$.currency", "missing")}, "both differences")
        assert originals(old) == copies(new) == []


def test_an_upgrade_in_place_keeps_copying_comparing_and_what_was_found(tmp_path: Path) -> None:
    with says(OLD) as old, says(NEW) as new, shop(tmp_path, old, new) as it, Load(it.turnout.address, 4, GET) as load:
        it.compares()
        load.wait_each(5)
        former, compared = it.comparer(), it.total("compared")
        it.turnout.post("/api/v1/upgrade", {"reason": "newer"})
        it.turnout.event("serving", 2)
        load.wait(lambda: it.total("compared") > compared, "what was compared is known, and more is")
        all_gone(former)
        load.wait_each(5)
        load.stop()
        assert (load.lost, load.strange) == ([], [])
        assert it.differences() == BOTH


def test_the_command_line_steers_the_copies_under_load(tmp_path: Path) -> None:
    with says(OLD) as old, says(NEW) as new, shop(tmp_path, old, new, {"percent": 0}) as it, \
            Load(it.turnout.address, 4, GET) as load:
        load.wait_each(10)
        assert new.requests == []
        it.cli("shadow", "percent=100")
        load.wait(lambda: len(new.requests) >= 10, "copies")
        it.cli("shadow", "off")
        load.wait_each(2)           # what was copied before the change has been sent
        load.stop()
        wait_until(lambda: it.total("copied") == len(new.requests), "every copy has ended and is counted")
        so_far = len(new.requests)
        for _ in range(20):
            assert it.turnout.ask()[0] == 200
        it.cli("shadow", "percent=100")
        it.ask_until(lambda: len(new.requests) > so_far, "/first")
        assert new.requests[so_far].target == b"/first"
        assert (load.lost, load.strange) == ([], [])
