"""A terminal window is closed: who was started in it by hand leaves, whoever was meant to stay stays."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.bare import ROOT
from tests.support.deadline import WITHIN_S, wait_until
from tests.support.front import write_file
from tests.support.origins import StrictOrigin, ok
from tests.support.turnout import COMMAND
from tests.support.wire import Wire

GET = b"GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"


class Window:
    """Turnout in a terminal of its own, which it leads."""

    def __init__(self, process: subprocess.Popen[bytes], ours: int) -> None:
        self.process = process
        self._ours = ours

    def close(self) -> None:
        """What the kernel does when the window goes."""
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1


@contextmanager
def window(file: Path, *, ignoring: bool = False) -> Iterator[Window]:
    ours, theirs = pty.openpty()

    def begin() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        if ignoring:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does

    process = subprocess.Popen(
        [*COMMAND, "run", "-c", str(file)], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "PYTHONPATH": ROOT}, preexec_fn=begin)
    os.close(theirs)
    it = Window(process, ours)
    try:
        yield it
    finally:
        it.close()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(WITHIN_S)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """The file of a Turnout, and the Unix socket it listens on."""
    front = tmp_path / "front"
    with StrictOrigin(lambda _: ok(b"old")) as old:
        yield write_file(tmp_path, {"old": old.url}, [{"name": "shop", "split": {"old": 1}}],
                         listen=f"unix:{front}", admin={"listen": f"unix:{tmp_path / 'admin'}"}, workers=1), front


def answers(front: Path) -> bool:
    try:
        with Wire(str(front)) as wire:
            return wire.ask(GET).body == b"old"
    except OSError:
        return False


def test_who_was_started_by_hand_leaves_with_the_window_as_if_told_to(place: tuple[Path, Path]) -> None:
    file, front = place
    with window(file) as it:
        wait_until(lambda: answers(front), "it serves")
        it.close()
        assert it.process.wait(WITHIN_S) == 0
        assert not front.exists()


def test_a_reload_is_no_reason_to_leave_while_the_window_is_there(place: tuple[Path, Path]) -> None:
    file, front = place
    with window(file) as it:
        wait_until(lambda: answers(front), "it serves")
        it.process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            it.process.wait(0.3)
        assert answers(front)


def test_who_was_started_with_nohup_stays_and_still_reads_its_file_when_told_to(place: tuple[Path, Path]) -> None:
    file, front = place
    with window(file, ignoring=True) as it:
        wait_until(lambda: answers(front), "it serves")
        it.close()
        it.process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            it.process.wait(0.3)
        assert answers(front)
