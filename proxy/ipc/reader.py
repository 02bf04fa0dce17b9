"""Reading the messages of one channel, with a memory: a snapshot mostly repeats the one before it.

A thousand routes take a millisecond to decode, and a change that is to be in force at once concerns one of them. So
parts whose bytes are those of the snapshot before are not decoded again. They are the very same objects then, which
makes finding out what has changed as cheap: the data plane compares by identity first.
"""

from __future__ import annotations

from operator import eq
from typing import Any

import msgspec

from proxy.core.route import Route, Version
from proxy.core.snapshot import Policy, Snapshot
from proxy.ipc.messages import Apply, Message, Other


class _Parts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `Snapshot` whose parts are still bytes: the same fields, so none of it can be lost on the way."""

    revision: int
    versions: msgspec.Raw
    routes: list[msgspec.Raw]
    policy: msgspec.Raw
    secret: bytes
    comparer: str
    drained: frozenset[tuple[str, str]]


class _Apply(msgspec.Struct, frozen=True, tag="apply", forbid_unknown_fields=True):
    snapshot: _Parts
    cut: tuple[tuple[str, str], ...] = ()


_message: msgspec.msgpack.Decoder[_Apply | Other] = msgspec.msgpack.Decoder(_Apply | Other)
_route = msgspec.msgpack.Decoder(Route).decode
_versions = msgspec.msgpack.Decoder(tuple[Version, ...]).decode
_policy = msgspec.msgpack.Decoder(Policy).decode


class Reader:
    """Decodes what `messages.encode` made. Keeps the bytes of one snapshot."""

    def __init__(self) -> None:
        self._known: tuple[_Parts, Snapshot] | None = None

    def read(self, payload: bytes) -> Message:
        """Return the message in `payload`. Raises msgspec.DecodeError (also its ValidationError) when it is none."""
        message = _message.decode(payload)
        if not isinstance(message, _Apply):
            return message
        snapshot = self._snapshot(message.snapshot)
        self._known = message.snapshot, snapshot
        return Apply(snapshot, message.cut)

    def _snapshot(self, parts: _Parts) -> Snapshot:
        fields: dict[str, Any] = msgspec.structs.asdict(parts)
        if self._known is None:
            return Snapshot(**fields | {"versions": _versions(parts.versions), "policy": _policy(parts.policy),
                                        "routes": tuple(map(_route, parts.routes))})
        known, before = self._known
        return Snapshot(**fields | {
            "versions": before.versions if parts.versions == known.versions else _versions(parts.versions),
            "policy": before.policy if parts.policy == known.policy else _policy(parts.policy),
            "routes": _routes(parts.routes, known.routes, before.routes)})


def _routes(raw: list[msgspec.Raw], known: list[msgspec.Raw], before: tuple[Route, ...]) -> tuple[Route, ...]:
    """The routes, those taken from before that stand at the same place in the same bytes."""
    routes = list(before[:len(raw)])
    for place, same in enumerate(map(eq, raw, known)):
        if not same:
            routes[place] = _route(raw[place])
    routes += map(_route, raw[len(known):])
    return tuple(routes)
