"""Log lines out of a process that must never wait for whoever reads them.

Invariant: `write` neither blocks nor raises, and holds at most `capacity` bytes; when those are full (the disk is slow,
the terminal stopped, the pipe's reader is stuck) the newest line is dropped and counted. One thread does the blocking
writes: making the descriptor non-blocking instead would make it so for every process that shares it.

Several processes may write to the same pipe: whole lines are written in pieces of at most PIPE_BUF bytes, which the
kernel does not interleave (POSIX write()). Only a single line above that can be torn.
"""

from __future__ import annotations

import os
import select
import stat
import threading
from collections import deque

from proxy.clock import monotonic

CAPACITY = 1024 * 1024
_FILE_CHUNK = 64 * 1024


class Sink:
    """Lines for the descriptor `fd`, which stays the caller's and must stay open until `close` has returned."""

    def __init__(self, fd: int, name: str, capacity: int = CAPACITY) -> None:
        self._fd = fd
        self._capacity = capacity
        # A regular file never tears an O_APPEND write; for anything else keep to what a pipe guarantees.
        self._chunk = _FILE_CHUNK if stat.S_ISREG(os.fstat(fd).st_mode) else select.PIPE_BUF
        self._lines: deque[bytes] = deque()
        self._held = 0
        self._closing = False
        self._changed = threading.Condition()
        self.dropped = 0
        # A daemon: a sink that is stuck for good must not keep the process from leaving.
        self._thread = threading.Thread(target=self._run, name=f"turnout-log-{name}", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> bool:
        """Queue one line, its line feed included; False when it was dropped (and counted in `dropped`)."""
        with self._changed:
            if self._closing or self._held + len(line) > self._capacity:
                self.dropped += 1
                return False
            self._lines.append(line)
            self._held += len(line)
            self._changed.notify()
            return True

    def close(self, within_s: float) -> None:
        """Write what is queued, but wait no longer than `within_s` seconds; what is left then is counted as dropped."""
        deadline = monotonic() + within_s
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(max(0.0, deadline - monotonic()))
        with self._changed:
            self.dropped += len(self._lines)
            self._lines.clear()

    def _run(self) -> None:
        while chunk := self._next_chunk():
            try:
                self._write_all(chunk)
            except OSError:  # the reader is gone or the disk is full: lines are lost, the process is not
                with self._changed:
                    self.dropped += chunk.count(b"\n")

    def _next_chunk(self) -> bytes:
        """Wait for lines and take as many as may be written at once; empty when closed and done."""
        with self._changed:
            while not self._lines:
                if self._closing:
                    return b""
                self._changed.wait()
            taken = [self._lines.popleft()]
            size = len(taken[0])
            while self._lines and size + len(self._lines[0]) <= self._chunk:
                size += len(self._lines[0])
                taken.append(self._lines.popleft())
            self._held -= size
            return b"".join(taken)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
