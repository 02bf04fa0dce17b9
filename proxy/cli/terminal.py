"""The terminal that a program was started from, and whether it has gone: SIGHUP means two things.

A daemon is told by it to read its file again. A program in the foreground of a terminal is told by it that the window
was closed or the connection lost; who goes on then is a proxy that nobody sees, with a port that nobody gets back.

Invariant: only a program that is in the foreground, and was not told to ignore SIGHUP (nohup), ever takes it for that;
and only at the moment at which the terminal goes: one that outlived its terminal (`disown`) reloads as a daemon does.
"""

from __future__ import annotations

import asyncio
import os
import signal

_LOOK_EVERY_S = 1.0
_TERMINAL = "/dev/tty"


class Terminal:
    """That of this process; made before SIGHUP is handled."""

    def __init__(self) -> None:
        self._ours = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _in_foreground()

    def has_gone(self) -> bool:
        """Whether a SIGHUP that comes now says that the terminal has gone."""
        return self._ours and not _exists()

    async def watch(self) -> None:
        """Part from a terminal that has gone without a SIGHUP; returns when there is none any more."""
        missed = 0
        while self._ours:
            await asyncio.sleep(_LOOK_EVERY_S)
            missed = 0 if _exists() else missed + 1
            self._ours = missed < 2  # the signal may be under way at the first look


def _in_foreground() -> bool:
    try:
        terminal = os.open(_TERMINAL, os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _exists() -> bool:
    """Whether this session has a terminal: the kernel takes it away before it sends SIGHUP."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
