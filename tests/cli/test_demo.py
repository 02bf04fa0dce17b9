"""The demo as a newcomer meets it: the whole program, on a terminal, in a log, interrupted, and when it fails."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from proxy.cli.demo.plan import WEIGHTS, walk
from tests.support.processes import stand_still

DEMO = (sys.executable, "-m", "proxy", "demo")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
_SGR = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@contextmanager
def running(*options: str) -> Iterator[subprocess.Popen[str]]:
    """A demo in a process group of its own, as a terminal would start it."""
    process = subprocess.Popen(
        [*DEMO, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def read_until(process: subprocess.Popen[str], wanted: str) -> str:
    """What is written up to and including the first line that contains `wanted`."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if wanted in line:
            return text
    raise AssertionError(f"{wanted!r} was never written:\n{text}")


def workers_in(text: str) -> list[int]:
    found = re.search(r"processes ([\d, ]+)", text)
    assert found is not None, text
    return [int(pid) for pid in found[1].split(",")]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_demo_ends_by_itself_and_keeps_its_promises() -> None:
    done = subprocess.run([*DEMO, "--for", "4s", "--json"], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["ok"] is True
    assert (summary["failures"], summary["first_failure"]) == (0, None)
    assert summary["requests"] > 100
    assert summary["moves"]["new_to_old"] == 0
    assert summary["moves"]["old_to_new"] > 0

    none, few, many = summary["steps"]
    assert [step["weight"] for step in summary["steps"]] == [0, 5, 25]
    assert none["new_percent"] == 0.0
    # 150 users, each a coin of its own: five standard deviations to either side.
    assert few["new_percent"] == pytest.approx(5, abs=9)
    assert many["new_percent"] == pytest.approx(25, abs=18)
    assert few["applied"] == many["applied"] == {"workers": 2, "of": 2}

    versions = summary["you"]["versions"]
    assert versions == sorted(versions, key=["old", "new"].index), "you were moved back"
    assert summary["workers"]["replaced"] == 0
    assert not any(alive(pid) for pid in summary["workers"]["pids"])


def test_a_log_gets_one_line_per_moment_one_per_change_and_a_summary() -> None:
    done = subprocess.run([*DEMO, "--for", "3s"], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert [line.split(" %")[0] for line in done.stdout.splitlines() if line.startswith("--")] == [
        f"-- new gets {weight}" for weight in WEIGHTS
    ]
    assert len(re.findall(r"^ +\d+\.\d s ", done.stdout, re.MULTILINE)) >= 3
    assert re.search(r"^\d+ requests in \d+\.\d s, 0 failed$", done.stdout, re.MULTILINE)
    assert "new -> old: 0" in done.stdout
    assert "turnout run --weight 5" in done.stdout.replace(sys.argv[0], "turnout")
    assert "turnout check -c" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_ends_it_well_and_leaves_nothing_running(number: signal.Signals) -> None:
    with running("--for", "60s") as process:
        workers = workers_in(read_until(process, " s  |"))
        assert all(alive(pid) for pid in workers)
        began = time.monotonic()
        os.killpg(process.pid, number)  # a terminal's Ctrl-C reaches the workers, too
        rest, _ = process.communicate(timeout=10)
        assert process.returncode == 0, rest
        assert time.monotonic() - began < 5  # 2 s are promised; the machine may be busy with other tests
        assert "0 failed" in rest
        assert not any(alive(pid) for pid in workers)


def test_a_killed_worker_is_replaced_before_the_eyes_of_the_viewer() -> None:
    with running("--for", "60s") as process:
        doomed, _ = workers_in(read_until(process, " s  |"))
        os.kill(doomed, signal.SIGKILL)
        read_until(process, "worker replaced")
        read_until(process, " s  |")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=10)
        assert "1 replaced" in rest


def test_requests_that_get_no_answer_are_said_and_fail_the_demo() -> None:
    with running("--for", "5s") as process:
        workers = workers_in(read_until(process, "new gets 25 %"))
        for pid in workers:
            stand_still(pid)
        rest, _ = process.communicate(timeout=30)
        assert process.returncode == 1, rest
        assert re.search(r"[1-9]\d* failed\n  first +no answer", rest), rest
        assert not any(alive(pid) for pid in workers)


def on_a_terminal(lines: int, columns: int, environ: dict[str, str]) -> tuple[int, str]:
    """Exit code and everything that a demo of two seconds writes to a terminal of this size."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    environ = {**ENVIRONMENT, "TERM": "xterm", **environ}
    with subprocess.Popen([*DEMO, "--for", "2s"], stdin=theirs, stdout=theirs, stderr=theirs, env=environ) as process:
        os.close(theirs)
        written = b""
        try:
            while piece := os.read(ours, 65536):
                written += piece
        except OSError:  # EIO: everybody has closed the other end
            pass
        os.close(ours)
    return process.returncode, written.decode().replace("\r\n", "\n")


def test_a_terminal_of_80_columns_gets_a_picture_drawn_in_place() -> None:
    code, written = on_a_terminal(24, 80, {})
    assert code == 0, written
    assert written.startswith("\x1b[?25l")
    assert "\x1b[?25h" in written
    pictures = re.split(r"\x1b\[\d+A\r", written.partition("\x1b[?25h")[0])
    assert len(pictures) >= 5
    for picture in pictures:
        rows = _CONTROL.sub("", picture).splitlines()
        assert len(rows) <= 23
        assert max(map(len, rows)) < 80
    last = _CONTROL.sub("", pictures[-1])
    assert "[ 25 % ]" in last
    assert "new → old: 0" in last
    assert re.search(r"you +at 0 %: old ─► at 5 %", last)


def test_no_color_is_respected() -> None:
    code, written = on_a_terminal(24, 80, {"NO_COLOR": "1"})
    assert code == 0, written
    assert "\x1b[" in written  # drawn in place it is
    assert not _SGR.search(written)


def test_a_terminal_too_small_for_the_picture_gets_lines() -> None:
    code, written = on_a_terminal(20, 80, {})
    assert code == 0, written
    assert not _CONTROL.search(_SGR.sub("", written))
    assert "-- new gets 25 %" in written


@pytest.mark.parametrize("lasts", ["5", "1s", "2h", "soon"])
def test_a_duration_that_cannot_be_meant_is_refused(lasts: str) -> None:
    done = subprocess.run([*DEMO, "--for", lasts], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 2
    assert "--for" in done.stderr


def test_a_walk_only_ever_raises_the_share_and_fills_its_time() -> None:
    steps = walk(15.0)
    assert sum(step.lasts_s for step in steps) == pytest.approx(15.0)
    assert [step.weight for step in steps] == sorted(WEIGHTS)


def test_asking_for_help_imports_neither_servers_nor_settings() -> None:
    program = "import sys, proxy.cli.demo; print({'aiohttp', 'pydantic', 'uvloop'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "set()"
