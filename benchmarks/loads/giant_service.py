"""Bodies of any size, never held: GET /down/SIZE streams one, POST /up/SECONDS reads one, slowly at first.

Run as a program: giant_service.py PORT. One thread per connection; it serves a handful.
"""

from __future__ import annotations

import socket
import sys
import threading
import time

PIECE = bytes(range(256)) * 1024                # 256 KiB
SLOW_PIECE = 64 * 1024
SLOW_PAUSE_S = 0.1                              # 640 KiB/s while slow


def read_body(connection: socket.socket, size: int, slow_s: float) -> int:
    """Read `size` bytes, the first `slow_s` seconds slowly. Returns how many came before the other side closed."""
    buffer = bytearray(1024 * 1024)
    read, hurry_at = 0, time.monotonic() + slow_s
    while read < size:
        slow = time.monotonic() < hurry_at
        got = connection.recv_into(buffer, min(size - read, SLOW_PIECE if slow else len(buffer)))
        if not got:
            break
        read += got
        if slow:
            time.sleep(SLOW_PAUSE_S)
    return read


def serve(connection: socket.socket) -> None:
    """Answer requests until the client closes."""
    with connection:
        while head := read_head(connection):
            method, path, size, early = parse(head)
            if method == "POST":
                read = len(early) + read_body(connection, size - len(early), float(path.rpartition("/")[2]))
                answer(connection, str(read).encode())
            elif path.startswith("/down/"):
                stream(connection, int(path.rpartition("/")[2]))
            else:
                answer(connection, b"small")


def read_head(connection: socket.socket) -> bytes:
    """A head and what came with it; empty if the client has closed."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65_536)
        if not piece:
            return b""
        received += piece
    return received


def parse(received: bytes) -> tuple[str, str, int, bytes]:
    """Method, path, size of the body, and the part of it that came with the head."""
    head, _, early = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split()
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return method, path, int(fields.get("content-length", "0")), early


def answer(connection: socket.socket, body: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Version: old\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def stream(connection: socket.socket, size: int) -> None:
    """Send `size` bytes."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Version: old\r\nContent-Length: %d\r\n\r\n" % size)
    for _ in range(size // len(PIECE)):
        connection.sendall(PIECE)
    connection.sendall(PIECE[:size % len(PIECE)])


def quietly(connection: socket.socket) -> None:
    """A connection that breaks ends its thread; the client notices what is missing."""
    try:
        serve(connection)
    except OSError as error:
        sys.stderr.write(f"connection ended: {error}\n")


def main() -> None:
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=quietly, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
