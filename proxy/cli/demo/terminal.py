"""Where the view goes: drawn in place on a terminal, a line per second anywhere else.

Invariant: drawing never waits for the reader. A terminal that was stopped (Ctrl-S) loses pictures; the traffic goes on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import structlog

from proxy.cli.demo.lines import line
from proxy.cli.demo.picture import View, picture
from proxy.cli.demo.style import Style
from proxy.telemetry import logs
from proxy.telemetry.sink import Sink

_SMALLEST = (80, 24)
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_HOME = "\x1b[H\x1b[J"
_TO_LINE_END, _TO_SCREEN_END = "\x1b[K", "\x1b[J"
_HELD = 64 * 1024
_FLUSH_S = 0.5


class Terminal:
    """The descriptor `fd` as a stage; `live` says whether pictures are drawn in place."""

    def __init__(self, fd: int, environ: Mapping[str, str]) -> None:
        is_tty = os.isatty(fd)
        self._fd = fd
        self._size = os.get_terminal_size(fd) if is_tty else os.terminal_size((0, 0))
        dumb = environ.get("TERM", "dumb") == "dumb"
        self.live = is_tty and not dumb and self._size.columns >= _SMALLEST[0] and self._size.lines >= _SMALLEST[1]
        self.style = Style(is_tty and not dumb and not environ.get("NO_COLOR"))
        self.every_s = 0.2 if self.live else 1.0
        self._drawn = 0
        self._sink = Sink(fd, "demo", _HELD)
        self._log_sink: Sink | None = None
        if self.live:
            structlog.configure(processors=[_drop])  # a log line would tear the picture, which says it, too
        else:
            self._log_sink = logs.configure()
            # What goes well is told in the demo's own words.
            structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

    def show(self, view: View) -> None:
        """Show one moment."""
        if self.live:
            self._draw(picture(view, self.style))
        else:
            self._write(line(view) + "\n")

    def say(self, text: str) -> None:
        """Say something that the picture shows anyway: only where there is no picture."""
        if not self.live:
            self._write(text + "\n")

    def close(self) -> None:
        """Leave the last picture where it is, and the cursor below it."""
        if self._drawn:
            self._write(_SHOW)
        for sink in (self._sink, self._log_sink):
            if sink is not None:
                sink.close(_FLUSH_S)

    def _draw(self, lines: list[str]) -> None:
        size = os.get_terminal_size(self._fd)
        start = f"\x1b[{self._drawn}A\r" if self._drawn else _HIDE
        if size != self._size:
            self._size, start = size, _HOME  # what was drawn has been wrapped anew: nothing is where it was
        self._drawn = len(lines)
        self._write(start + "".join(f"{text}{_TO_LINE_END}\n" for text in lines) + _TO_SCREEN_END)

    def _write(self, text: str) -> None:
        self._sink.write(text.encode("utf-8"))


def _drop(_logger: object, _method: str, _event: structlog.types.EventDict) -> structlog.types.EventDict:
    raise structlog.DropEvent
