"""Where log lines end up: a descriptor somebody else opened, or a file that may be moved away at any time.

Everything here may block, and is called from the thread of a `Sink` only.
"""

from __future__ import annotations

import os
import select
import stat
from typing import Protocol

from proxy.clock import Clock, monotonic

FILE_CHUNK = 256 * 1024
MODE = 0o640
LOOK_EVERY_S = 1.0
"""How often a file is compared with what stands at its path, and one that could not be opened is tried again."""

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


class Outlet(Protocol):
    """Takes bytes. `chunk`: how many it takes at once without mixing them with those of other processes."""

    chunk: int

    def ready(self) -> None:
        """Get ready to write. Raises OSError when that is impossible just now."""

    def write(self, data: memoryview) -> int:
        """Write some of it, as `os.write` does."""

    def close(self) -> None:
        """Let go of what it opened itself."""


class Descriptor:
    """A descriptor that stays the caller's, for example standard output, which several processes may share.

    What is written goes through a duplicate: a write that is stuck outlives whoever gave up waiting for it, and by then
    the number of the caller's own descriptor may belong to something else.
    """

    def __init__(self, fd: int) -> None:
        self.chunk = select.PIPE_BUF
        self._fd = os.dup(fd)

    def ready(self) -> None:
        """See `Outlet`."""
        self.chunk = _chunk_of(self._fd)

    def write(self, data: memoryview) -> int:
        """See `Outlet`."""
        return os.write(self._fd, data)

    def close(self) -> None:
        """See `Outlet`."""
        os.close(self._fd)


class LogFile:
    """The file at a path, made when it is not there; made anew when it was moved away or removed (log rotation)."""

    def __init__(self, path: str, clock: Clock = monotonic) -> None:
        self.chunk = FILE_CHUNK
        self._path = path
        self._clock = clock
        self._fd = -1
        self._looked = float("-inf")
        self._problem: OSError | None = None

    def ready(self) -> None:
        """See `Outlet`."""
        now = self._clock()
        if now - self._looked >= LOOK_EVERY_S:
            self._looked = now
            self._problem = None
            try:
                self._look()
            except OSError as error:
                self._problem = error
        if self._problem is not None:
            raise self._problem

    def write(self, data: memoryview) -> int:
        """See `Outlet`."""
        return os.write(self._fd, data)

    def close(self) -> None:
        """See `Outlet`."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _look(self) -> None:
        if self._fd >= 0 and not self._moved():
            return
        # Without O_NONBLOCK, opening a FIFO that nobody reads would never end.
        fd = os.open(self._path, _FLAGS, MODE)
        os.set_blocking(fd, True)
        self.close()
        self._fd = fd
        self.chunk = _chunk_of(fd)

    def _moved(self) -> bool:
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(self._fd))


def _chunk_of(fd: int) -> int:
    """A regular file never tears an O_APPEND write; for anything else keep to what a pipe guarantees."""
    return FILE_CHUNK if stat.S_ISREG(os.fstat(fd).st_mode) else select.PIPE_BUF
