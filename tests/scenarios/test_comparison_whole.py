"""The whole program compares: answers of two real servers, in a process of its own that may die and be followed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from proxy.cli.client import Api, Refused, get
from tests.support.deadline import wait_until
from tests.support.origins import StrictOrigin, ok
from tests.support.processes import all_gone
from tests.support.turnout import Turnout, between, running

SHADOW = "/api/v1/routes/default/shadow"


def saying(words: bytes) -> StrictOrigin:
    return StrictOrigin(lambda _: ok(words, b"Content-Type: text/plain"))


@contextmanager
def shadowed() -> Iterator[Turnout]:
    """Turnout between two versions, which copies everything to the new one."""
    with ExitStack() as stack:
        old, new = (stack.enter_context(saying(words)) for words in (b"old", b"new"))
        turnout = stack.enter_context(running(*between(old.url, new.url)))
        Api(turnout.admin).ask("PATCH", SHADOW, {"to": "new", "percent": 100})
        yield turnout


def report_when(turnout: Turnout, holds: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        try:
            report = get(turnout.admin, SHADOW)
        except Refused as refused:
            if refused.kind != "no-comparer":
                raise
            return None     # it is just ending
        return report if holds(report) else None

    return wait_until(look, what)


def compare_some(turnout: Turnout, least: int) -> dict[str, Any]:
    """Ask until so many answers were compared: workers find a comparer that has just started within a second."""
    def holds(report: dict[str, Any]) -> bool:
        assert turnout.ask()[0] == 200
        return int(report["totals"]["compared"]) >= least

    return report_when(turnout, holds, "answers are compared")


def comparers(turnout: Turnout) -> list[int]:
    """The comparer processes of this Turnout's group."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                command = Path(f"/proc/{name}/cmdline").read_bytes()
                if b"proxy.comparison" in command and os.getpgid(int(name)) == turnout.process.pid:
                    found.append(int(name))
            except OSError:
                continue
    return found


def test_real_answers_are_compared_and_a_comparer_that_dies_is_nobodys_loss_but_the_reports() -> None:
    with shadowed() as turnout:
        report = compare_some(turnout, 3)
        assert report["totals"]["different"] == report["totals"]["compared"]
        assert [(one["path"], one["kind"]) for one in report["differences"]] == [("body", "text")]
        (comparer,) = comparers(turnout)
        os.kill(comparer, signal.SIGKILL)
        assert turnout.ask()[0] == 200
        report = report_when(turnout, lambda found: found["comparer"]["restarts"] == 1 and found["comparer"]["running"],
                             "there is another")
        assert report["totals"]["compared"] == 0
        compare_some(turnout, 1)
        assert "comparer-replaced" in [event["verb"] for event in get(turnout.admin, "/api/v1/events")["events"]]


def test_the_comparer_leaves_with_the_program() -> None:
    with shadowed() as turnout:
        compare_some(turnout, 1)
        before = comparers(turnout)
        turnout.tell(signal.SIGTERM)
        assert turnout.wait() == 0
        assert before
        all_gone(*before)


def test_a_comparer_whose_supervisor_is_killed_leaves() -> None:
    with shadowed() as turnout:
        compare_some(turnout, 1)
        before = comparers(turnout)
        turnout.tell(signal.SIGKILL)
        assert before
        all_gone(*before)


def test_a_successor_goes_on_with_what_was_compared() -> None:
    with shadowed() as turnout:
        before = compare_some(turnout, 3)
        turnout.post("/api/v1/upgrade", {"reason": "0.4.0"})
        turnout.event("serving", 2)
        after = compare_some(turnout, before["totals"]["compared"] + 1)
        assert after["comparer"]["since"] == before["comparer"]["since"]
        assert after["comparer"]["restarts"] == 0
