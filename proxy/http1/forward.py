"""What a head looks like when it leaves: hop-by-hop fields gone, the proxy's own written.

Removal comes first, then our own fields, so that nothing a peer sends can take ours away. Everything else passes as
it came, byte for byte and in its order.
"""

from __future__ import annotations

from proxy.http1.request import CHUNKED, Request
from proxy.http1.response import Response
from proxy.http1.shape import remove

VIA = b"Via: 1.1 turnout\r\n"  # RFC 9110 §7.6.3: a gateway MUST on requests


class Hop:
    """What one client connection adds to each request: who asks, and over what.

    `peer`: the address of the other end of the connection, empty for a Unix socket. `trusted`: it is one of our own
    proxies, whose X-Forwarded-* are believed and continued.
    """

    __slots__ = ("lines", "peer", "trusted")

    def __init__(self, peer: str, *, trusted: bool) -> None:
        self.peer = peer
        self.trusted = trusted
        address = b"X-Forwarded-For: %b\r\n" % peer.encode("ascii") if peer else b""
        self.lines = address + b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: "


def request_head(request: Request, hop: Hop, request_id: bytes) -> bytes:
    """The head for the server. Takes `request.parts` apart: whoever needs them again parses `request.raw`."""
    if hop.trusted or not request.shape.plain or not request.host:
        return _thoughtful_request_head(request, hop, request_id)
    parts = request.parts
    for at in request.shape.from_anyone:
        parts[at - 1] = parts[at] = b""
    parts[-1] = b"%b%b%b\r\nX-Request-Id: %b\r\nVia: 1.1 turnout\r\n\r\n" % (
        parts[-1][:-2], hop.lines, request.host, request_id)
    return b"".join(parts)


def _thoughtful_request_head(request: Request, hop: Hop, request_id: bytes) -> bytes:
    """The same for every request that is not plain."""
    parts, shape = request.parts, request.shape
    added = _forwarded(request, hop) + [b"X-Request-Id: %b\r\n" % request_id, VIA]
    remove(parts, shape.from_trusted if hop.trusted else shape.from_anyone)
    remove(parts, shape.values.get(b"host", ()))
    if request.host:
        added.insert(0, b"Host: %b\r\n" % request.host)
    if request.length == CHUNKED:
        added.append(b"Transfer-Encoding: chunked\r\n")
    elif request.length or b"content-length" in shape.values:
        added.append(b"Content-Length: %d\r\n" % request.length)
    if request.expects_continue:
        added.append(b"Expect: 100-continue\r\n")
    if request.asks_upgrade:
        added.append(b"Connection: upgrade\r\nUpgrade: %b\r\n" % request.asks_upgrade)
    elif request.takes_trailers:
        added.append(b"Connection: TE\r\nTE: trailers\r\n")
    parts[-1] = parts[-1][:-2] + b"".join(added) + b"\r\n"
    return b"".join(parts)


def _forwarded(request: Request, hop: Hop) -> list[bytes]:
    """X-Forwarded-*: ours alone towards a stranger, theirs continued for one of our own proxies."""
    if not hop.trusted:
        return [hop.lines, request.host, b"\r\n"] if request.host else [hop.lines.rpartition(b"X-")[0]]
    before = request.header(b"x-forwarded-for")
    chain = b", ".join(part for part in (before, hop.peer.encode("ascii")) if part)
    proto = request.header(b"x-forwarded-proto") or b"http"
    host = request.header(b"x-forwarded-host") or request.host
    return [line for name, value in ((b"For", chain), (b"Proto", proto), (b"Host", host)) if value
            for line in (b"X-Forwarded-%b: %b\r\n" % (name, value),)]


def with_host(head: bytes, authority: bytes) -> bytes:
    """The head of a request that named no host (HTTP/1.0), fit for HTTP/1.1."""
    line, rest = head.split(b"\r\n", 1)
    return b"%b\r\nHost: %b\r\n%b" % (line, authority, rest)


def response_head(response: Response, *, keep_alive: bool, to_minor: int, chunked: bool,
                  set_cookie: bytes | None) -> bytes:
    """The head for the client. Edits `response.parts`.

    `chunked`: the body is framed that way towards this client, whatever the server did. `to_minor`: the client's
    minor version, which decides what silence about the connection means.
    """
    parts, shape = response.parts, response.shape
    for at in shape.gone:
        parts[at - 1] = parts[at] = b""
    if response.plain and keep_alive and to_minor == 1 and set_cookie is None:
        return b"".join(parts)
    if response.minor == 0:
        parts[0] = b"HTTP/1.1" + parts[0][8:]
    if response.status == 204 or response.status < 200:
        remove(parts, shape.values.get(b"content-length", ()))  # RFC 9110 §8.6: MUST NOT be there
    added = [b"Transfer-Encoding: chunked\r\n"] if chunked else []
    added += _connection_fields(response, keep_alive=keep_alive, to_minor=to_minor)
    if set_cookie is not None:
        added.append(b"Set-Cookie: %b\r\n" % set_cookie)
    parts[-1] = parts[-1][:-2] + b"".join(added) + b"\r\n"
    return b"".join(parts)


def _connection_fields(response: Response, *, keep_alive: bool, to_minor: int) -> list[bytes]:
    """What this hop has to say about its connection."""
    options = []
    upgrade = response.upgrade if response.status in (101, 426) else None  # RFC 9110 §7.8, §15.5.22
    if upgrade is not None:
        options.append(b"upgrade")
    if response.status >= 200:
        if not keep_alive:
            options.append(b"close")
        elif to_minor == 0:
            options.append(b"keep-alive")
    fields = [b"Connection: %b\r\n" % b", ".join(options)] if options else []
    if upgrade is not None:
        fields.append(b"Upgrade: %b\r\n" % upgrade)
    return fields
