"""The oracle "direct = via": the same request straight to the server and through Turnout gets the same answer.

Compared are status, reason, end-to-end fields in their order, and body. Left out is what one hop owns, what time
changes, and, in bodies that echo the request, what a proxy is there to add.
"""

from __future__ import annotations

import gzip
import http.client
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.wire import DEADLINE_S

HOST = "httpbin.example"
"""Both requests name it, so that echoes of the host agree."""
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "date"})
_ADDED = frozenset({"Connection", "Via", "X-Request-Id", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
                    "Transfer-Encoding"})


@dataclass(frozen=True)
class Request:
    """What is sent twice. `pieces`: a chunked body."""

    target: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    pieces: tuple[bytes, ...] = ()
    varies: bool = False
    """Whether the server draws the body by chance: then only its length must agree."""


@dataclass(frozen=True)
class Answer:
    """The end-to-end part of a response."""

    status: int
    reason: str
    fields: tuple[tuple[str, str], ...]
    body: Any


def ask(port: int, request: Request) -> Answer:
    """Send the request to this port of 127.0.0.1, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        headers = {"Host": HOST, "User-Agent": "oracle", **request.headers}
        if request.body is not None:
            headers["Content-Length"] = str(len(request.body))
        elif request.pieces:
            headers["Transfer-Encoding"] = "chunked"
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(request.body or request.pieces or None, encode_chunked=bool(request.pieces))
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    comparable = _comparable(_decoded(body, response.headers.get("Content-Encoding")))
    echoes = not isinstance(comparable, bytes)
    fields = tuple((name, value) for name, value in response.getheaders()
                   if name.lower() not in _HOP and not (echoes and name.lower() == "content-length"))
    return Answer(response.status, response.reason, fields, len(body) if request.varies else comparable)


def _decoded(body: bytes, coding: str | None) -> bytes:
    """The body without its coding: that of an echo differs with its length, and gzip keeps the time."""
    match coding if body else None:
        case "gzip":
            return gzip.decompress(body)
        case "deflate":
            return zlib.decompress(body)
        case _:
            return body


def _comparable(body: bytes) -> Any:
    """The body; of echoes of the request (JSON, or lines of it) a list, without what the proxy added to that."""
    try:
        echoes = [json.loads(body)] if body.startswith(b"{\n") else [json.loads(line) for line in body.splitlines()]
    except ValueError:
        return body
    if not any(isinstance(echo, dict) and "headers" in echo for echo in echoes):
        return body
    return [_without_additions(echo) for echo in echoes]


def _without_additions(echo: Any) -> Any:
    if isinstance(echo, dict) and isinstance(echo.get("headers"), dict):
        headers = {name: value for name, value in echo["headers"].items() if name not in _ADDED}
        return {**echo, "headers": headers}
    return echo
