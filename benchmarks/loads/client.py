"""A blocking HTTP/1.1 client of few lines, for checks and for connections that have to be held in the hand."""

from __future__ import annotations

import socket
from dataclasses import dataclass

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, header fields (names in lower case) and the whole body."""

    status: int
    headers: dict[str, str]
    body: bytes


def connect(port: int, timeout_s: float = TIMEOUT_S) -> socket.socket:
    """A connection to 127.0.0.1:`port` without Nagle's delay."""
    connection = socket.create_connection(("127.0.0.1", port), timeout_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def exchange(connection: socket.socket, request: bytes) -> Answer:
    """Send a whole request, read its answer. Raises ConnectionError for an answer that is cut short."""
    connection.sendall(request)
    return read_answer(connection)


def read_answer(connection: socket.socket) -> Answer:
    """Read one answer to its end."""
    received = bytearray()
    while (end := received.find(b"\r\n\r\n")) < 0:
        received += _more(connection)
    status, headers = parse_head(bytes(received[:end]))
    del received[:end + 4]
    if headers.get("transfer-encoding") == "chunked":
        return Answer(status, headers, _read_chunked(connection, received))
    size = int(headers.get("content-length", "0"))
    while len(received) < size:
        received += _more(connection)
    return Answer(status, headers, bytes(received))


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and fields of an answer's head (without the empty line that ends it)."""
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines)
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in fields}


def _read_chunked(connection: socket.socket, received: bytearray) -> bytes:
    body = bytearray()
    while True:
        while (end := received.find(b"\r\n")) < 0:
            received += _more(connection)
        size = int(received[:end], 16)
        while len(received) < end + 2 + size + 2:
            received += _more(connection)
        body += received[end + 2:end + 2 + size]
        del received[:end + 2 + size + 2]
        if size == 0:
            return bytes(body)


def _more(connection: socket.socket) -> bytes:
    piece = connection.recv(262_144)
    if not piece:
        raise ConnectionResetError("closed before the answer was complete")
    return piece
