"""The state of one route as JSON text and back.

Invariant: what is written can be read, and is the same when it is written again. Reading is strict: a field too many or
too few is an error, also one with a default, so that a change of the values needs a migration (`schema`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from hashlib import blake2b
from operator import xor

import msgspec

from proxy.core.state import Drains, RouteState

_DIGEST_BYTES = 8                          # an SQLite integer
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(RouteState).decode


class CodecError(ValueError):
    """A value has no text, or a text no value; the message says where."""


def encode_route(state: RouteState) -> str:
    """The text of a route's state. Raises CodecError for what could not be read again: NaN, half a surrogate pair."""
    try:
        back = _decode(_encode(state))
    except (msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise CodecError(str(error)) from error
    if back != state:
        raise CodecError(f"{state!r} would be read as {back!r}")
    return _encode(back).decode()          # numbers as they are when they come back: 95 is written as 95.0


def decode_route(text: str) -> RouteState:
    """The state that `encode_route` wrote. Raises CodecError for anything that it would not write."""
    try:
        state = _decode(text)
    except msgspec.MsgspecError as error:
        raise CodecError(str(error)) from error
    if _encode(state).decode() != text:
        raise CodecError("it has unknown or missing fields")
    return state


def digest(*parts: str) -> int:
    """A 64-bit signed hash of some texts, to tell damage (not malice) from what was written."""
    hashed = blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES)
    return int.from_bytes(hashed.digest(), "big", signed=True)


def seal(revision: int, digests: Mapping[str, int], drained: Drains = frozenset()) -> int:
    """One digest over a state: damage to any row, a row too many or too few, or another revision make another one.

    `digests`: of the routes, by name. Where nothing is drained it is what it was before anything could be.
    """
    rows = [*digests.values(), *(digest("drained", version, server) for version, server in drained)]
    return reduce(xor, rows, digest(str(revision)))
