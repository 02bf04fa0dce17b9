"""How the supervisor speaks: one event per line, JSON for machines, aligned and coloured on a terminal.

Invariant: no credential reaches a log. A value whose key says that it is one is replaced, and so are the password in
anything that looks like a URL and what follows `Bearer`. One event is one line, and what others wrote in it steers no
terminal. The worker side does not use this module (structlog takes 60 ms to import).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from proxy.telemetry.sink import Sink

_HIDDEN = "•••"
_CREDENTIAL = re.compile(r"token|secret|password|passwd|authorization|cookie|credential|api_?key", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/@\s]*@")
_BEARER = re.compile(r"\b(bearer\s+)[!-~]+", re.IGNORECASE)

Event = MutableMapping[str, Any]


def redact(_logger: object, _method: str, event: Event) -> Event:
    """Hide credentials in a log event, at any depth (a structlog processor)."""
    for key in event:
        event[key] = _HIDDEN if _CREDENTIAL.search(key) else _without_credentials(event[key])
    return event


def _without_credentials(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return _BEARER.sub(rf"\g<1>{_HIDDEN}", _USERINFO.sub(f"{_HIDDEN}@", value))
        case dict():
            return {
                key: _HIDDEN if _CREDENTIAL.search(str(key)) else _without_credentials(item)
                for key, item in value.items()
            }
        case list() | tuple():
            return [_without_credentials(item) for item in value]
        case _:
            return _without_credentials(repr(value))     # as which it would be written, too


def _harmless(_logger: object, _method: str, event: Event) -> Event:
    """Show what would steer a terminal instead of doing it (a structlog processor); tracebacks keep their lines."""
    for key, value in event.items():
        text = value if isinstance(value, str) else repr(value)     # repr() shows it already
        event[key] = text if text.isprintable() else "".join(map(_shown, text))
    return event


def _on_one_line(_logger: object, _method: str, line: str) -> str:
    """JSON in which also those controls are written as escapes that JSON lets stand: U+0085 and U+2028 end lines."""
    return line if line.isprintable() else "".join(map(_shown, line))


def _shown(letter: str) -> str:
    if letter.isprintable() or letter == "\n":
        return letter
    return json.dumps(letter)[1:-1] if ord(letter) > 0xFFFF else f"\\u{ord(letter):04x}"


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
    renderers: list[Any] = (
        [_harmless, structlog.dev.ConsoleRenderer()]
        if stream.isatty()
        else [structlog.processors.JSONRenderer(ensure_ascii=False), _on_one_line]
    )
    structlog.configure(
        processors=[
            structlog.processors.format_exc_info,       # before: what an exception says may hold a credential, too
            redact,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        logger_factory=lambda *_: _SinkLogger(sink),
        cache_logger_on_first_use=False,
    )
    return sink
