"""A request that is copied: what is sent in copies, what the client was answered, and what came of both.

The client's exchange tells it what passes, and never waits for it. Small bodies are collected and sent when they are
whole, larger ones of a known length are passed on as they come; those of unknown length are collected up to `max_body`.
So a shadow server never sees a part of a request that turns out to be too large. Invariants: what is held is reserved
in the route's budget first, and given back when the last copy and the client's answer have ended; nothing of the
client's connection is held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.dataplane.shadow.copy import Copy
from proxy.dataplane.shadow.evidence import Captured, pair_of

if TYPE_CHECKING:
    from proxy.core.balance import LeastInFlight
    from proxy.dataplane.servers import ServerPool
    from proxy.dataplane.shadow.shadows import RouteShadow
    from proxy.dataplane.site import Site
    from proxy.dataplane.worker import Worker
    from proxy.http1.request import Request

COLLECTED = 64 * 1024
"""Bodies of a known length up to this are sent when they are whole: a client that leaves in the middle of one leaves no
half request at the shadow."""


class Copied:
    """See the module. `is_sent`: whether the copies have been given all of the request."""

    __slots__ = ("_chunked", "_control", "_copies", "_copy", "_primary", "_reserved", "_streams", "_taken",
                 "_waits_for", "body", "bounds", "connect_s", "deadline", "head", "id", "is_sent", "keepalive_s",
                 "method", "responses", "shadow", "target", "worker")

    def __init__(self, shadow: RouteShadow, worker: Worker, site: Site, request: Request, name: bytes,
                 head: bytes) -> None:
        """`head`: the copy's, reserved together with a body of known length."""
        self.shadow = shadow
        self.worker = worker
        self.responses = site.responses
        self.bounds = site.chunk_bounds
        self.connect_s = site.timeouts.connect
        self.keepalive_s = site.timeouts.upstream_keepalive
        self.deadline = worker.now + shadow.plan.timeout_s
        self.method = request.method
        self.target = request.target
        self.id = name
        self.head = head
        length = request.length
        self.is_sent = length == 0
        self._chunked = length < 0
        self._streams = length > COLLECTED
        self._reserved = len(head) + max(0, length)
        self._taken = 0
        self.body: list[bytes] = []
        self._primary: Captured | None = Captured() if shadow.plan.capture else None
        self._copy: Copy | None = None
        self._control: Copy | None = None
        self._copies = 1 if shadow.control is None else 2
        self._waits_for = 1 + self._copies  # the client's answer, and the copies

    def begin(self) -> None:
        """Send what can be sent at once."""
        if self.is_sent or self._streams:
            self._start()

    def _start(self) -> None:
        if not self._streams:
            self.is_sent = True
        pieces = [self.head, *self.body]
        self._copy = copy = self._join(self.shadow.servers)
        if self.shadow.control is not None:
            self._control = control = self._join(self.shadow.control)
            control.start(pieces)
        copy.start(pieces)

    def _join(self, servers: LeastInFlight[ServerPool]) -> Copy:
        copy = Copy(self, servers)
        self.shadow.budget.copies[copy] = None
        return copy

    # ---- what the client sends

    def request_piece(self, data: bytes) -> None:
        """A piece of the request's body, framing included."""
        if self._streams:
            for copy in (self._control, self._copy):
                if copy is not None and not copy.ended:
                    copy.send(data)
            return
        if self._chunked:
            self._taken += len(data)
            if self._taken > self.shadow.plan.max_body:
                self._give_up("too_large")
                return
            if not self._reserve(len(data)):
                self._give_up("memory")
                return
        self.body.append(data)

    def request_done(self) -> None:
        """The request's body is whole."""
        if self._streams:
            self.is_sent = True
        elif self._copy is None and self._waits_for:
            self._start()

    def request_gone(self) -> None:
        """The rest of the request's body will never come: what has begun is broken off, so that nobody takes it for
        whole."""
        if not self.is_sent and self._waits_for:
            if self._copy is None:
                self._give_up("cut")
            else:
                self.break_off("cut")

    def _give_up(self, reason: str) -> None:
        """Nothing has been sent, and nothing will be."""
        self.body.clear()
        self._chunked = False
        self._streams = True                # what still comes goes nowhere
        self._primary = None
        self.shadow.budget.skip(reason)
        for _ in range(self._copies):
            self._end_one()

    def break_off(self, outcome: str) -> None:
        """End the copies where they are."""
        for copy in (self._copy, self._control):
            if copy is not None:
                copy.end(outcome)

    # ---- what the client is answered

    def answer_begun(self, status: int, head: bytes) -> None:
        """The head of the answer as the server sent it."""
        primary = self._primary
        if primary is not None:
            if not self._reserve(len(head)):
                self._incomparable("memory")
                return
            primary.status = status
            primary.head = head

    def answer_piece(self, data: bytes) -> None:
        """A piece of the answer's body, without transfer coding."""
        primary = self._primary
        if primary is not None and not self.keep(primary, data):
            primary.cut()

    def answer_done(self, version: str, took_s: float) -> None:
        """The answer is whole. `version` gave it: another than was chosen first, where it was tried again."""
        budget = self.shadow.budget
        budget.answered += 1
        budget.answered_s += took_s
        primary = self._primary
        if primary is not None:
            primary.took_s = took_s
            if version != self.shadow.version:
                self._incomparable("moved")
        self._end_one()

    def answer_gone(self) -> None:
        """No server's answer reached the client whole: there is nothing to compare with."""
        self.request_gone()
        if self._primary is not None:
            self._incomparable("no_answer")
        self._end_one()

    # ---- what the copies are answered

    def keep(self, captured: Captured | Copy, payload: bytes) -> bool:
        """Add a piece to what is kept of an answer; False where it would be too much."""
        if captured.kept + len(payload) > self.shadow.plan.capture or not self._reserve(len(payload)):
            return False
        captured.kept += len(payload)
        captured.pieces.append(payload)
        return True

    def ended(self, copy: Copy, outcome: str) -> None:
        """A copy has ended."""
        budget = self.shadow.budget
        budget.copies.pop(copy, None)
        if copy is self._copy:
            budget.count(outcome)
            if not copy.status:
                self._primary = None        # it is counted by its outcome
        self._end_one()

    # ---- the end

    def _reserve(self, size: int) -> bool:
        if self.shadow.budget.reserve(size):
            self._reserved += size
            return True
        return False

    def _incomparable(self, reason: str) -> None:
        self._primary = None
        self.shadow.budget.skip(reason)

    def _end_one(self) -> None:
        self._waits_for -= 1
        if self._waits_for:
            return
        self.shadow.budget.held -= self._reserved
        if self._primary is not None and self._copy is not None:
            control = self._control if self._control is not None and self._control.status else None
            if not self.shadow.line.send(pair_of(self, self._primary, self._copy, control)):
                self.shadow.budget.skip("comparer_busy")
        self.body.clear()
        self._copy = self._control = self._primary = None
