from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.origins import Origin
from tests.support.scripted_api import STATUS_VIEW, Answer, ScriptedApi

ROOT = str(Path(__file__).resolve().parents[2])
STATUS = "GET /api/v1/status"
LEAVE = b"\x1b[?1049l"


class Terminal:
    """The other end of a terminal with a program on it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.shown = b""

    def read_until(self, *marks: bytes, after: bytes = b"") -> bytes:
        """Read until all of these have been shown behind `after`; returns everything behind it."""
        while not all(mark in self.behind(after) for mark in marks):
            self.shown += os.read(self._fd, 65536)
        return self.behind(after)

    def behind(self, mark: bytes) -> bytes:
        """What has been shown behind this, everything if it is empty."""
        return self.shown.partition(mark)[2] if mark else self.shown


@contextmanager
def watching(api: ScriptedApi, lines: int) -> Iterator[tuple[Terminal, subprocess.Popen[bytes], Origin]]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 80, 0, 0))
    with Origin(api.script) as origin, subprocess.Popen(
        [sys.executable, "-P", "-m", "proxy", "status", "-w"], stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL,
        env={"PYTHONPATH": ROOT, "TURNOUT_ADMIN": origin.url, "TERM": "xterm", "PYTHONUTF8": "1"},
    ) as process:
        try:
            yield Terminal(ours), process, origin
        finally:
            process.kill()
            os.close(theirs)
            os.close(ours)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_picture_is_drawn_over_and_stays_when_it_is_left(number: signal.Signals) -> None:
    api = ScriptedApi({STATUS: Answer(STATUS_VIEW)})
    with watching(api, 50) as (terminal, process, _):
        terminal.read_until(b"revision 84")
        api.answers[STATUS] = Answer({**STATUS_VIEW, "revision": 85})
        shown = terminal.read_until(b"revision 85")
        assert b"\x1b[2J" not in shown
        assert shown.count(b"\x1b[?1049h") == 1
        process.send_signal(number)
        last = terminal.read_until(b"dead", after=LEAVE)
        assert process.wait(10) == 0
    assert b"revision 85" in last


def test_what_does_not_fit_is_cut_so_that_nothing_scrolls() -> None:
    with watching(ScriptedApi({STATUS: Answer(STATUS_VIEW)}), 3) as (terminal, _, _):
        shown = terminal.read_until(b"revision 84", b"\x1b[J")
    assert shown.partition(b"\x1b[J")[0].count(b"\n") == 2
    assert b"SHARE" not in shown.partition(b"\x1b[J")[0]


def test_a_turnout_that_goes_away_is_told_and_watched_for() -> None:
    api = ScriptedApi({STATUS: Answer(STATUS_VIEW)})
    with watching(api, 50) as (terminal, process, origin):
        terminal.read_until(b"revision 84")
        api.answers[STATUS] = Answer(b"")
        terminal.read_until(b"this is what was")
        api.answers[STATUS] = Answer({**STATUS_VIEW, "revision": 86})
        terminal.read_until(b"revision 86")
        assert process.poll() is None
        assert origin.connections >= 3


def test_for_a_program_each_look_is_one_line() -> None:
    api = ScriptedApi({STATUS: Answer(STATUS_VIEW)})
    with Origin(api.script) as origin, subprocess.Popen(
        [sys.executable, "-P", "-m", "proxy", "status", "-w", "--json", "--admin", origin.url],
        stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": ROOT},
    ) as process:
        assert process.stdout is not None
        assert [json.loads(process.stdout.readline()) for _ in range(2)] == [STATUS_VIEW] * 2
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
