"""Which requests of a route are copied, and what their copies look like: compiled once, read by every request.

Invariant: a copy is never copied again. It carries `X-Turnout-Shadow`, and what carries that is left alone.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from proxy.core.compare.rules import rules_from
from proxy.core.copied import MARK
from proxy.core.match import Condition, conditions_of, is_below, path_segments, to_bytes
from proxy.core.route import Match
from proxy.core.split import advance

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.core.request import RequestView
    from proxy.core.route import Shadow
    from proxy.core.router import CompiledRoute
    from proxy.dataplane.shadow.budget import Budget
    from proxy.http1.request import Request

_END = b"X-Turnout-Shadow: 1\r\n\r\n"
"""How the head of every copy ends."""
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "host"})
"""Fields that say where a message ends or whom it is for: a copy that lost or changed them would be another request."""


rules = lru_cache(1_024)(rules_from)
"""Most routes are compared by the same few texts."""


class Plan:
    """See the module. `capture`: bytes of an answer's body that are kept to be compared; 0 where nothing is
    compared."""

    __slots__ = ("_conditions", "_edits", "_gone", "_key_salt", "_path", "_recognise", "_tail", "capture", "control",
                 "given", "max_body", "methods", "share", "timeout_s", "to")

    def __init__(self, route: CompiledRoute, shadow: Shadow) -> None:
        copying = route.route.copying
        self.to = shadow.to
        self.share = shadow.percent / 100
        self.methods = frozenset(map(to_bytes, shadow.methods))
        self.capture = 0 if copying.compare is None else rules(copying.compare).max_body
        self.control = copying.control and copying.compare is not None
        self.max_body = copying.max_body
        self.timeout_s = copying.timeout_s
        self._path = path_segments(copying.path) if copying.path else ()
        self._conditions: tuple[Condition, ...] = (
            conditions_of(Match(headers=(copying.header,))) if copying.header is not None else ())
        self._recognise: Callable[[RequestView], bytes | None] | None = (
            route.strategy.recognise if copying.by == "key" else None)
        self._key_salt = blake2b(to_bytes(route.route.salt or route.name), digest_size=32,
                                 person=b"turnout shadow").digest()
        self.given = frozenset(to_bytes(name.lower()) for name, _ in copying.set_headers)
        """Fields that copies get: their values may be credentials, whatever their names."""
        self._gone, self._tail = _edit(copying.host, copying.drop_headers, copying.set_headers)
        self._edits = self._gone is not None or self._tail != _END

    def wants(self, request: Request, budget: Budget) -> bool:
        """Whether this request is to be copied; what keeps one back that would be is counted."""
        if request.method not in self.methods or MARK in request.shape.values:
            return False
        if self._path and not is_below(request.target, self._path):
            return False
        if self._conditions and not self._conditions[0].holds(request):
            return False
        at = self._position(request, budget)
        if at >= self.share:
            return False
        if request.asks_upgrade is not None:
            budget.skip("upgrade")
            return False
        if full := budget.why_full(2 if self.control else 1):
            budget.skip(full)
            return False
        fraction = budget.shedder.fraction
        if fraction < 1.0 and at >= self.share * fraction:
            budget.skip("shed")
            return False
        return True

    def _position(self, request: Request, budget: Budget) -> float:
        """Where the request, or its client, stands between 0 and 1; 1 for who is not recognised."""
        if self._recognise is None:
            budget.drawn = drawn = advance(budget.drawn)
            return drawn
        key = self._recognise(request)
        if not key:
            return 1.0
        return int.from_bytes(blake2b(key, key=self._key_salt, digest_size=8).digest(), "big") / (1 << 64)

    @staticmethod
    def head(head: bytes, *, expects_continue: bool) -> bytes:
        """The head of a copy, made of the one that goes to the primary: the same, and the mark.

        So the control gets it: with any other credentials or Host it would be answered as somebody else.
        """
        if expects_continue:
            head = _EXPECT.sub(b"", head)       # the body follows unasked
        return head[:-2] + _END

    def shadow_head(self, head: bytes) -> bytes:
        """The same as the shadow gets it: edited as the route says."""
        if not self._edits:
            return head
        head = head[:-len(_END)]
        if self._gone is not None:
            head = self._gone.sub(b"", head)
        return head + self._tail


_EXPECT = re.compile(rb"\r\nexpect:[^\r\n]*", re.IGNORECASE)


def _edit(host: str | None, drop: tuple[str, ...],
          given: tuple[tuple[str, str], ...]) -> tuple[re.Pattern[bytes] | None, bytes]:
    """What finds the fields that go, and the end of the head with those that come."""
    gone = ({name.lower() for name in drop} | {name.lower() for name, _ in given}) - _FRAMING
    added = [(name, value) for name, value in given if name.lower() not in _FRAMING]
    if host is not None:
        gone.add("host")
        added.insert(0, ("Host", host))
    tail = b"".join(b"%b: %b\r\n" % (to_bytes(name), to_bytes(value)) for name, value in added) + _END
    if not gone:
        return None, tail
    names = b"|".join(re.escape(to_bytes(name)) for name in sorted(gone))
    return re.compile(rb"\r\n(?:" + names + rb"):[^\r\n]*", re.IGNORECASE), tail
