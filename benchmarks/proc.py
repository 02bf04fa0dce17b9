"""What /proc says about processes: who belongs to whom, CPU time used, memory held, which process owns a connection.

The parsers take text, so that tests need no processes; Linux only, as the whole benchmark is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A line of /proc/PID/stat. `started` (ticks after boot) tells a process from a later one with the same id."""

    pid: int
    parent: int
    started: int
    cpu_s: float
    session: int = 0
    ended: bool = False                         # a zombie: its parent has not asked yet how it ended


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: resident, and the proportional set size, in which a page shared by n processes counts 1/n."""

    rss: int
    pss: int

    def __add__(self, other: Memory) -> Memory:
        return Memory(self.rss + other.rss, self.pss + other.pss)


def parse_stat(text: str) -> Process:
    """Read /proc/PID/stat (proc(5)); the command in parentheses may itself contain spaces and parentheses."""
    pid, _, rest = text.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    ticks = int(fields[11]) + int(fields[12])     # utime + stime
    return Process(pid=int(pid), parent=int(fields[1]), started=int(fields[19]), cpu_s=ticks / TICKS_PER_S,
                   session=int(fields[3]), ended=fields[0] == "Z")


def parse_smaps_rollup(text: str) -> Memory:
    """Read /proc/PID/smaps_rollup; its numbers are KiB."""
    values = {line.split(":")[0]: line.split()[1] for line in text.splitlines() if line.endswith("kB")}
    return Memory(rss=int(values["Rss"]) * 1024, pss=int(values["Pss"]) * 1024)


def read(pid: int) -> Process | None:
    """The process, or None if there is none any more."""
    try:
        return parse_stat((PROC / str(pid) / "stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_same(process: Process) -> bool:
    """Whether `process` still lives: its id has not gone to somebody else."""
    now = read(process.pid)
    return now is not None and now.started == process.started


def runs(process: Process) -> bool:
    """Whether `process` still does anything."""
    now = read(process.pid)
    return now is not None and now.started == process.started and not now.ended


def stands_still(pid: int) -> bool:
    """Whether a signal has stopped it: SIGSTOP takes a moment where it runs on another core."""
    return (PROC / str(pid) / "stat").read_text().rpartition(") ")[2].startswith("T")


def everybody() -> list[Process]:
    """All processes there are."""
    return [process for name in os.listdir(PROC) if name.isdigit() and (process := read(int(name))) is not None]


def session(leader: int) -> list[Process]:
    """Everything that was started in the session of `leader`, also what has lost its parent or outlived the leader."""
    return [process for process in everybody() if process.session == leader]


def tree(root: int) -> list[Process]:
    """`root` and everything below it, parents first."""
    all_of_them = everybody()
    children: dict[int, list[Process]] = {}
    for process in all_of_them:
        children.setdefault(process.parent, []).append(process)
    found = [process for process in all_of_them if process.pid == root]
    for process in found:                       # grows while it is walked
        found.extend(children.get(process.pid, ()))
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds (user and system) that these processes have used since they started."""
    return sum(process.cpu_s for pid in pids if (process := read(pid)) is not None)


def memory(pids: Iterable[int]) -> Memory:
    """What these processes hold together."""
    total = Memory(0, 0)
    for pid in pids:
        total += parse_smaps_rollup((PROC / str(pid) / "smaps_rollup").read_text())
    return total


def parse_net_tcp(text: str) -> dict[tuple[int, int], str]:
    """Read /proc/net/tcp: (local port, remote port) → inode, established connections only."""
    inodes: dict[tuple[int, int], str] = {}
    for line in text.splitlines()[1:]:
        fields = line.split()
        if fields[3] == "01":                   # TCP_ESTABLISHED
            inodes[(int(fields[1].rpartition(":")[2], 16), int(fields[2].rpartition(":")[2], 16))] = fields[9]
    return inodes


def socket_inodes(pid: int) -> set[str]:
    """The inodes of the sockets that a process has open."""
    found = set()
    for entry in os.scandir(PROC / str(pid) / "fd"):
        try:
            target = os.readlink(entry.path)
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def connection_owners(server_port: int, pids: Iterable[int]) -> dict[int, int]:
    """Client port → the process that holds the accepted end of that connection to `server_port`."""
    inodes = parse_net_tcp((PROC / "net" / "tcp").read_text())
    owner_of = {inode: pid for pid in pids for inode in socket_inodes(pid)}
    return {remote: owner_of[inode] for (local, remote), inode in inodes.items()
            if local == server_port and inode in owner_of}
