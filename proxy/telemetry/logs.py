"""How the supervisor speaks: one event per line, JSON for machines, aligned and coloured on a terminal.

Invariant: no credential reaches a log. A value whose key says that it is one is replaced, and so is the password in
anything that looks like a URL. The worker side does not use this module (structlog takes 60 ms to import).
"""

from __future__ import annotations

import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from proxy.telemetry.sink import Sink

_HIDDEN = "•••"
_CREDENTIAL = re.compile(r"token|secret|password|passwd|authorization|cookie|credential|api_?key", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/@\s]*@")

Event = MutableMapping[str, Any]


def redact(_logger: object, _method: str, event: Event) -> Event:
    """Hide credentials in a log event, at any depth (a structlog processor)."""
    for key in event:
        event[key] = _HIDDEN if _CREDENTIAL.search(key) else _without_credentials(event[key])
    return event


def _without_credentials(value: object) -> object:
    match value:
        case str():
            return _USERINFO.sub(f"{_HIDDEN}@", value)
        case dict():
            return {
                key: _HIDDEN if _CREDENTIAL.search(str(key)) else _without_credentials(item)
                for key, item in value.items()
            }
        case list() | tuple():
            return [_without_credentials(item) for item in value]
        case _:
            return value


class _SinkLogger:
    """What structlog writes to: the rendered line goes to a sink, which never waits."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def msg(self, message: str) -> None:
        """Write one rendered event."""
        self._sink.write(message.encode("utf-8", "backslashreplace") + b"\n")

    debug = info = warning = error = critical = exception = msg


def configure(stream: TextIO | None = None) -> Sink:
    """Send every structlog event to `stream` (stderr): readable when it is a terminal, JSON lines otherwise.

    Returns the sink in between; close it before the process leaves, or its last lines are lost.
    """
    stream = sys.stderr if stream is None else stream
    sink = Sink(stream.fileno(), "events")
    renderer: Any = (
        structlog.dev.ConsoleRenderer()
        if stream.isatty()
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            redact,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=lambda *_: _SinkLogger(sink),
        cache_logger_on_first_use=False,
    )
    return sink
