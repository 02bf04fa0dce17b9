"""How a refusal looks on the wire: small, explicit about the side at fault, in the form the client prefers."""

from __future__ import annotations

import json
import re

from proxy.errors import Refusal

_REASONS = {
    400: "Bad Request", 404: "Not Found", 408: "Request Timeout", 413: "Content Too Large", 414: "URI Too Long",
    417: "Expectation Failed", 429: "Too Many Requests", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout", 505: "HTTP Version Not Supported",
}

RETRY_AFTER_S = 1

_ACCEPT = re.compile(rb"\nAccept:[ \t]*([^\r\n]*)", re.IGNORECASE)


def accept_of(head: bytes) -> bytes:
    """The first Accept field of a request head, whole or not: a refusal is no place to be particular."""
    matched = _ACCEPT.search(head)
    return matched[1] if matched else b""


def render(refusal: Refusal, detail: str, *, accept: bytes = b"", keep_alive: bool, with_body: bool = True) -> bytes:
    """A complete response: RFC 9457 problem+json unless `accept` prefers text.

    `with_body`: False for the answer to a HEAD, whose fields still describe the body it does not carry.
    """
    if _prefers_text(accept):
        kind = b"text/plain; charset=utf-8"
        body = f"{refusal.status} {refusal.title}.\n{detail}\nAt fault: {refusal.culprit.value}.\n".encode()
    else:
        kind = b"application/problem+json"
        body = json.dumps({
            "type": f"urn:turnout:refusal:{refusal.slug}", "title": refusal.title, "status": refusal.status,
            "detail": detail, "culprit": refusal.culprit.value,
        }).encode() + b"\n"
    lines = [
        b"HTTP/1.1 %d %b" % (refusal.status, _REASONS[refusal.status].encode()),
        b"Content-Type: " + kind,
        b"Content-Length: %d" % len(body),
        b"Cache-Control: no-store",
        b"Server: turnout",
    ]
    retry_after_s = refusal.retry_after_s or (RETRY_AFTER_S if refusal.status == 503 else 0)
    if retry_after_s:
        lines.append(b"Retry-After: %d" % retry_after_s)
    if not keep_alive:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body if with_body else b"")


def _prefers_text(accept: bytes) -> bool:
    """Whether text is named before JSON; weights are not weighed for a message of three lines."""
    accept = accept.lower()
    text = min((at for kind in (b"text/plain", b"text/html", b"text/*") if (at := accept.find(kind)) >= 0), default=-1)
    json_at = accept.find(b"json")
    return text >= 0 and (json_at < 0 or text < json_at)
