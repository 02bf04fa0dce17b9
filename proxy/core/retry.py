"""When a failed attempt may be followed by another one: invariant 9 as one function.

A request is never sent twice unless the first attempt provably did nothing, or its method is idempotent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

MAX_ATTEMPTS = 3            # the first and two more: a second server, and a new connection where pooled ones were stale

Cause = Literal["connect", "reset", "timeout", "502", "503", "504"]
"""What a failed attempt failed of, as the operator names it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """What a route's failed attempts are followed by, as the operator wrote it.

    `on`: after which failures another attempt is made. `attempts`: at most, with the first. `per_try_s`: seconds for
    the head of an answer; None: `timeouts.response_head` alone. `backoff_s`: the mean pause before the first retry,
    doubled for each further one up to `most_backoff_s`, drawn between half and one and a half of that; a server that
    refused the connection is not waited for. `body`: bytes of a request body that are kept for another attempt.
    `idempotency_key`: whether a request with that field counts as idempotent. `budget`: retries and rescues of the
    route, as a part of its requests over the last ten seconds; `floor`: how many there may be each second besides, all
    workers together.
    """

    on: tuple[Cause, ...] = ("connect", "reset")
    attempts: int = MAX_ATTEMPTS
    per_try_s: float | None = None
    backoff_s: float = 0.025
    most_backoff_s: float = 0.25
    body: int = 0
    idempotency_key: bool = False
    budget: float = 0.2
    floor: float = 10.0


# RFC 9110 §9.2.2: these may be repeated "even if the original request might have succeeded"; "a proxy MUST NOT
# automatically retry non-idempotent requests". TRACE is idempotent too, but refused, as is CONNECT; of methods
# registered elsewhere nothing is assumed.
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})


class Failure(Enum):
    """How an attempt failed, by what the server may have done before. The value is the attempt's outcome in metrics."""

    CONNECT = "connect"
    """No connection came about, so nothing was sent: refused, unreachable, timed out, name not resolved."""
    CLOSED = "reset"
    """The connection, pooled or new, was closed or reset before the first byte of an answer."""
    TIMEOUT = "timeout"
    """The server has the request and did not answer in time: it may still be working on it."""
    ANSWER = "bad-answer"
    """An answer had begun: it was cut, or is no HTTP."""
    STATUS = "error"
    """The answer is a 5xx: the server says itself that it failed."""


RETRIED_STATUSES = {502: "502", 503: "503", 504: "504"}
"""By the name of their cause: what gateways and servers say that could not do anything with the request just now."""
RESCUED_STATUSES = frozenset({500, 502, 503, 504})
"""501 and 505 say something of the request, and the baseline would say the same."""


def may_retry(rule: Retry, failure: Failure, *, idempotent: bool, repeatable: bool, attempt: int,
              status: int = 0) -> bool:
    """Whether another attempt may be made, at another server.

    `idempotent`: whether the request may be processed twice. `repeatable`: whether all that was taken of its body is
    still there. `attempt`: number of the attempt that failed, from 1. `status`: of the answer that failed.

    CLOSED is the race of RFC 9112 §9.3.1 between a server that closes an idle connection and a request under way: the
    server may have read the request, hence only for idempotent ones. After ANSWER a retry would hide that the version
    answers badly.
    """
    if attempt >= rule.attempts or failure is Failure.ANSWER:
        return False
    if failure is Failure.CONNECT:
        return "connect" in rule.on
    cause = RETRIED_STATUSES.get(status, "") if failure is Failure.STATUS else failure.value
    return idempotent and repeatable and cause in rule.on


def may_rescue(failure: Failure, *, idempotent: bool, repeatable: bool, status: int = 0) -> bool:
    """Whether a request that a candidate failed may be sent to the baseline."""
    if failure is Failure.CONNECT:
        return True
    if failure is Failure.STATUS and status not in RESCUED_STATUSES:
        return False
    return idempotent and repeatable


def pause_s(rule: Retry, retry: int, chance: float) -> float:
    """How long to wait before a retry, in seconds. `retry`: its number, from 1; `chance`: drawn from [0, 1).

    Exponential with jitter, so that those who failed together do not come again together.
    """
    mean: float = min(rule.most_backoff_s, rule.backoff_s * 2.0 ** min(retry - 1, 32))
    return mean * (0.5 + chance)
