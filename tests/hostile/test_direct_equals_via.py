"""The same request straight to the origin and through the proxy: same status, end-to-end fields, body and trailers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.origins import Origin, Peer
from tests.support.stage import a_request
from tests.support.strict import Message
from tests.support.wire import Address, Wire
from tests.support.worker import RunningWorker, a_snapshot

HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"trailer", b"upgrade"}

ANSWERS = {
    b"/plain": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\nset-cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nhello",
    b"/chunked": b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5\r\n\r\n"
                 b"2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n",
    b"/empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"/none": b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
    b"/same": b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\n",
    b"/lost": b"HTTP/1.1 404 Not Here\r\nContent-Length: 4\r\nContent-Type: text/plain\r\n\r\nlost",
    b"/broken": b"HTTP/1.1 500 \r\nContent-Length: 4\r\n\r\nouch",
    b"/odd": b"HTTP/1.1 299 caf\xe9\r\nContent-Length: 2\r\nX-Odd: \xff\xfe , ;=\"\r\nX-Empty:\r\n\r\n\0\xff",
    b"/moved": b"HTTP/1.1 301 Moved\r\nLocation: http://b.example/%2e?x#y\r\nContent-Length: 0\r\n\r\n",
    b"/hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"/large": b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"0123456789" * 100_000,
    b"/close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
}
CASES = [(method, target) for target in ANSWERS
         for method in (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH")
         if (method, target) != (b"HEAD", b"/hints")]

def play(peer: Peer) -> None:
    while (message := peer.request()) is not None:
        answer = ANSWERS[message.target.partition(b"?")[0]]
        peer.send(answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if message.method == b"HEAD" else answer)
        if message.target == b"/close":
            return


@pytest.fixture(scope="module")
def places() -> Iterator[tuple[Address, Address]]:
    with Origin(play) as origin, RunningWorker(a_snapshot(origin)) as worker:
        yield origin.address, worker.address


def end_to_end(message: Message) -> tuple[object, ...]:
    fields = [(name, value) for name, value in message.fields if name not in HOP]
    return message.start, fields, message.body, message.trailers, message.interims


@pytest.mark.parametrize(("method", "target"), CASES)
def test_direct_equals_via(places: tuple[Address, Address], method: bytes, target: bytes) -> None:
    body = b"some body" if method in (b"POST", b"PUT", b"PATCH") else b""
    seen = []
    for place in places:
        with Wire(place) as wire:
            seen.append(end_to_end(wire.ask(a_request(target, b"Cookie: a", method=method, body=body), method)))
    assert seen[0] == seen[1]
