"""Whether processes live, asked of the kernel."""

from __future__ import annotations

from pathlib import Path

from tests.support.deadline import wait_until


def is_gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has waited for yet has, too."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def all_gone(*pids: int) -> None:
    """Wait until all of them have ended."""
    wait_until(lambda: all(map(is_gone, pids)), f"the processes {pids} are gone")
