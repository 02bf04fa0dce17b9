"""A file that is written line by line and never grows beyond a bound: FILE, then FILE.1, FILE.2, …, the newest first.

Invariant: only its owner can read it (it holds traffic), and every line in it is whole unless the disk was full.
"""

from __future__ import annotations

import os
from typing import BinaryIO, Self


class RotatedFile:
    """Appends to `path`; a line that would make it larger than `max_size` bytes begins a new one, and `keep` old ones
    stay. Opening raises OSError, and so do `write` and leaving.
    """

    def __init__(self, path: str, max_size: int, keep: int) -> None:
        self.path = path
        self.lines = 0
        self.bytes = 0
        """What was written here, in all files."""
        self._max_size = max_size
        self._keep = keep
        self._file, self._size = self._open()

    def write(self, line: bytes) -> None:
        """Add a line; its end is added."""
        if self._size and self._size + len(line) + 1 > self._max_size:
            self._file.close()
            self._turn()
            self._file, self._size = self._open()
        self._file.write(line + b"\n")
        self._size += len(line) + 1
        self.lines += 1
        self.bytes += len(line) + 1

    def flush(self) -> None:
        """Let whoever reads the file see what was written."""
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _open(self) -> tuple[BinaryIO, int]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o600)
        os.fchmod(descriptor, 0o600)        # one that was there before
        file = os.fdopen(descriptor, "ab")
        return file, os.fstat(descriptor).st_size

    def _turn(self) -> None:
        if not self._keep:
            os.unlink(self.path)
            return
        names = [self.path, *(f"{self.path}.{number}" for number in range(1, self._keep + 1))]
        for older, newer in reversed(list(zip(names[1:], names, strict=False))):
            if os.path.lexists(newer):
                os.replace(newer, older)
