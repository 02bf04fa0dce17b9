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

    `on`: after which failures another attempt is made. `attempts`: at most, with the first. `per_try_s`: seconds for the
    head of an answer; None: `timeouts.response_head` alone. `backoff_s`: the mean pause before the first retry, doubled for
    each further one up to `most_backoff_s`, drawn between half and one and a half of that; a server that refused the
    connection is not waited for. `body`: bytes of a request body that are kept for another attempt. `idempotency_key`:
    whether a request with that field counts as idempotent. `budget`: retries and rescues of the route, as a part of its
    requests over the last ten seconds; `floor`: how many there may be each second besides, all workers together.
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
    """How an attempt failed, by what the server may have done before."""

    CONNECT = "no connection came about, so nothing was sent: refused, unreachable, timed out, name not resolved"
    CLOSED = "the connection, pooled or new, was closed or reset before the first byte of an answer"
    TIMEOUT = "the server has the request and did not answer in time: it may still be working on it"
    ANSWER = "an answer had begun: it was cut, or is no HTTP"


def may_retry(method: bytes, failure: Failure, *, body_taken: int, attempt: int) -> bool:
    """Whether another attempt may be made, preferably at another server and never on another pooled connection.

    `body_taken`: bytes of the request body that were taken from the client for attempts so far and are gone, since the
    proxy keeps no copy. `attempt`: number of the attempt that failed, from 1.

    CLOSED is the race of RFC 9112 §9.3.1 between a server that closes an idle connection and a request under way: the
    server may have read the request, hence only for idempotent methods. After TIMEOUT a retry would double the load
    of a server that is too slow already; after ANSWER it would hide that the version answers badly.
    """
    if attempt >= MAX_ATTEMPTS or body_taken > 0:
        return False
    match failure:
        case Failure.CONNECT:
            return True
        case Failure.CLOSED:
            return method in IDEMPOTENT
        case Failure.TIMEOUT | Failure.ANSWER:
            return False
