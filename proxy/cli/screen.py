"""A picture that is drawn again and again: in place on a terminal, one after the other anywhere else.

Invariant: nothing is erased before it is drawn over, so nothing flickers; what does not fit is cut, so nothing scrolls;
and the terminal is given back as it was, with the last picture on it.
"""

from __future__ import annotations

import os
from typing import Self, TextIO

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"
"""The alternate screen, without cursor and without wrapping; and back."""
_HOME, _TO_LINE_END, _TO_SCREEN_END = "\x1b[H", "\x1b[K", "\x1b[J"


class Screen:
    """Draws on `stream` while the block is entered."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._last = ""

    def __enter__(self) -> Self:
        if self._live:
            self._write(_ENTER)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._write(f"{_LEAVE}{self._last}\n" if self._last else _LEAVE)

    def draw(self, text: str) -> None:
        """Show this text instead of the one before."""
        self._last = text
        if not self._live:
            self._write(text + "\n\n")
            return
        height = os.get_terminal_size(self._stream.fileno()).lines or None  # 0: it does not know
        lines = text.split("\n")[:height]
        self._write(_HOME + "\n".join(f"{line}{_TO_LINE_END}" for line in lines) + _TO_SCREEN_END)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
