from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli import healthcheck
from tests.support.origins import Origin, Peer, Script, answering_then_closing
from tests.support.turnout import between, running

ROOT = str(Path(__file__).resolve().parents[2])
HEAVY = {"asyncio", "click", "dataclasses", "email", "http", "inspect", "json", "re", "ssl", "urllib"}
READY = b'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"ready":true,"reasons":[]}\n'
NOT_READY = b'HTTP/1.0 503 Service Unavailable\r\n\r\n{"ready":false,"reasons":["worker 0 is starting"]}\n'


def checked(*arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "proxy", "healthcheck", *arguments], capture_output=True, text=True, timeout=30,
        env={"PYTHONPATH": ROOT, **(environ or {})}, check=False,
    )


def test_it_imports_nothing_heavy() -> None:
    """Not even `re`: the interpreter's own start is most of what it costs, and shall stay so."""
    program = (
        "import sys; sys.argv = ['turnout', 'healthcheck']; before = set(sys.modules)\n"
        "from proxy.cli.entry import main\n"
        "try:\n    main()\nexcept SystemExit as left:\n"
        "    print(left.code, *{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    with Origin(answering_then_closing(READY)) as origin:
        run = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True,
                             env={"PYTHONPATH": ROOT, "TURNOUT_ADMIN": origin.url})
    code, *loaded = run.stdout.split()
    assert code == "0"
    assert "proxy" in loaded
    assert not set(loaded) & HEAVY


def test_it_says_by_its_exit_code_whether_turnout_is_ready() -> None:
    with Origin(answering_then_closing(READY)) as origin:
        assert checked("--admin", origin.url).returncode == 0
        assert origin.peers[0].got.startswith(b"GET /readyz HTTP/1.0\r\nHost: 127.0.0.1:")
    with Origin(answering_then_closing(NOT_READY)) as origin:
        result = checked(f"--admin={origin.url}")
    assert result.returncode == 1
    assert "answered 503" in result.stderr
    assert "worker 0 is starting" in result.stderr


def test_the_address_can_stand_in_the_environment_and_be_a_unix_socket(tmp_path: Path) -> None:
    with Origin(answering_then_closing(READY), unix_path=tmp_path / "admin") as origin:
        assert checked(environ={"TURNOUT_ADMIN": origin.url}).returncode == 0
    assert b"Host: localhost\r\n" in origin.peers[0].got


def test_whether_it_is_there_at_all_is_another_question(capsys: pytest.CaptureFixture[str]) -> None:
    with Origin(answering_then_closing(READY)) as origin:
        assert healthcheck.quick(["--live", "--json", "--admin", origin.url]) == 0
    assert origin.peers[0].got.startswith(b"GET /livez ")
    assert capsys.readouterr().out == '{"ready":true,"reasons":[]}\n'


@pytest.mark.parametrize("admin", ["http://127.0.0.1:1", "unix:/nonexistent/s", "https://x", "http://["])
def test_nobody_there_is_exit_code_1(admin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert healthcheck.quick(["--admin", admin]) == 1
    assert admin in capsys.readouterr().err


def drip(peer: Peer) -> None:
    peer.read_head()
    while True:
        peer.send(b"x")


@pytest.mark.parametrize("script", [
    answering_then_closing(b""), answering_then_closing(b"SSH-2.0\r\n"), answering_then_closing(b"HTTP/1.1"), drip,
    lambda peer: peer.read_to_end(),
], ids=["closed", "garbage", "cut", "endless", "silent"])
def test_whatever_else_answers_is_exit_code_1_in_time(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(healthcheck, "WITHIN_S", 0.2)
    with Origin(script) as origin:
        assert healthcheck.quick(["--admin", origin.url]) == 1


@pytest.mark.parametrize("status", [b"200 OK", b"503 X"])
def test_what_answers_does_not_steer_a_terminal(status: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    with Origin(answering_then_closing(b"HTTP/1.0 %b\r\n\r\n\x1b]0;x\x07\xc2\x9b2J\xe2\x80\xae" % status)) as origin:
        healthcheck.quick(["--json", "--admin", origin.url])
    said = capsys.readouterr()
    assert said.out
    assert all(letter.isprintable() or letter == "\n" for letter in said.out + said.err)


def test_what_it_does_not_know_is_left_to_click() -> None:
    assert healthcheck.quick(["--help"]) is None
    assert healthcheck.quick(["--admin"]) is None
    result = checked("--lvie")
    assert result.returncode == 2
    assert "Usage: turnout healthcheck" in result.stderr


def test_a_running_turnout_is_ready_and_a_dead_one_is_not() -> None:
    with running(*between("http://127.0.0.1:1", "http://127.0.0.1:2")) as turnout:
        admin = turnout.admin
        assert checked("--admin", admin, environ=dict(os.environ)).returncode == 0
        turnout.process.kill()
        turnout.process.wait()
        assert checked("--admin", admin).returncode == 1
