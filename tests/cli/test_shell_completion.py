from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.origins import Origin, Peer
from tests.support.scripted_api import Answer, route, scripted, turnout

ROOT = str(Path(__file__).resolve().parents[2])
ROUTES = {"GET /api/v1/routes": Answer({"revision": 84, "routes": [route("shop"), route("api", {"a": 1, "b": 0})]})}


def completed(line: str, admin: str, *, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Press Tab at the end of this line, as the bash script does."""
    words = line.split(" ")
    return subprocess.run(
        [sys.executable, *python, "-P", "-m", "proxy"], capture_output=True, text=True, timeout=30, check=False,
        env={"PYTHONPATH": ROOT, "TURNOUT_ADMIN": admin, "_TURNOUT_COMPLETE": "bash_complete", "COMP_WORDS": line,
             "COMP_CWORD": str(len(words) - 1)},
    )


def offers(line: str, admin: str) -> list[str]:
    result = completed(line, admin)
    assert result.stderr == ""
    return [word.removeprefix("plain,") for word in result.stdout.split()]


def test_verbs_routes_and_versions_are_completed() -> None:
    with scripted(ROUTES) as (url, _):
        assert offers("turnout ro", url) == ["rollback"]
        assert offers("turnout weight s", url) == ["shop"]
        assert offers("turnout undo ", url) == ["shop", "api"]
        assert offers("turnout weight api ", url) == ["a=", "b="]
        assert offers("turnout weight api a=10 ", url) == ["b="]
        assert "--confirm-within" in offers("turnout weight --", url)


def test_versions_and_their_servers_are_completed() -> None:
    servers = [{"address": "unix:/a", "drained": True}, {"address": "unix:/b", "drained": False}]
    versions = [{"name": "old", "servers": servers}, {"name": "new", "servers": []}]
    with scripted({"GET /api/v1/versions": Answer({"revision": 84, "versions": versions})}) as (url, _):
        assert offers("turnout drain ", url) == ["old", "new"]
        assert offers("turnout drain old ", url) == ["unix:/b"]
        assert offers("turnout restore old ", url) == ["unix:/a"]
        assert offers("turnout restore new ", url) == []


def test_what_a_shadow_can_do_is_completed() -> None:
    with scripted(ROUTES) as (url, _):
        assert offers("turnout shadow s", url) == ["shop"]
        assert offers("turnout shadow shop ", url) == [
            "percent=", "to=", "methods=", "report", "learn", "clear", "record", "off"]
        assert offers("turnout shadow shop percent=5 ", url) == ["to=", "methods="]
        assert offers("turnout shadow api to=", url) == ["to=a", "to=b"]
        assert offers("turnout shadow shop learn ", url) == []
        assert completed("turnout shadow shop record x", url).stdout == "file,x\n"


def test_the_admin_address_on_the_line_is_the_one_that_is_asked() -> None:
    with scripted(ROUTES) as (url, _):
        assert offers(f"turnout undo --admin {url} ", "http://127.0.0.1:1") == ["shop", "api"]


def silent(peer: Peer) -> None:
    peer.read_to_end()


def test_nothing_is_offered_and_nothing_said_when_nobody_answers() -> None:
    assert offers("turnout undo ", "http://127.0.0.1:1") == []
    with Origin(silent) as origin:
        assert offers("turnout undo ", origin.url) == []
    with scripted({"GET /api/v1/routes": Answer([1, 2])}) as (url, _):
        assert offers("turnout undo ", url) == []


def test_completing_a_verb_imports_none() -> None:
    loaded = completed("turnout r", "http://127.0.0.1:1", python=("-X", "importtime")).stderr
    assert "click" in loaded
    assert "pydantic" not in loaded
    assert "proxy.cli.run" not in loaded


@pytest.mark.parametrize(("shell", "mark"), [
    ("bash", "complete -o nosort -F"), ("zsh", "#compdef turnout"), ("fish", "complete --no-files --command turnout"),
])
def test_each_shell_gets_its_script(shell: str, mark: str) -> None:
    result = turnout("completion", shell, admin="")
    assert result.exit_code == 0
    assert mark in result.stdout
    assert "_TURNOUT_COMPLETE" in result.stdout


def test_bash_takes_the_script_and_asks_turnout_with_it(tmp_path: Path) -> None:
    (tmp_path / "turnout").write_text(f'#!/bin/sh\nexec {sys.executable} -P -m proxy "$@"\n')
    (tmp_path / "turnout").chmod(0o755)
    program = (
        'eval "$(turnout completion bash)"; COMP_WORDS=(turnout rollback sh); COMP_CWORD=2; '
        '_turnout_completion turnout sh rollback; echo "${COMPREPLY[@]}"'
    )
    with scripted(ROUTES) as (url, _):
        run = subprocess.run(
            ["bash", "-c", program], capture_output=True, text=True, timeout=30, check=True,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": ROOT, "TURNOUT_ADMIN": url},
        )
    assert run.stdout == "shop\n"
