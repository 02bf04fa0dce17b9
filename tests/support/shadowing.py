"""A worker whose requests are copied, and somebody who listens to what it tells the comparer."""

from __future__ import annotations

import socket
import struct
import threading
import uuid
from dataclasses import replace
from typing import Any, Self

import msgspec

from proxy.core.route import Copying, Match, Route, Shadow, Sticky
from proxy.core.snapshot import Snapshot
from proxy.ipc.pairs import Pair, Wanted
from tests.support.origins import Origin
from tests.support.story import Story, WatchedWorker
from tests.support.wire import DEADLINE_S, Address
from tests.support.worker import a_snapshot

_LENGTH = struct.Struct(">I")
MARK = b"x-turnout-shadow"


def shadow_snapshot(old: Origin | Address, new: Origin | Address, *, percent: float = 100.0,
                    methods: tuple[str, ...] = ("GET", "HEAD"), to: str = "new", weight: float = 0.0,
                    comparer: str = "", sticky: Sticky | None = None, revision: int = 1,
                    timeouts: dict[str, Any] | None = None, **copying: Any) -> Snapshot:
    """One route `all`, answered by `old` (and `weight` percent by `new`), whose copies go to the version `to`."""
    route = Route("all", Match(), (("old", 100.0 - weight), ("new", weight)), "old", sticky=sticky,
                  shadow=Shadow(to, percent, methods), copying=Copying(**copying))
    snapshot = a_snapshot(old, new=(new,), routes=(route,), timeouts=timeouts, revision=revision)
    return replace(snapshot, comparer=comparer)


def shadowed(story: Story, old: Origin | Address, new: Origin | Address, **options: Any) -> WatchedWorker:
    """A worker with such a snapshot."""
    return story.serving(shadow_snapshot(old, new, **options))


class Listener:
    """Listens where workers send their pairs, and keeps them."""

    def __init__(self) -> None:
        self.address = f"turnout-test-{uuid.uuid4().hex}"
        self.pairs: list[Pair] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind("\0" + self.address)
        self._listening.listen(8)
        self._changed = threading.Condition()
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def wait(self, count: int) -> list[Pair]:
        """The first `count` pairs, as soon as they are there."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.pairs) >= count, DEADLINE_S), f"only {len(self.pairs)} came"
        return self.pairs[:count]

    def wait_for_worker(self) -> None:
        """Wait until a worker has connected."""
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self._connections), DEADLINE_S), "nobody connects"

    def say(self, data: bytes) -> None:
        """Send bytes to every worker."""
        for connection in self._connections:
            connection.sendall(data)

    def want(self, *routes: str) -> None:
        """Ask for the requests of these routes."""
        body = msgspec.msgpack.encode(Wanted(routes))
        self.say(_LENGTH.pack(len(body)) + body)

    def close(self) -> None:
        for sock in (self._listening, *self._connections):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass    # its peer is gone
            sock.close()
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._read, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()
            with self._changed:
                self._connections.append(sock)
                self._changed.notify_all()

    def _read(self, sock: socket.socket) -> None:
        decode = msgspec.msgpack.Decoder(Pair).decode
        with sock.makefile("rb") as stream:
            while head := stream.read(_LENGTH.size):
                pair = decode(stream.read(_LENGTH.unpack(head)[0]))
                with self._changed:
                    self.pairs.append(pair)
                    self._changed.notify_all()
