"""Who listens on an address already: the answer an operator needs when it cannot be bound. Linux, from /proc.

Best effort: processes of other users cannot be seen without privileges, and then nobody is named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from proxy.core.listen import Listen

_PROC = Path("/proc")
_LISTENING = "0A"     # include/net/tcp_states.h: TCP_LISTEN


def occupant(listen: Listen) -> str | None:
    """The process that listens there, as `name (pid N)`; None if it cannot be told."""
    inodes = set(_unix_inodes(listen.unix_path) if listen.unix_path is not None else _tcp_inodes(listen.port))
    links = {f"socket:[{inode}]" for inode in inodes}
    if not links:
        return None
    for process in _PROC.glob("[0-9]*"):
        if links & set(_open_files(process)):
            return f"{_name(process)} (pid {process.name})"
    return None


def _tcp_inodes(port: int) -> Iterator[str]:
    for line in _lines("net/tcp") + _lines("net/tcp6"):
        columns = line.split()
        if len(columns) > 9 and columns[3] == _LISTENING and columns[1].endswith(f":{port:04X}"):
            yield columns[9]


def _unix_inodes(path: str) -> Iterator[str]:
    for line in _lines("net/unix"):
        match = re.fullmatch(r"(?:\S+ +){6}([0-9]+) (.+)", line)
        if match and match[2] == path:
            yield match[1]


def _lines(name: str) -> list[str]:
    try:
        return (_PROC / name).read_text(errors="replace").splitlines()
    except OSError:
        return []


def _open_files(process: Path) -> Iterator[str]:
    try:
        descriptors = list(os.scandir(process / "fd"))
    except OSError:      # another user's, or gone meanwhile
        return
    for descriptor in descriptors:
        try:
            yield os.readlink(descriptor.path)
        except OSError:  # closed meanwhile
            continue


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "a process"
