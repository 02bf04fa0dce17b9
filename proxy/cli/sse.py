"""Server-sent events, read line by line: the part of the WHATWG's EventSource that needs no network.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_MAX_MESSAGE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Message:
    """One event of a stream. `id`: the last one seen, empty before the first. `event`: `message` unless it says so."""

    id: str
    event: str
    data: str


def messages(lines: Iterable[bytes]) -> Iterator[Message]:
    """Yield the messages in these lines as they become whole; what is unfinished at the end is dropped.

    A heartbeat (a comment, `: …`) yields nothing. Raises ValueError for a message that is larger than any of Turnout's.
    """
    last_id, event, size = "", "", 0
    data: list[str] = []
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line:
            if data:
                yield Message(last_id, event or "message", "\n".join(data))
            event, data, size = "", [], 0
            continue
        size += len(raw)
        if size > _MAX_MESSAGE:
            raise ValueError("a message of more than 1 MiB")
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            event = value
        elif field == "id" and "\0" not in value:
            last_id = value
