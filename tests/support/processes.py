"""Whether processes live, asked of the kernel."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.deadline import wait_until


def _state_of(pid: int) -> str:
    """R, S, T, Z, … as in proc(5); empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has waited for yet has, too."""
    return _state_of(pid) in ("", "Z")


def stand_still(pid: int) -> None:
    """SIGSTOP, and its effect: a process that runs on the other CPU goes on for a moment after it was signalled."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: _state_of(pid) == "T", f"the process {pid} stands still")


def all_gone(*pids: int) -> None:
    """Wait until all of them have ended."""
    wait_until(lambda: all(map(is_gone, pids)), f"the processes {pids} are gone")
