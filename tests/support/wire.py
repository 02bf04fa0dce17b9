"""The client's end of a connection, byte by byte: nothing is repaired, nothing waits for ever."""

from __future__ import annotations

import socket
import struct

from tests.support.strict import Message, take_response

DEADLINE_S = 15.0
"""How long any one read may take before the test fails: far beyond what passing ones need."""

Address = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""


def open_socket(address: Address) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else
                         socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    sock.settimeout(DEADLINE_S)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    if not isinstance(address, str):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Wire:
    """A client connection. `received` holds what was read and not yet taken as a response."""

    def __init__(self, address: Address) -> None:
        self.sock = open_socket(address)
        self.received = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, *pieces: bytes) -> None:
        """Send each piece with a call of its own; with TCP_NODELAY each is a segment of its own."""
        for piece in pieces:
            self.sock.sendall(piece)

    def send_some(self, data: bytes) -> bool:
        """Send to a peer that may already be gone; False when it is."""
        try:
            self.sock.sendall(data)
        except ConnectionError:
            return False
        return True

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def response(self, method: bytes = b"GET") -> Message:
        """The next whole response, strictly read. Fails when the connection ends before it."""
        while True:
            message = take_response(self.received, method)
            if message is not None:
                self.received = self.received[len(message.raw):]
                return message
            data = self.sock.recv(1 << 18)
            if not data:
                message = take_response(self.received, method, closed=True)
                assert message is not None, f"closed before the response was whole: {self.received[-2000:]!r}"
                self.received = self.received[len(message.raw):]
                return message
            self.received += data

    def ask(self, request: bytes, method: bytes = b"GET") -> Message:
        self.send(request)
        return self.response(method)

    def read_until(self, mark: bytes) -> bytes:
        """Everything up to and with a mark; what follows stays in `received`."""
        while mark not in self.received:
            data = self.sock.recv(1 << 18)
            assert data, f"closed before {mark!r}: {self.received[-2000:]!r}"
            self.received += data
        before, _, self.received = self.received.partition(mark)
        return before + mark

    def rest(self) -> bytes:
        """Everything until the peer closes, in order or not."""
        data, self.received = [self.received], b""
        while True:
            try:
                piece = self.sock.recv(1 << 18)
            except ConnectionResetError:
                piece = b""
            if not piece:
                return b"".join(data)
            data.append(piece)

    def is_closed(self) -> bool:
        """Waits for the end of the connection; False when something else comes instead."""
        try:
            return not self.received and not self.sock.recv(1)
        except ConnectionResetError:
            return True

    def reset(self) -> None:
        reset(self.sock)

    def close(self) -> None:
        self.sock.close()


def refuses(address: tuple[str, int]) -> bool:
    """Whether nobody accepts connections at this address."""
    try:
        socket.create_connection(address, timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False
