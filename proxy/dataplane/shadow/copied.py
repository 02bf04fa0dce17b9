"""A request that is copied: what is sent in copies, what the client was answered, and what came of both.

The client's exchange tells it what passes, and never waits for it. Small bodies are collected and sent when they are
whole, larger ones of a known length are passed on as they come; those of unknown length are collected up to `max_body`.
So a shadow server never sees a part of a request that turns out to be too large. Invariants: what is held is reserved
in the route's budget first, and given back when nobody needs it any more: no copy runs, and there is nothing to tell or
it has been told; nothing of the client's connection is held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.dataplane.shadow.copy import Copy
from proxy.dataplane.shadow.evidence import Captured, pair_of
from proxy.http1.request import CHUNKED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.core.balance import LeastInFlight
    from proxy.dataplane.servers import ServerPool
    from proxy.dataplane.shadow.shadows import RouteShadow
    from proxy.dataplane.site import Site
    from proxy.dataplane.worker import Worker
    from proxy.http1.request import Request
    from proxy.ipc.pairs import Pair

COLLECTED = 64 * 1024
"""Bodies of a known length up to this are sent when they are whole: a client that leaves in the middle of one leaves no
half request at the shadow."""
PIECE = 64
"""What a piece of a body takes beside its bytes: what comes in thousands of tiny ones is mostly that."""


class Copied:
    """See the module. `is_sent`: whether the copies have been given all of the request. `is_streamed`: whether its body
    is passed on as it comes, and nothing of it kept."""

    __slots__ = ("_control", "_control_head", "_control_servers", "_copies", "_copy", "_is_answered", "_is_beyond",
                 "_primary", "_reserved", "_taken", "_telling", "body", "bounds", "connect_s", "head", "id",
                 "is_chunked", "is_sent", "is_streamed", "keepalive_s", "method", "shadow", "target", "worker")

    def __init__(self, shadow: RouteShadow, worker: Worker, site: Site, request: Request, name: bytes,
                 head: bytes) -> None:
        """`head`: as the control gets it, reserved together with a body of known length."""
        self.shadow = shadow
        self.worker = worker
        self.bounds = site.chunk_bounds
        self.connect_s = site.timeouts.connect
        self.keepalive_s = site.timeouts.upstream_keepalive
        self.method = request.method
        self.target = request.target
        self.id = name
        self.head = shadow.plan.shadow_head(head)
        length = request.length
        self.is_sent = length == 0
        self.is_chunked = length == CHUNKED
        self.is_streamed = length > COLLECTED
        self._reserved = len(head) + max(0, length)
        self._taken = 0
        self.body: list[bytes] = []
        self._primary: Captured | None = Captured() if shadow.plan.capture and shadow.budget.picks() else None
        self._copy: Copy | None = None
        self._control: Copy | None = None
        # What is not compared needs no control.
        self._control_servers = shadow.control if self._primary is not None else None
        self._control_head = head if self._control_servers is not None else b""
        self._copies = 1 if self._control_servers is None else 2        # that have not ended
        self._is_answered = False
        self._telling: Iterator[Pair | None] | None = None
        # An edited head is another one: beside the control's where there is a control, else in its place.
        more = len(self.head) - (0 if self._control_head else len(head))
        self._is_beyond = self.head is not head and more > 0 and not self.reserve(more)

    def begin(self) -> None:
        """Send what can be sent at once."""
        if self._is_beyond:
            self._give_up("memory")
        elif self.is_sent or self.is_streamed:
            self._start()

    def _start(self) -> None:
        if full := self.shadow.budget.why_full(self._copies):       # others have begun since this one was wanted
            self._give_up(full)
            return
        if not self.is_streamed:
            self.is_sent = True
        self._copy = copy = self._join(self.shadow.servers)
        if self._control_servers is not None:
            self._control = control = self._join(self._control_servers)
            control.start([self._control_head, *self.body])
        copy.start([self.head, *self.body])

    def _join(self, servers: LeastInFlight[ServerPool]) -> Copy:
        copy = Copy(self, servers)
        self.shadow.budget.copies[copy] = None
        return copy

    # ---- what the client sends

    def request_piece(self, data: bytes) -> None:
        """A piece of the request's body, framing included."""
        if not self._copies:
            return
        self._taken += len(data)
        if self.is_chunked and self._taken > self.shadow.plan.max_body:
            self._give_up("too_large")
        elif not self.reserve(PIECE + (len(data) if self.is_chunked else 0)):
            self._break("memory")
        elif self.is_streamed:
            for copy in (self._control, self._copy):
                if copy is not None and not copy.ended:
                    copy.send(data)
        else:
            self.body.append(data)

    def request_done(self) -> None:
        """The request's body is whole."""
        if self.is_streamed:
            self.is_sent = True
        elif self._copy is None and self._copies:
            self._start()

    def request_gone(self) -> None:
        """The rest of the request's body will never come: what has begun is broken off, so that nobody takes it for
        whole."""
        if not self.is_sent and self._copies:
            self._break("cut")

    def _break(self, reason: str) -> None:
        if self._copy is None:
            self._give_up(reason)
            return
        for copy in (self._copy, self._control):
            if copy is not None:
                copy.end(reason)

    def _give_up(self, reason: str) -> None:
        """Nothing has been sent, and nothing will be."""
        self._copies = 0
        self._primary = None
        self.shadow.budget.skip(reason)
        self._settle()

    # ---- what the client is answered

    def answer_begun(self, status: int, head: bytes) -> None:
        """The head of the answer as the server sent it."""
        primary = self._primary
        if primary is not None:
            if not self.reserve(len(head)):
                self._incomparable("memory")
                return
            primary.status = status
            primary.head = head

    def answer_piece(self, data: bytes) -> None:
        """A piece of the answer's body, without transfer coding."""
        if self._primary is not None:
            self.keep(self._primary, data)

    def answer_done(self, version: str, took_s: float) -> None:
        """The answer is whole. `version` gave it: another than was chosen first, where it was tried again."""
        self.request_gone()     # an early answer: nobody sends the rest
        budget = self.shadow.budget
        budget.answered += 1
        budget.answered_s += took_s
        primary = self._primary
        if primary is not None:
            primary.took_s = took_s
            if version != self.shadow.version:
                self._incomparable("moved")
        self._is_answered = True
        self._settle()

    def answer_gone(self) -> None:
        """No server's answer reached the client whole: there is nothing to compare with."""
        self.request_gone()
        if self._primary is not None:
            self._incomparable("no_answer")
        self._is_answered = True
        self._settle()

    # ---- what the copies are answered

    def keep(self, captured: Captured | Copy, payload: bytes) -> None:
        """Add a piece to what is kept of an answer. Where it would be too much, nothing of it is worth keeping."""
        if not captured.whole or not payload:
            return
        if captured.kept + len(payload) <= self.shadow.plan.capture and self.reserve(PIECE + len(payload)):
            captured.kept += len(payload)
            captured.pieces.append(payload)
            return
        captured.whole = False
        self.give_back(captured.kept + PIECE * len(captured.pieces))
        captured.pieces.clear()

    def ended(self, copy: Copy, outcome: str) -> None:
        """A copy has ended."""
        budget = self.shadow.budget
        budget.copies.pop(copy, None)
        if copy is self._copy:
            budget.count(outcome)
            if not (copy.status or copy.failure):
                self._primary = None        # it is counted by its outcome
        self._copies -= 1
        self._settle()

    # ---- the end

    def reserve(self, size: int) -> bool:
        """Take so many bytes more; False where they are not there."""
        if self.shadow.budget.reserve(size):
            self._reserved += size
            return True
        return False

    def give_back(self, size: int) -> None:
        """So many of them are not needed any more."""
        self.shadow.budget.held -= size
        self._reserved -= size

    def _incomparable(self, reason: str) -> None:
        self._primary = None
        self.shadow.budget.skip(reason)
        self._settle()

    def _settle(self) -> None:
        """Let go of everything when the copies have ended, and tell what came of them when the client's answer has."""
        if self._copies:
            return
        if self._primary is None:
            self._let_go()
        elif self._is_answered:
            if self.worker.shadows.chores.is_full:
                self.shadow.budget.skip("comparer_busy")
                self._let_go()
            else:
                self.worker.shadows.chores.add(self._tell)

    def _tell(self) -> None:
        """One step of telling the comparer."""
        primary, copy, control = self._primary, self._copy, self._control
        pair = None
        is_done = True
        try:
            if primary is None or copy is None:
                return
            if self._telling is None:
                has_control = control is not None and control.status
                self._telling = pair_of(self, primary, copy, control if has_control else None)
            pair = next(self._telling)
            is_done = pair is not None
            if pair is not None and not self.shadow.line.send(pair):
                self.shadow.budget.skip("comparer_busy")
        finally:
            if is_done:
                self._let_go()
            else:
                self.worker.shadows.chores.add(self._tell)

    def _let_go(self) -> None:
        self.give_back(self._reserved)
        self.body = []
        self._copy = self._control = self._primary = self._telling = None
