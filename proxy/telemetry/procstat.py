"""What the kernel says of a process: CPU time, memory, descriptors; read from /proc, so on Linux only.

Invariant: a process that is gone, or is not ours to look at, has no numbers; that is no error.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock

_PROC = Path("/proc")
_UTIME, _STIME, _STARTED, _RSS = 14, 15, 22, 24
"""Fields of /proc/PID/stat as proc(5) numbers them."""
_AFTER_NAME = 3
_DEAD_STATES = (b"Z", b"X")


@dataclass(frozen=True, slots=True)
class ProcStat:
    """One process. `cpu_s`: user and system. `started_at`: seconds since the epoch. `max_fds`: None for no limit."""

    cpu_s: float
    resident_bytes: int
    open_fds: int
    max_fds: int | None
    started_at: float


def read(pid: int, proc: Path = _PROC) -> ProcStat | None:
    """Return the numbers of a process; None when there is no such process, or nothing like /proc, or no permission."""
    folder = proc / str(pid)
    try:
        fields = _fields((folder / "stat").read_bytes())
        open_fds = len(os.listdir(folder / "fd"))
        max_fds = _max_fds((folder / "limits").read_bytes())
        booted_at = _booted_at(proc)
    except OSError:
        return None
    if fields[0] in _DEAD_STATES:
        return None
    ticks = os.sysconf("SC_CLK_TCK")

    def number(field: int) -> int:
        return int(fields[field - _AFTER_NAME])

    return ProcStat(
        cpu_s=(number(_UTIME) + number(_STIME)) / ticks,
        resident_bytes=number(_RSS) * os.sysconf("SC_PAGE_SIZE"),
        open_fds=open_fds,
        max_fds=max_fds,
        started_at=booted_at + number(_STARTED) / ticks,
    )


def _fields(stat: bytes) -> list[bytes]:
    """The fields from the third on: the second is the name, which may hold spaces and parentheses."""
    return stat[stat.rindex(b")") + 1 :].split()


def _max_fds(limits: bytes) -> int | None:
    for line in limits.splitlines():
        if line.startswith(b"Max open files"):
            soft = line.split()[3]
            return None if soft == b"unlimited" else int(soft)
    return None


@cache
def _booted_at(proc: Path) -> int:
    for line in (proc / "stat").read_bytes().splitlines():
        if line.startswith(b"btime "):
            return int(line.split()[1])
    raise FileNotFoundError("no btime in /proc/stat")


class CpuTotals:
    """CPU seconds by the name of a process, such that a successor of the same name goes on where the last was seen.

    What a process used after it was seen last is lost with it: at most one scrape interval. Safe for several threads.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._lives: dict[str, tuple[int, float, float]] = {}  # name → pid, seen last, used by those before

    def total_s(self, name: str, pid: int, cpu_s: float) -> float:
        """Return what all processes of this name have used, given what the present one has."""
        with self._lock:
            last_pid, seen_s, before_s = self._lives.get(name, (pid, 0.0, 0.0))
            if pid != last_pid:
                before_s, seen_s = before_s + seen_s, 0.0
            # Two scrapes at a time may come here in the other order than they looked.
            seen_s = max(seen_s, cpu_s)
            self._lives[name] = (pid, seen_s, before_s)
            return before_s + seen_s
