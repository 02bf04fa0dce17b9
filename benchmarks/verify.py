"""Before anything is measured: does this proxy do the work at all, and the same work as the others?

A proxy that returns wrong bytes or forgets a cookie is not slower or faster; its figures are flagged.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from socket import socket

from benchmarks.loads import client, requests

COOKIES_TRIED = 600
SHARE = (0.05, 0.16)                            # 10 % of 600 cookies: 60 ± 5 standard deviations
UPLOAD = 1024 * 1024


def check(port: int, origin_port: int) -> tuple[str, ...]:
    """Every way in which the proxy at `port` differs from the service itself, in words; empty if it is right."""
    try:
        with client.connect(port) as via, client.connect(origin_port) as direct:
            found = [problem for path in ("/16k", "/1m") if (problem := _same_bytes(via, direct, path))]
            found += _upload(via)
            found += _sticky(via)
    except (OSError, ValueError, KeyError, IndexError) as error:
        return (f"check failed: {type(error).__name__}: {error}",)
    return tuple(found)


def _same_bytes(via: socket, direct: socket, path: str) -> str:
    ask = requests.request(1, path, "check")
    got, expected = (client.exchange(connection, ask) for connection in (via, direct))
    if got.status != expected.status or hashlib.sha256(got.body).digest() != hashlib.sha256(expected.body).digest():
        return f"{path}: {got.status} with {len(got.body)} bytes instead of {expected.status} with {len(expected.body)}"
    return ""


def _upload(via: socket) -> list[str]:
    head = (f"POST /upload HTTP/1.1\r\nHost: shop.example.com\r\nContent-Length: {UPLOAD}\r\n"
            "Content-Type: application/octet-stream\r\n\r\n")
    answer = client.exchange(via, head.encode() + b"u" * UPLOAD)
    received = int(answer.headers.get("x-received", "0"))
    if answer.status != 200 or received < UPLOAD:
        return [f"upload: {answer.status}, the service received {received} bytes"]
    return []


def _sticky(via: socket) -> list[str]:
    first = [_version(via, number) for number in range(COOKIES_TRIED)]
    again = [_version(via, number) for number in range(COOKIES_TRIED)]
    problems = []
    if moved := sum(a != b for a, b in zip(first, again, strict=True)):
        problems.append(f"not sticky: {moved} of {COOKIES_TRIED} cookies changed version")
    share = Counter(first)["new"] / COOKIES_TRIED
    if not SHARE[0] <= share <= SHARE[1]:
        problems.append(f"{share:.1%} of the cookies on the new version instead of 10 %")
    return problems


def _version(via: socket, number: int) -> str:
    return client.exchange(via, requests.request(number, "/", f"check-{number}")).headers["x-version"]
