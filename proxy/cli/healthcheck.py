"""`turnout healthcheck`: is it ready? For containers, which ask every few seconds and pay for every import.

Invariant: this module and what it imports load nothing but `os`, `sys`, `socket` and `time`: a check takes about 20 ms,
most of it the start of Python. The exit code is 0 or 1, whatever the trouble; Docker knows no other.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from time import monotonic

from proxy.cli.address import DEFAULT_ADMIN, parse_admin
from proxy.cli.exits import FAILED
from proxy.cli.text import printable

WITHIN_S = 2.0
"""Longer than a busy machine takes, shorter than the patience of any orchestrator."""
_MOST = 64 * 1024
_OK = b"200"


def quick(arguments: Sequence[str]) -> int | None:
    """Check as these arguments say and return the exit code; None for arguments that click has to look at."""
    admin, live, as_json = os.environ.get("TURNOUT_ADMIN") or DEFAULT_ADMIN, False, False
    words = iter(arguments)
    for word in words:
        if word == "--live":
            live = True
        elif word == "--json":
            as_json = True
        elif word.startswith("--admin="):
            admin = word.removeprefix("--admin=")
        elif word == "--admin" and (value := next(words, None)) is not None:
            admin = value
        else:
            return None
    return check(admin, live=live, as_json=as_json)


def check(admin: str, *, live: bool = False, as_json: bool = False) -> int:
    """Ask /readyz, or /livez if `live`, and return the exit code; says why not on standard error."""
    path = "/livez" if live else "/readyz"
    try:
        status, body = _ask(admin, path)
    except (OSError, ValueError) as error:
        print(f"turnout: {admin}: {error}", file=sys.stderr)
        return FAILED
    said = printable(body.decode("utf-8", "replace").strip())
    if as_json:
        print(said)
    if status != _OK:
        print(f"turnout: {admin}{path} answered {status.decode('ascii', 'replace')}: {said[:500]}", file=sys.stderr)
        return FAILED
    return 0


def _ask(admin: str, path: str) -> tuple[bytes, bytes]:
    """Return status and body. HTTP/1.0, so that the body is neither chunked nor followed by anything."""
    address, deadline = parse_admin(admin), monotonic() + WITHIN_S
    host = "localhost" if isinstance(address, str) else _host(*address)
    with _connect(address) as sock:
        sock.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while len(answer) < _MOST:
            sock.settimeout(max(0.001, deadline - monotonic()))
            piece = sock.recv(_MOST)
            if not piece:
                break
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if not words[0].startswith(b"HTTP/1.") or len(words) < 2:
        raise ValueError("what answers there is not Turnout's admin API")
    return words[1], body


def _connect(address: str | tuple[str, int]) -> socket.socket:
    if isinstance(address, tuple):
        host, port = address
        # As bytes it is taken as it is; a str is first put through IDNA, whose import takes 2 ms.
        name = host.encode() if host.isascii() else host
        return socket.create_connection((name, port), WITHIN_S)  # type: ignore[arg-type]  # bytes are fine
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(WITHIN_S)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def _host(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
