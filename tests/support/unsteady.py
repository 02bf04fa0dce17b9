"""A server that does what it is told, request by request: answer, refuse, fail, stay silent; and what is left then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from proxy.dataplane.fleet.fleet import Fleet
from proxy.dataplane.worker import Worker
from tests.support.origins import Origin, Peer, body_for, ok
from tests.support.story import WatchedWorker
from tests.support.strict import Message

Mood = str | int
"""`well`; a status: answered with it, and with a body; `slowly 503`: that in two pieces, `long 503`: with a body that
does not come at once; `close`, `reset`, `silent`, `garbage`; `half head`, `half body`: and then closed; `deaf`: closed
before anything was read; `early 503`: answered before the body was read; `hold`: well, as soon as `go_on` is called;
`begin`: well, but only half of it before."""


class Unsteady(Origin):
    """See the module. `mood`: of each request to come, or a function that says it. `heads`: of all requests that were
    read; `bodies`: of those that were read with theirs."""

    def __init__(self, mood: Mood | Callable[[bytes], Mood] = "well", name: bytes = b"", **options: Any) -> None:
        self.mood = mood
        self.name = name
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self._going_on = threading.Event()
        super().__init__(self._converse, **options)

    def go_on(self) -> None:
        """Answer what is held, and hold nothing from now on."""
        self.mood = "well"
        self._going_on.set()

    def close(self) -> None:
        self._going_on.set()
        super().close()

    def wait_heads(self, count: int) -> list[bytes]:
        """The first so many heads, as soon as they are there."""
        self.wait_until(lambda: len(self.heads) >= count)
        return self.heads[:count]

    def _mood(self, head: bytes) -> Mood:
        return self.mood(head) if callable(self.mood) else self.mood

    def _converse(self, peer: Peer) -> None:
        if self.mood == "deaf":
            return
        while head := peer.read_head():
            if not head.endswith(b"\r\n\r\n"):
                return
            mood = self._mood(head)
            self.heads.append(head)
            self.notify()
            if mood == "early 503":
                peer.send(answer(503, head, b"Connection: close\r\n"))
                peer.read_to_end()
                return
            peer.unread(head)
            message = peer.request()
            if message is None:
                return
            self.bodies.append(message.body)
            self.notify()
            if not self._behave(peer, mood, head, message):
                return

    def _behave(self, peer: Peer, mood: Mood, head: bytes, message: Message) -> bool:
        """Answer; whether the connection goes on."""
        if mood == "hold":
            self._going_on.wait(15)
            mood = "well"
        if mood == "well":
            peer.send(self.well(head, message))
        elif isinstance(mood, int):
            peer.send(answer(mood, head))
        elif mood == "slowly 503":
            whole = answer(503, head)
            peer.send(whole[:20])
            threading.Event().wait(0.005)       # so that it comes in two pieces
            peer.send(whole[20:])
        elif mood == "long 503":
            peer.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 100000\r\n\r\n" + bytes(1000))
            peer.read_to_end()
            return False
        elif mood == "begin":
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npart")
            self._going_on.wait(15)
            peer.send(b"rest")
        else:
            return self._fail(peer, mood)
        return True

    def _fail(self, peer: Peer, mood: Mood) -> bool:
        if mood == "reset":
            peer.reset()
        elif mood == "silent":
            peer.read_to_end()
        elif mood == "garbage":
            peer.send(b"\x15\x03\x01\x00\x02\x02\x46")
        elif mood == "half head":
            peer.send(b"HTTP/1.1 200 OK\r\nContent-")
        elif mood == "half body":
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
        else:
            assert mood == "close", mood
        return False

    def well(self, head: bytes, message: Message) -> bytes:
        """What it answers when it is well; tells whose answer that is, and to what."""
        if message.method == b"HEAD":
            return b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-By: %b\r\n\r\n" % self.name
        return ok(body_for(message.method, message.target, message.body), b"X-By: " + self.name)


class StepByStep(Unsteady):
    """Answers each request, well, when it is told to. `begun`: the heads that came, in their order."""

    def __init__(self, name: bytes = b"") -> None:
        self.begun: list[bytes] = []
        self._coming = threading.Lock()
        self._answers = [threading.Event() for _ in range(50)]
        super().__init__(name=name)

    def answer(self, number: int) -> None:
        """Answer the request that came as this one, from 0, or have it answered when it comes."""
        self._answers[number].set()

    def close(self) -> None:
        for event in self._answers:
            event.set()
        super().close()

    def wait_begun(self, count: int) -> None:
        """Wait until so many have come."""
        self.wait_until(lambda: len(self.begun) >= count)

    def _mood(self, head: bytes) -> Mood:
        with self._coming:
            self.begun.append(head)
            answered = self._answers[len(self.begun) - 1]
        self.notify()
        answered.wait(15)
        return "well"


def answer(status: int, head: bytes, fields: bytes = b"") -> bytes:
    """An answer with this status, and a body that no client is to see where another attempt is made."""
    body = b"" if head.startswith(b"HEAD") else b"not well"
    return b"HTTP/1.1 %d Whatever\r\nContent-Length: 8\r\n%b\r\n%b" % (status, fields, body)


def fleets(worker: WatchedWorker) -> list[Fleet]:
    """Every fleet that ever was."""
    return [*{id(fleet): fleet for site in worker.sites for fleet in site.fleets.values()}.values()]


def attempts(worker: WatchedWorker, route: str = "all") -> dict[tuple[str, str], int]:
    """How often which outcome was counted, by version and outcome."""
    worker.count("attempts_total")
    return {(key[2], key[3]): int(count) for key, count in worker.counted.items()
            if key[:2] == ("turnout_attempts_total", route)}


def assert_adds_up(worker: WatchedWorker) -> None:
    """Everything that was taken has been given back, and each attempt was counted once."""
    worker.wait_until(worker.is_quiet)

    def look(_: Worker) -> None:
        for fleet in fleets(worker):
            assert fleet.total_in_flight == 0, fleet.version
            assert not fleet.places.room, fleet.version
            assert not fleet.breaker._trials_out, "a trial of a version was not given back"
            assert not any(member.ejector._trying for member in fleet._members.values()), "a trial was not given back"
        for site in worker.sites:
            assert not any(guard.spilled for guard in site.guards.values())

    worker.call(look)
    taken = sum(fleet.taken for fleet in fleets(worker))
    counted = attempts(worker)
    assert sum(counted.values()) == taken, f"{taken} attempts, counted {counted}"
