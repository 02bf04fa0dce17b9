"""`turnout shadow ROUTE record FILE`: pairs of answers, with their requests, as JSON lines.

Invariant: what is written is what Turnout sent, without secrets; whatever ends the recording, what was written stays,
and the person is told how much it is and how much was lost. Only its time and Ctrl-C end it well: where Turnout is
lost it is asked again, as after an upgrade, and what cannot go on says why.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
import threading
import time
from typing import Any

from proxy.cli import exits
from proxy.cli.changes import route_path
from proxy.cli.client import Refused, Unreachable, printable
from proxy.cli.shadow.rotation import RotatedFile
from proxy.cli.talk import Talk, fail, warn

MIB = 1024 * 1024
_EVERY_S = 0.5
_LOST = b'{"lost":'
_ENDED = b'{"ended":'
_WHY = {"off": "nothing of the route is compared any more", "forbidden": "the token is no longer good for it"}
"""What is said of a stream that Turnout ends for good; of others it is asked again."""
_BUSY = 503
_PAUSES_S = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Before each new attempt at a lost stream; the last one again and again. What passes meanwhile is not recorded."""


def record(
    talk: Talk, route: str, path: str, *, sample: float = 1.0, for_s: float | None = None, max_size: int = 64 * MIB,
    keep: int = 3,
) -> None:
    """Write what the API streams until `for_s` seconds are over, or Ctrl-C. Raises Unreachable and Refused."""
    began = time.monotonic()
    stream = _Stream(talk, f"{route_path(route)}/shadow/record?sample={sample:.9g}", for_s)
    progress, problem = None, None
    try:
        with RotatedFile(path, max_size, keep) as file:
            progress = _Progress(file, path)
            signal.signal(signal.SIGTERM, signal.default_int_handler)       # as Ctrl-C: what there is, is told
            problem = _write(stream, progress)
    except OSError as error:
        why = f"{path} cannot be written: {error.strerror or error}"
        if progress is None:
            warn(printable(f"turnout: {why}"))
            raise fail(exits.FAILED) from None
        problem = (why, exits.FAILED)
    _tell(talk, route, progress, time.monotonic() - began)
    if problem is not None:
        why, code = problem
        warn(printable(f"turnout: the recording ended early: {why}"))
        raise fail(code)


def _write(stream: _Stream, progress: _Progress) -> tuple[str, int] | None:
    """Write until it ends; returns why it ended too early, and the exit code for that. Raises OSError of the file, and
    Unreachable and Refused where it could not even begin: then no empty file stays.
    """
    try:
        return stream.read(progress)
    except KeyboardInterrupt:
        return None
    except Refused as error:
        if progress.was_heard:
            return error.detail, exits.of_status(error.status)
        raise
    finally:
        progress.end()
        if not progress.was_heard:
            progress.file.discard()


class _Stream:
    """The stream at a path of the API, over as many connections as it takes, for `for_s` seconds (None: no end)."""

    def __init__(self, talk: Talk, path: str, for_s: float | None) -> None:
        self._api = talk.api
        self._path = path
        self._until = None if for_s is None else time.monotonic() + for_s

    def read(self, progress: _Progress) -> tuple[str, int] | None:
        """See `_write`; Refused also later, when Turnout was lost and says no now."""
        pauses = iter(_PAUSES_S)
        while True:
            before, why = progress.file.lines, self._read_once(progress)
            if progress.ended in _WHY:
                return _WHY[progress.ended], exits.FAILED
            if not why and self._left_s() == 0:
                return None
            if not progress.is_lost:
                progress.lose(why or "the stream has ended")
            if progress.file.lines > before:
                pauses = iter(_PAUSES_S)
            pause_s, left_s = next(pauses, _PAUSES_S[-1]), self._left_s()
            threading.Event().wait(pause_s if left_s is None else min(pause_s, left_s))
            if self._left_s() == 0:
                return why or "Turnout did not come back", exits.UNREACHABLE

    def _read_once(self, progress: _Progress) -> str:
        """Take what one connection brings; returns why it broke off, empty for one that was ended."""
        try:
            for line in self._api.lines(self._path, self._left_s()):
                progress.take(line)
        except Unreachable as error:
            if not progress.was_heard:
                raise
            return str(error)
        except Refused as error:
            if not progress.was_heard or error.status != _BUSY:
                raise
            return error.detail
        return ""

    def _left_s(self) -> float | None:
        return None if self._until is None else max(0.0, self._until - time.monotonic())


class _Progress:
    """Writes lines, counts what was lost, and shows on a terminal how far it is.

    `was_heard`: whether Turnout has said anything; `ended`: why it ended the stream, if it said so; `is_lost`: whether
    it is looked for; `interruptions`: how often it was.
    """

    def __init__(self, file: RotatedFile, path: str) -> None:
        self.file = file
        self.path = path
        self.lost = 0
        self.was_heard = False
        self.is_lost = False
        self.ended = ""
        self.interruptions = 0
        self._shown_at = 0.0
        self._live = sys.stderr.isatty()

    def take(self, line: bytes) -> None:
        """One line of the stream: a pair, how many were lost, why it ends, or a heartbeat."""
        self.was_heard, self.is_lost = True, False
        if line.startswith(_LOST):
            self.lost += int(json.loads(line)["lost"])
        elif line.startswith(_ENDED):
            self.ended = str(json.loads(line)["ended"])
        elif line:
            self.file.write(line)
        now = time.monotonic()
        if now - self._shown_at >= _EVERY_S:
            self._shown_at = now
            self.file.flush()
            self._show("\r")

    def lose(self, why: str) -> None:
        """Turnout is gone, and looked for."""
        self.is_lost = True
        self.interruptions += 1
        self.file.flush()
        self.end()
        warn(printable(f"turnout: {why}; trying again"))

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
    answer: dict[str, Any] = {
        "route": route, "file": progress.path, "files": file.files, "requests": file.lines, "rotated_away": file.gone,
        "bytes": file.bytes, "lost": progress.lost, "interruptions": progress.interruptions, "took_s": round(took_s, 3)}
    lost = f" {progress.lost:,} more came faster than they could be read." if progress.lost else ""
    lines = [f"{progress.path}: {_requests(file.lines)}, {file.bytes / MIB:.1f} MiB.{lost}"]
    if file.gone:
        lines.append(f"The oldest {file.gone:,} were rotated away (--keep, --max-size): {file.lines - file.gone:,} are "
                     f"left.")
    if len(file.files) > 1:
        lines.append(f"They are in {len(file.files)} files, the oldest first: {', '.join(file.files)}.")
    if progress.interruptions:
        lines.append(f"Turnout was lost {progress.interruptions:,} times: what passed meanwhile is not in it.")
    lines.append(_next(route, progress))
    talk.show(answer, printable("\n".join(lines), keep="\n"))


def _next(route: str, progress: _Progress) -> str:
    files = [shlex.quote(name) for name in progress.file.files]
    if not files:
        return f"No request was compared meanwhile: `turnout shadow {route}` says what is copied."
    if len(files) == 1:
        return f"Next: `turnout replay {files[0]} --to URL` sends them again and compares."
    return f"Next: `cat {' '.join(files)} | turnout replay - --to URL` sends them again and compares."


def _requests(count: int) -> str:
    return f"{count:,} request{'' if count == 1 else 's'}"
