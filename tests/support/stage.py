"""A worker before one origin that plays several parts, by target: for hostile tests.

`/evil/NAME` is answered as the test says, everything else as a strict origin does. After every hostile case `clean`
asks on a new connection, through the same pool of server connections, and must get exactly its own answer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Self

from tests.support.origins import Origin, Peer, body_for, ok
from tests.support.strict import Message
from tests.support.wire import Wire
from tests.support.worker import RunningWorker, a_snapshot

Play = bytes | Callable[[Peer, Message], None]
"""What an evil target is answered: these bytes, or whatever this does; returning keeps the connection."""


class Stage:
    """See the module. `requests` are all the origin got whole; anything ambiguous fails the test at `close`."""

    def __init__(self, *, limits: dict[str, Any] | None = None, timeouts: dict[str, Any] | None = None) -> None:
        self.evil: dict[bytes, Play] = {}
        self.requests: list[Message] = []
        self.leftovers: list[bytes] = []
        self.origin = Origin(self._converse)
        self.worker = RunningWorker(a_snapshot(self.origin, limits=limits, timeouts=timeouts))
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.worker.close()
        finally:
            self.origin.close()

    def connect(self) -> Wire:
        return self.worker.connect()

    def play(self, name: bytes, part: Play) -> bytes:
        """Let `/evil/name` be answered like this; returns the target."""
        self.evil[b"/evil/" + name] = part
        return b"/evil/" + name

    def ask(self, target: bytes, *fields: bytes, method: bytes = b"GET") -> Message:
        with self.connect() as wire:
            return wire.ask(a_request(target, *fields, method=method), method)

    def clean(self) -> None:
        """A clean request on a new connection gets exactly its own answer, and is the next that the origin gets."""
        target = b"/clean/%d" % next(self._numbers)
        before = len(self.requests)
        with self.connect() as wire:
            for method, body in ((b"GET", b""), (b"POST", b"body")):
                message = wire.ask(a_request(target, method=method, body=body), method)
                assert (message.status, message.body) == (200, body_for(method, target, body))
        seen = [message.target for message in self.requests[before:]]
        assert seen == [target, target], f"the origin got something else as well: {seen}"

    def targets(self) -> list[bytes]:
        return [message.target for message in self.requests]

    def _converse(self, peer: Peer) -> None:
        while (message := peer.request()) is not None:
            self.requests.append(message)
            self.origin.notify()
            part = self.evil.get(message.target)
            if part is None:
                body = body_for(message.method, message.target, message.body)
                peer.send(ok(body) if message.method != b"HEAD" else ok(body)[:-len(body)])
            elif isinstance(part, bytes):
                peer.send(part)
            else:
                part(peer, message)
        if peer.leftover:
            self.leftovers.append(peer.leftover)


def a_request(target: bytes, *fields: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    """A plain request; with a body, its length."""
    length = [b"Content-Length: %d" % len(body)] if body else []
    return b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"Host: a.example", *fields, *length, b"", body])
