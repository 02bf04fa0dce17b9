"""Servers behind the proxy, each with a thread per connection: scripted byte by byte, or strict about what they get."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.support.strict import AmbiguousError, Message, take_request
from tests.support.wire import DEADLINE_S, Address, reset


class Peer:
    """The server's end of one connection. `got` keeps every byte that came."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        sock.settimeout(DEADLINE_S)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.number = number
        """Which connection of the origin this is, from 0."""
        self.got = b""
        self._unread = b""

    def read(self) -> bytes:
        """What has come, at least a byte; empty at the end of the connection."""
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        return self._receive()

    def read_head(self) -> bytes:
        """Up to and with the next empty line; shorter only when the connection ends."""
        return self.read_until(b"\r\n\r\n")

    def unread(self, data: bytes) -> None:
        """Have this read once more."""
        self._unread = data + self._unread

    def read_until(self, mark: bytes) -> bytes:
        data = b""
        while mark not in data:
            piece = self.read()
            if not piece:
                return data
            data += piece
        head, _, self._unread = data.partition(mark)
        return head + mark

    def read_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.read()
            if not piece:
                return data
            data += piece
        self._unread = data[size:]
        return data[:size]

    def read_to_end(self) -> bytes:
        """Everything until the proxy closes; proves that it does."""
        data = []
        while piece := self.read():
            data.append(piece)
        return b"".join(data)

    def request(self) -> Message | None:
        """The next whole request, strictly read; None at the end of the connection, with `leftover` unfinished."""
        data = b""
        while True:
            if data:
                message = take_request(data)
                if message is not None:
                    self._unread = data[len(message.raw):]
                    return message
            piece = self.read()
            if not piece:
                self._unread = data
                return None
            data += piece

    @property
    def leftover(self) -> bytes:
        return self._unread

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.sock.sendall(piece)

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        reset(self.sock)

    def _receive(self) -> bytes:
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError:
            return b""
        self.got += data
        return data


Script = Callable[[Peer], None]


class Origin:
    """Runs a script for each connection, and closes it afterwards. What a script raises fails the test at `close`.

    A peer that goes away while the script sends is no failure: the scripts are about what the proxy does.
    """

    def __init__(self, script: Script, *, unix_path: Path | None = None, host: str = "127.0.0.1") -> None:
        self._script = script
        if unix_path is not None:
            self._listening = socket.socket(socket.AF_UNIX)
            self._listening.bind(str(unix_path))
        else:
            self._listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            self._listening.bind((host, 0))
        self._listening.listen(512)
        self.address: Address = str(unix_path) if unix_path else (host, self._listening.getsockname()[1])
        self.peers: list[Peer] = []
        self.failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._ended = 0
        self._accepting = threading.Thread(target=self._accept, name="origin", daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        if isinstance(self.address, str):
            return f"unix:{self.address}"
        host, port = self.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def connections(self) -> int:
        """How many have been accepted so far."""
        return len(self.peers)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that changes when a connection begins, ends or (strict origins) yields a request."""
        with self._changed:
            assert self._changed.wait_for(condition, DEADLINE_S), "it did not happen in time"

    def wait_ended(self, count: int) -> None:
        """Wait until this many scripts have ended."""
        self.wait_until(lambda: self._ended >= count)

    def notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Stop; raises what the scripts raised."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._accepting.join(DEADLINE_S)
        for peer in self.peers:
            try:
                peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has ended by itself
        for thread in self._threads:
            thread.join(DEADLINE_S)
        if self.failures:
            raise self.failures[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            peer = Peer(sock, len(self.peers))
            thread = threading.Thread(target=self._serve, args=(peer,), name=f"origin {peer.number}", daemon=True)
            self._threads.append(thread)
            self.peers.append(peer)
            self.notify()
            thread.start()

    def _serve(self, peer: Peer) -> None:
        try:
            self._script(peer)
        except (ConnectionError, TimeoutError):
            pass  # the proxy hung up, or the test is over
        except OSError:
            pass  # the socket was closed by the test's end
        except BaseException as failure:  # whatever it is, it belongs to the test
            self.failures.append(failure)
        finally:
            peer.sock.close()
            with self._changed:
                self._ended += 1
                self._changed.notify_all()


def answering(*answers: bytes) -> Script:
    """Read one head per answer and send the answer's bytes as they are; the last is repeated."""
    def script(peer: Peer) -> None:
        count = 0
        while peer.read_head():
            peer.send(answers[min(count, len(answers) - 1)])
            count += 1
    return script


def answering_once(answer: bytes) -> Script:
    """Read one head, send these bytes, then wait for the proxy to close."""
    def script(peer: Peer) -> None:
        if peer.read_head():
            peer.send(answer)
            peer.read_to_end()
    return script


def answering_then_closing(answer: bytes) -> Script:
    """Read one head, send these bytes and close."""
    def script(peer: Peer) -> None:
        if peer.read_head():
            peer.send(answer)
    return script


def silent(peer: Peer) -> None:
    """Read, and say nothing."""
    peer.read_to_end()


def never_ending(peer: Peer) -> None:
    """Read one head and answer for ever, in chunks."""
    peer.read_head()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        peer.send(b"4000\r\n" + bytes(0x4000) + b"\r\n")


def ok(body: bytes, *fields: bytes) -> bytes:
    """A whole 200 with this body."""
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def own_answer(message: Message) -> bytes:
    """What a strict origin answers by default: tells whose answer this is. The client's view is `body_for`."""
    if message.method == b"HEAD":
        return b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    return ok(body_for(message.method, message.target, message.body))


def body_for(method: bytes, target: bytes, body: bytes = b"") -> bytes:
    return b"%b %b %d" % (method, target, len(body))


class StrictOrigin(Origin):
    """Reads requests strictly, keeps them, answers each. Anything ambiguous fails the test at `close`.

    `requests` are the whole requests in the order they were read; `leftovers` the unfinished bytes of connections
    that ended in the middle of one.
    """

    def __init__(self, answer: Callable[[Message], bytes] = own_answer, *, unix_path: Path | None = None,
                 host: str = "127.0.0.1") -> None:
        self.requests: list[Message] = []
        self.leftovers: list[bytes] = []
        self._answer = answer
        super().__init__(self._converse, unix_path=unix_path, host=host)

    def _converse(self, peer: Peer) -> None:
        while True:
            try:
                message = peer.request()
            except AmbiguousError:
                self.notify()
                raise
            if message is None:
                break
            self.requests.append(message)
            self.notify()
            peer.send(self._answer(message))
        if peer.leftover:
            self.leftovers.append(peer.leftover)

    def wait_requests(self, count: int) -> list[Message]:
        """The first `count` requests, as soon as they are there."""
        self.wait_until(lambda: len(self.requests) >= count)
        return self.requests[:count]
