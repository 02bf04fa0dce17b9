"""A file that is written line by line and never grows beyond a bound: FILE, then FILE.1, FILE.2, …, the newest first.

Invariants: only its owner can read it (it holds traffic), and it is a regular file: nobody's device or pipe is changed
or renamed. Every line in it is whole, also when the disk is full; only a file that could not even be cut holds a half
one, and the next who writes to it begins a line of their own.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from contextlib import suppress
from typing import Self

_HELD = 256 * 1024
"""Bytes that wait for `flush` before they are written all the same."""
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Not to wait is for pipes, which would have an opener wait for a reader; of a regular file it means nothing."""


class RotatedFile:
    """Appends to `path`; a line that would make it larger than `max_size` bytes begins a new one, and `keep` old ones
    stay. Opening raises OSError, and so do `write`, `flush` and leaving.

    `lines`, `bytes`: what was written here, in all files; `gone`: lines of these that were in files that did not stay.
    """

    def __init__(self, path: str, max_size: int, keep: int) -> None:
        self.path = path
        self.lines = 0
        self.bytes = 0
        self.gone = 0
        self._max_size = max_size
        self._keep = keep
        self._written: deque[int] = deque([0])      # lines in each file, the newest first
        self._held: list[bytes] = []
        self._held_size = 0
        self._is_new = False
        self._file = -1
        self._size = 0
        self._open()

    @property
    def files(self) -> list[str]:
        """Those that hold what was written here, the oldest first."""
        named = [self.path, *(f"{self.path}.{number}" for number in range(1, len(self._written)))]
        return [name for name, lines in zip(named, self._written, strict=True) if lines][::-1]

    def write(self, line: bytes) -> None:
        """Add a line; its end is added."""
        size = self._size + self._held_size
        if size and size + len(line) + 1 > self._max_size:
            self.flush()
            self._turn()
        self._held += (line, b"\n")
        self._held_size += len(line) + 1
        if self._held_size >= _HELD:
            self.flush()

    def flush(self) -> None:
        """Let whoever reads the file see what was written. After an OSError the file ends with the last whole line."""
        data, self._held, self._held_size = b"".join(self._held), [], 0
        done = 0
        try:
            while done < len(data):
                done += os.write(self._file, memoryview(data)[done:])
        except OSError:
            whole = data.rfind(b"\n", 0, done) + 1
            with suppress(OSError):
                os.ftruncate(self._file, self._size + whole)
            self._count(data[:whole])
            raise
        self._count(data)

    def discard(self) -> None:
        """Nothing will be written: leave no trace, if there was none."""
        if self._is_new and not self._size and not self._held:
            with suppress(OSError):
                os.unlink(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.flush()
        finally:
            self._close()

    def _count(self, written: bytes) -> None:
        lines = written.count(b"\n")
        self._size += len(written)
        self.bytes += len(written)
        self.lines += lines
        self._written[0] += lines

    def _open(self) -> None:
        _must_be_regular(os.lstat(self.path) if os.path.lexists(self.path) else None)
        try:
            self._file = os.open(self.path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
            self._is_new = True
        except FileExistsError:
            self._file = os.open(self.path, _FLAGS)
        try:
            found = os.fstat(self._file)
            _must_be_regular(found)
            os.fchmod(self._file, 0o600)        # one that was there before
            self._size = found.st_size
            if found.st_size and os.pread(self._file, 1, found.st_size - 1) != b"\n":
                self._size += os.write(self._file, b"\n")       # after half a line, whoever wrote it
        except OSError:
            self._close()
            raise

    def _close(self) -> None:
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)

    def _turn(self) -> None:
        self._close()
        names = [self.path, *(f"{self.path}.{number}" for number in range(1, self._keep + 1))]
        if not self._keep:
            os.unlink(self.path)
        for older, newer in reversed(list(zip(names[1:], names, strict=False))):
            if os.path.lexists(newer):
                os.replace(newer, older)
        self._written.appendleft(0)
        if len(self._written) > self._keep + 1:
            self.gone += self._written.pop()
        self._open()


def _must_be_regular(found: os.stat_result | None) -> None:
    if found is not None and not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
        kind = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        raise OSError(errno.EINVAL, f"it is {kind.get(stat.S_IFMT(found.st_mode), 'a device')} and not a regular file")
