"""`turnout shadow ROUTE record FILE`: pairs of answers, with their requests, as JSON lines.

Invariant: what is written is what Turnout sent, without secrets; whatever ends the recording, what was written stays,
and the person is told how much it is and how much was lost.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from contextlib import suppress
from typing import Any

from proxy.cli import exits
from proxy.cli.changes import route_path
from proxy.cli.client import printable
from proxy.cli.shadow.rotation import RotatedFile
from proxy.cli.talk import Talk, fail, warn

MIB = 1024 * 1024
_EVERY_S = 0.5
_LOST = b'{"lost":'


def record(
    talk: Talk, route: str, path: str, *, sample: float = 1.0, for_s: float | None = None, max_size: int = 64 * MIB,
    keep: int = 3,
) -> None:
    """Write what the API streams until it ends, `for_s` seconds are over, or Ctrl-C. Raises Unreachable and Refused."""
    began = time.monotonic()
    try:
        with RotatedFile(path, max_size, keep) as file:
            progress = _Progress(file, path)
            signal.signal(signal.SIGTERM, signal.default_int_handler)       # as Ctrl-C: what there is, is told
            try:
                with suppress(KeyboardInterrupt):
                    for line in talk.api.lines(f"{route_path(route)}/shadow/record?sample={sample:.9g}", for_s):
                        progress.take(line)
            finally:
                progress.end()
                file.flush()
    except OSError as error:
        warn(printable(f"turnout: {path} cannot be written: {error.strerror or error}"))
        raise fail(exits.FAILED) from None
    _tell(talk, route, progress, time.monotonic() - began)


class _Progress:
    """Writes lines, counts what was lost, and shows on a terminal how far it is."""

    def __init__(self, file: RotatedFile, path: str) -> None:
        self.file = file
        self.path = path
        self.lost = 0
        self._shown_at = 0.0
        self._live = sys.stderr.isatty()

    def take(self, line: bytes) -> None:
        """One line of the stream: a pair, how many were lost, or a heartbeat."""
        if line.startswith(_LOST):
            self.lost += int(json.loads(line)["lost"])
        elif line:
            self.file.write(line)
        now = time.monotonic()
        if now - self._shown_at >= _EVERY_S:
            self._shown_at = now
            self.file.flush()
            self._show("\r")

    def end(self) -> None:
        """Leave the terminal's line."""
        if self._live:
            sys.stderr.write("\r\x1b[K")

    def _show(self, start: str) -> None:
        if self._live:
            lost = f", {self.lost:,} lost" if self.lost else ""
            sys.stderr.write(f"{start}{_requests(self.file.lines)}, {self.file.bytes / MIB:.1f} MiB{lost}; "
                             "Ctrl-C ends it\x1b[K")
            sys.stderr.flush()


def _tell(talk: Talk, route: str, progress: _Progress, took_s: float) -> None:
    file = progress.file
    answer: dict[str, Any] = {"route": route, "file": progress.path, "requests": file.lines, "bytes": file.bytes,
                              "lost": progress.lost, "took_s": round(took_s, 3)}
    lost = f" {progress.lost:,} more came faster than they could be read." if progress.lost else ""
    lines = [f"{progress.path}: {_requests(file.lines)}, {file.bytes / MIB:.1f} MiB.{lost}"]
    if file.lines:
        lines.append(f"Next: `turnout replay {progress.path} --to URL` sends them again and compares.")
    else:
        lines.append(f"No request was compared meanwhile: `turnout shadow {route}` says what is copied.")
    talk.show(answer, printable("\n".join(lines), keep="\n"))


def _requests(count: int) -> str:
    return f"{count:,} request{'' if count == 1 else 's'}"
