"""The verbs as an operator types them, against the whole program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.origins import Origin, answering
from tests.support.turnout import Turnout, running

ROOT = str(Path(__file__).resolve().parents[2])
OLD = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold"
NEW = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"
FILE = """
listen: 127.0.0.1:0
workers: 1
state_dir: {state}
watch: none
admin: {{listen: "127.0.0.1:0", tokens: [
  {{name: ann, role: operator, token_env: OPERATOR}}, {{name: vic, role: viewer, token_env: VIEWER}}]}}
versions:
  old: {{servers: ["{old}"]}}
  new: {{servers: ["{new}"]}}
routes:
  - {{name: shop, match: {{path: /}}, split: {{old: 100, new: 0}}}}
"""
OPERATOR, VIEWER = "operator-token-0123456789", "viewer-token-0123456789"


class Operator:
    """Types verbs; `turnout` is the program that runs, `file` its configuration."""

    def __init__(self, turnout: Turnout, file: Path) -> None:
        self.turnout = turnout
        self.file = file

    def types(self, *words: str, token: str = OPERATOR, code: int = 0) -> str:
        """Run a verb; returns what it said. Its exit code must be `code`."""
        run = subprocess.run(
            [sys.executable, "-P", "-m", "proxy", *words], capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "PYTHONPATH": ROOT, "TURNOUT_ADMIN": self.turnout.admin, "TURNOUT_TOKEN": token},
        )
        assert run.returncode == code, run.stdout + run.stderr
        return run.stdout + run.stderr


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    folder = tmp_path_factory.mktemp("operating")
    file = folder / "turnout.yaml"
    with Origin(answering(OLD)) as old, Origin(answering(NEW)) as new:
        file.write_text(FILE.format(state=folder / "state", old=old.url, new=new.url))
        with running("-c", str(file), environ={"OPERATOR": OPERATOR, "VIEWER": VIEWER}) as turnout:
            yield Operator(turnout, file)


def test_traffic_moves_there_and_back(operator: Operator) -> None:
    said = operator.types("weight", "shop", "100", "-m", "all of it")
    assert "shop: old 0 % · new 100 %\n" in said
    assert "applied by 1 of 1 workers" in said
    assert operator.turnout.ask()[1] == b"new"
    assert "shop: old 100 % · new 0 %\n" in operator.types("rollback", "-m", "errors")
    assert operator.turnout.ask()[1] == b"old"
    assert "shop: old 0 % · new 100 %\n" in operator.types("undo", "shop")
    operator.types("rollback", "shop")
    events = operator.types("events", "--route", "shop")
    assert "all of it" in events
    assert "ann (127.0.0.1)" in events


def test_a_change_that_nobody_confirms_waits_in_the_status(operator: Operator) -> None:
    assert "goes back by itself in 10:00" in operator.types("weight", "shop", "new=5%", "--confirm-within", "10m")
    assert "turnout confirm shop" in operator.types("status")
    assert "goes back" not in operator.types("confirm", "shop")
    assert "no change of route `shop`" in operator.types("confirm", "shop", code=5)
    operator.types("rollback", "shop")


def test_who_has_seen_an_old_revision_changes_nothing(operator: Operator) -> None:
    said = operator.types("weight", "shop", "50", "--if-revision", "1000000", code=5)
    assert "shop: old 100 % · new 0 %" in said
    assert "try again with --if-revision" in said


def test_a_dry_run_says_what_would_be(operator: Operator) -> None:
    assert "shop: old 50 % · new 50 %" in operator.types("weight", "shop", "50", "--dry-run")
    assert json.loads(operator.types("status", "--json"))["routes"][0]["split"] == {"old": 100, "new": 0}


def test_copies_are_set_and_ended(operator: Operator) -> None:
    assert "copies of 25 % to new" in operator.types("shadow", "shop", "to=new", "percent=25", "methods=GET,HEAD")
    assert "copies" not in operator.types("shadow", "shop", "off").splitlines()[0]
    assert "did you mean" in operator.types("shadow", "shop", "to=nwe", code=2)


def test_a_request_is_explained(operator: Operator) -> None:
    assert "→ route shop, version old" in operator.types("explain", "http://any.example/cart")


def test_a_viewer_looks_and_changes_nothing(operator: Operator) -> None:
    assert "shop" in operator.types("status", token=VIEWER)
    assert "`role: operator`" in operator.types("rollback", "shop", token=VIEWER, code=1)
    assert "set TURNOUT_TOKEN" in operator.types("status", token="", code=1)
    assert "is not known there" in operator.types("status", token="a-token-that-nobody-was-given", code=1)
    operator.types("healthcheck", token="")


def test_the_file_is_read_again_and_a_wrong_one_is_exit_code_3(operator: Operator) -> None:
    good = operator.file.read_text()
    try:
        operator.file.write_text(good.replace("old: 100", "lod: 100"))
        assert "turnout.yaml:" in operator.types("reload", code=3)
        operator.file.write_text(good.replace("old: 100, new: 0", "old: 80, new: 20"))
        assert "shop: old 80 % · new 20 %" in operator.types("reload")
    finally:
        operator.file.write_text(good)
    assert "shop: old 100 % · new 0 %" in operator.types("reload")
    assert "baseline: old" in operator.types("config")


def test_events_are_followed_as_they_happen(operator: Operator) -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "proxy", "events", "-f", "--limit", "1", "--json"], text=True,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": ROOT, "TURNOUT_ADMIN": operator.turnout.admin, "TURNOUT_TOKEN": OPERATOR},
    ) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        operator.types("weight", "shop", "30", "-m", "seen")
        second = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert second["id"] > first["id"]
    assert (second["verb"], second["reason"]) == ("split", "seen")
    operator.types("rollback", "shop")
