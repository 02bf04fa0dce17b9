"""What a successor is told of servers and versions that traffic has put out: else its clients would find out anew.

`Noticed.until` holds as it is: both are processes of one host, and so read the same CLOCK_MONOTONIC.

Invariant: the two may be of different releases, so what cannot be read is left out and never fatal. Whoever was left
out is tried by requests, as everybody is after an ordinary start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Any

import msgspec

from proxy.ipc.messages import Noticed

_MOST = 2**53
"""No epoch comes this far; one that had would have to be told to workers, too, in the 64 bits of msgpack."""


def pack(news: Iterable[Noticed]) -> list[Any]:
    """Return it as JSON values."""
    packed: list[Any] = msgspec.to_builtins(list(news))
    return packed


def unpack(packed: object) -> list[Noticed]:
    """Return what can be read of it; nothing for what is no list, or was never sent."""
    return list(_readable(packed)) if isinstance(packed, list) else []


def _readable(packed: Iterable[Any]) -> Iterator[Noticed]:
    for each in packed:
        try:
            news = msgspec.convert(each, Noticed)
        except (msgspec.ValidationError, OverflowError):
            continue
        if news.out and isfinite(news.until) and 0 < news.epoch < _MOST and 0 <= news.times < _MOST:
            yield news
