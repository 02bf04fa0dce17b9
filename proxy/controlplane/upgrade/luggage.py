"""What a successor is told besides sockets and sums: the state, and what a process without `state_dir` has in memory.

Invariant: what this release packs it can unpack. Of another release it takes what it can read; a state that it cannot
read is refused, since going on with another one would move traffic that nobody asked to be moved.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from proxy.controlplane.errors import StartError
from proxy.controlplane.events import Event
from proxy.controlplane.journal.older_states import without_compare
from proxy.controlplane.journal.state_codec import CodecError, decode_route, encode_route
from proxy.core.state import State

MOST_EVENTS = 1000
"""The newest ones, of a journal in memory; one in `state_dir` is opened by the successor itself."""


@dataclass(frozen=True, slots=True)
class Luggage:
    """`state_dir`: where the predecessor's journal is, None for memory; then `events` come along, oldest first.

    `secret`: what was made to sign session cookies by where the file has none, empty if there was no need yet. `author`
    and `reason` are of whoever asked for the upgrade.
    """

    state: State
    state_dir: str | None
    secret: bytes
    events: tuple[Event, ...] = ()
    author: str = ""
    reason: str = ""


def pack(luggage: Luggage) -> dict[str, Any]:
    """Return it as JSON values."""
    return {
        "revision": luggage.state.revision,
        "routes": {name: encode_route(held) for name, held in luggage.state.routes.items()},
        "drained": sorted(luggage.state.drained),
        "state_dir": luggage.state_dir,
        "secret": base64.b64encode(luggage.secret).decode(),
        "events": msgspec.to_builtins(luggage.events),
        "author": luggage.author,
        "reason": luggage.reason,
    }


def unpack(packed: Mapping[str, Any]) -> Luggage:
    """Raises StartError when it cannot be read."""
    try:
        routes = {name: decode_route(without_compare(text)) for name, text in packed["routes"].items()}
        drained = frozenset((str(version), str(server)) for version, server in packed.get("drained", ()))
        state = State(int(packed["revision"]), routes, drained)
        secret = base64.b64decode(packed["secret"])
    except (CodecError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise StartError(
            f"this release cannot take over the state of the one that runs ({error}): "
            "stop that one, then start this one"
        ) from error
    return Luggage(
        state, packed.get("state_dir"), secret, tuple(_readable(packed.get("events", ()))),
        str(packed.get("author", "")), str(packed.get("reason", "")),
    )


def _readable(events: Iterable[Any]) -> Iterable[Event]:
    for event in events:
        try:
            yield msgspec.convert(event, Event)
        except msgspec.ValidationError:
            continue
