"""What the core sees of a request, and how it finds a cookie or a query parameter in it.

Bytes are taken exactly as received: nothing is decoded, unquoted or normalised, so a decision is made on the same
bytes that are forwarded. The lookups cost one search for the name and allocate nothing but the value.
"""

from __future__ import annotations

from typing import Protocol

_SEMICOLON = 0x3B


class RequestView(Protocol):
    """The request object of the data plane, as far as decisions need it."""

    @property
    def method(self) -> bytes:
        """The method as received."""

    @property
    def target(self) -> bytes:
        """Path and query exactly as received (`/a/b?x=1`), or `*`; an absolute-form target reduced to its path part."""

    @property
    def client(self) -> str:
        """The client's address (as trusted proxies report it), textual; empty where there is none (Unix sockets)."""

    def header(self, name: bytes, /) -> bytes | None:
        """The value of a field; `name` in lower case. Several fields are joined with `, `, cookies with `; `."""


def find_cookie(header: bytes, pair: bytes) -> bytes | None:
    """The value of the first cookie in a Cookie header whose pair begins with `pair`, which is `name=`.

    A pair begins where the header begins, or after `; ` (RFC 6265 §4.2.1) or a bare `;`: so `xturnout=1` is not
    `turnout=1`. The value is everything up to the next `;`.
    """
    at = header.find(pair)
    while at > 0 and header[at - 2 : at] != b"; " and header[at - 1] != _SEMICOLON:
        at = header.find(pair, at + 1)
    if at < 0:
        return None
    start = at + len(pair)
    end = header.find(b";", start)
    return header[start:] if end < 0 else header[start:end]


def find_parameter(target: bytes, pair: bytes) -> bytes | None:
    """The value, not decoded, of the first query parameter whose pair begins with `pair`, which is `name=`."""
    query = target.find(b"?")
    if query < 0:
        return None
    if target.startswith(pair, query + 1):
        start = query + 1 + len(pair)
    else:                                  # a later `?` is data (RFC 3986 §3.4), so only `&` begins another pair
        at = target.find(b"&" + pair, query + 1)
        if at < 0:
            return None
        start = at + 1 + len(pair)
    end = target.find(b"&", start)
    return target[start:] if end < 0 else target[start:end]
