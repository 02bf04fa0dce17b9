"""Log lines out of a process that must never wait for whoever reads them.

Invariant: `write` neither blocks nor raises, and holds at most `capacity` bytes; when those are full (the disk is slow,
the terminal stopped, the pipe's reader is stuck) the newest lines are dropped and counted, each of them. One thread
does the blocking writes: making the descriptor non-blocking instead would make it so for every process that shares it.

Several processes may write to the same pipe: whole lines are written in pieces of at most PIPE_BUF bytes, which the
kernel does not interleave (POSIX write()). Only a single line above that can be torn.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from proxy.clock import monotonic
from proxy.telemetry.outlet import LOOK_EVERY_S, Descriptor, LogFile, Outlet

CAPACITY = 1024 * 1024
_AT_ONCE = 256 * 1024


class Sink:
    """Lines for `target`: a descriptor, which stays the caller's (a duplicate of it is used), or a file's path.

    `dropped`: how many lines were lost so far. `failed`: the last attempt to write or to open did not succeed.
    """

    def __init__(self, target: int | str, name: str, capacity: int = CAPACITY) -> None:
        self._outlet: Outlet = Descriptor(target) if isinstance(target, int) else LogFile(target)
        self._capacity = capacity
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._held = 0
        self._in_hand = 0                  # lines that the thread has taken and not written yet
        self._ready = False
        self._torn = False                 # the last line written is not whole
        self._closing = False
        self._given_up = False             # `close` has counted what was left as dropped
        self._changed = threading.Condition()
        self.dropped = 0
        self.failed = False
        # A daemon: a sink that is stuck for good must not keep the process from leaving.
        self._thread = threading.Thread(target=self._run, name=f"turnout-log-{name}", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether it was closed and all that could be written is."""
        return not self._thread.is_alive()

    def write(self, line: bytes) -> bool:
        """Queue one line, its line feed included; False when it was dropped (and counted in `dropped`)."""
        return self.write_many(line, 1)

    def write_many(self, text: bytes, lines: int) -> bool:
        """Queue so many whole lines; they are dropped together when there is no room for them."""
        with self._changed:
            if self._closing or self._held + len(text) > self._capacity:
                self.dropped += lines
                return False
            self._waiting.append((text, lines))
            self._held += len(text)
            self._changed.notify()
            return True

    def retire(self) -> None:
        """Take no more lines; what is queued is written without anybody waiting for it."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def close(self, within_s: float) -> None:
        """Write what is queued, but wait no longer than `within_s` seconds; what is left then is counted as dropped."""
        deadline = monotonic() + within_s
        self.retire()
        self._thread.join(max(0.0, deadline - monotonic()))
        with self._changed:
            self._given_up = True
            self.dropped += sum(lines for _, lines in self._waiting) + self._in_hand
            self._waiting.clear()
            self._in_hand = 0

    def _run(self) -> None:
        self._prepare()
        while (text := self._take()) is not None:
            if not text:
                self._prepare()            # tried again even without lines: somebody watches `failed`
            for piece in self._pieces(text):
                if self._given_up:
                    break
                self._write_piece(piece)
        self._outlet.close()

    def _take(self) -> bytes | None:
        """Wait for lines and take as many as should be written at once.

        None when closed and done; empty when there were none for a while and something has failed.
        """
        with self._changed:
            while not self._waiting:
                if self._closing:
                    return None
                if not self._changed.wait(LOOK_EVERY_S if self.failed else None):
                    return b""
            taken: list[bytes] = []
            size = 0
            while self._waiting and (not taken or size + len(self._waiting[0][0]) <= _AT_ONCE):
                text, lines = self._waiting.popleft()
                taken.append(text)
                size += len(text)
                self._in_hand += lines
            self._held -= size
            return b"".join(taken)

    def _prepare(self) -> None:
        try:
            self._outlet.ready()
        except OSError:
            self._ready = False
            self.failed = True
        else:
            if not self._ready:
                self._ready = True
                self.failed = False

    def _pieces(self, text: bytes) -> Iterator[bytes]:
        """Whole lines, as many as can be written without being torn; a single longer one alone."""
        start = 0
        while start < len(text):
            self._prepare()
            end = start + self._outlet.chunk
            if end < len(text):
                end = text.rfind(b"\n", start, end) + 1 or text.find(b"\n", end) + 1 or len(text)
            yield text[start:end]
            start = end

    def _write_piece(self, piece: bytes) -> None:
        rest = memoryview(b"\n" + piece if self._torn else piece)
        lines = piece.count(b"\n")
        try:
            while rest and self._ready:
                rest = rest[self._outlet.write(rest):]
                self._torn = bool(rest)
                self.failed = False
        except OSError:  # the reader is gone or the disk is full: lines are lost, the process is not
            self.failed = True
        with self._changed:
            if self._in_hand:              # else `close` has given up on them already
                self._in_hand -= lines
                self.dropped += min(lines, bytes(rest).count(b"\n"))
