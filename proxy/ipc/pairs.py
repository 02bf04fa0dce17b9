"""What a worker tells the comparer: answers to the same request, side by side; and what the comparer asks of it.

Worker and comparer speak over a stream of frames, a length of four bytes (big-endian) and msgpack. Both are of the same
release. Invariant: values of fields that are known to be sensitive are replaced by keyed digests before they are put
into a message, so they never leave the worker.
"""

from __future__ import annotations

import msgspec

FRAME_LIMIT = 8 * 1024 * 1024
"""Bytes of a frame. Bodies are captured under caps that leave three of them far below."""


class Answered(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One answer. `head`: status line and fields as they came, redacted. `body`: without transfer coding, redacted.

    `whole`: False where the body is left out; `body` then says why (`too-costly` to clean, `too-large` when decoded),
    and is empty where it was longer than what is captured. `took_s`: from the request's last
    byte on its way to the server until the answer's last. Where the shadow's server failed to answer, `status` is 0,
    `body` says how (`connect`, `closed`, `broken`, `timeout`), and the rest means nothing.
    """

    status: int
    head: bytes
    body: bytes
    whole: bool
    took_s: float


class Pair(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="pair"):
    """One request and its answers; bodies that are all alike may be left out. `version` answered the client, `to` the
    copy, `version` again the `control`.

    `at`: seconds since the epoch. `target` is redacted like a body. `head` and `body` are the request's, empty unless
    the comparer asked for requests of this route; `body` is without transfer and content coding, and `head` then names
    no content coding. `body_left_out`: why there is no body though the request had one: `streamed` (too long to be
    held), `costly` (cleaning it would take too long), `coding` (nobody here can decode it), `framing` (its chunks
    cannot be read).
    """

    route: str
    version: str
    to: str
    method: bytes
    target: bytes
    id: bytes
    at: float
    primary: Answered
    shadow: Answered
    control: Answered | None = None
    head: bytes = b""
    body: bytes = b""
    body_left_out: str = ""


class Wanted(msgspec.Struct, frozen=True, tag="wanted"):
    """Comparer → worker: from now on put the requests of these routes, and only these, into their pairs."""

    requests_of: tuple[str, ...] = ()

