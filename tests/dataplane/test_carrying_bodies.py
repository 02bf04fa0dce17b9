"""Bodies of any size, both ways, in bounded memory."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Iterator

import pytest

from proxy.dataplane.worker import Worker
from tests.support.origins import Peer, answering, ok
from tests.support.story import Story, WatchedWorker, full_backlog, get, request

MIB = 1 << 20
PIECE = bytes(range(256)) * 256
WHOLE = 64 * MIB
ONE_READ = 256_000
"""What the worker may hold of a body known to be long: what it read last."""
BOUND = 512 * 1024
"""And of any other: 64 KiB beside it."""


def pieces(size: int) -> Iterator[bytes]:
    """A body that differs everywhere, in pieces of 64 KiB."""
    for number in range(size // len(PIECE)):
        yield number.to_bytes(8, "big") + PIECE[8:]


def digest_of(size: int) -> str:
    whole = hashlib.sha256()
    for piece in pieces(size):
        whole.update(piece)
    return whole.hexdigest()


def held(worker: Worker) -> int:
    """Bytes that wait in the worker to be written, to anybody."""
    servers = [c.transport for pool in worker.site.pools.values() for c in pool.connections]
    return sum(t.get_write_buffer_size() for t in [*servers, *(c.transport for c in worker.clients)])


def stalled(worker: WatchedWorker) -> None:
    """Wait until the slower side has stopped the faster one."""
    seen: list[int] = []

    def same_again(inner: Worker) -> bool:
        seen.append(held(inner))
        return len(seen) > 50 and seen[-1] > 0 and len(set(seen[-50:])) == 1

    worker.wait_until(same_again)


@pytest.mark.parametrize("framing", ["sized", "chunked", "until close"])
def test_a_slow_reader_pauses_the_server_and_gets_every_byte(story: Story, framing: str) -> None:
    sent = itertools.count()

    def script(peer: Peer) -> None:
        peer.read_head()
        fields = {"sized": b"Content-Length: %d\r\n" % WHOLE, "chunked": b"Transfer-Encoding: chunked\r\n",
                  "until close": b"Connection: close\r\n"}[framing]
        peer.send(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
        for piece in pieces(WHOLE):
            peer.send(b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece)
            next(sent)
        if framing == "chunked":
            peer.send(b"0\r\n\r\n")

    worker = story.worker(story.origin(script))
    client = story.client(worker, receive_buffer=64 * 1024)
    client.send(get("/", "Connection: close"))
    stalled(worker)
    assert worker.call(held) <= (ONE_READ if framing == "sized" else BOUND)
    assert next(sent) * len(PIECE) < WHOLE / 2

    head = client.read_until(b"\r\n\r\n")
    body = hashlib.sha256()
    size = 0
    for piece in (unchunked(client.sock, client.received) if b"chunked" in head
                  else plain(client.sock, client.received)):
        body.update(piece)
        size += len(piece)
    assert size == WHOLE
    assert body.hexdigest() == digest_of(WHOLE)


def plain(sock: object, begun: bytes) -> Iterator[bytes]:
    if begun:
        yield begun
    while piece := sock.recv(1 << 18):  # type: ignore[attr-defined]
        yield piece


def unchunked(sock: object, begun: bytes) -> Iterator[bytes]:
    """The payload of chunks, however they are cut."""
    data = begun
    while True:
        while (at := data.find(b"\r\n")) < 0:
            data += sock.recv(1 << 18)  # type: ignore[attr-defined]
        left = int(data[:at], 16)
        data = data[at + 2:]
        if left == 0:
            return
        while len(data) < left + 2:
            if left > 0 and data:
                taken = min(len(data), left)
                yield data[:taken]
                data = data[taken:]
                left -= taken
            if len(data) < left + 2:
                data += sock.recv(1 << 18)  # type: ignore[attr-defined]
        yield data[:left]
        data = data[left + 2:]


@pytest.mark.parametrize("framing", ["sized", "chunked"])
def test_a_slow_server_pauses_the_client_and_gets_every_byte(story: Story, framing: str) -> None:
    go = threading.Event()
    found: list[str] = []

    def script(peer: Peer) -> None:
        head = peer.read_head()
        go.wait(15)
        body = hashlib.sha256()
        if b"Content-Length" in head:
            left = WHOLE
            for piece in plain(peer.sock, peer.leftover):
                left -= len(piece)
                body.update(piece)
                if not left:
                    break
        else:
            for piece in unchunked(peer.sock, peer.leftover):
                body.update(piece)
        found.append(body.hexdigest())
        peer.send(ok(b"thanks"))
        peer.read_to_end()

    worker = story.worker(story.origin(script))
    client = story.client(worker)
    field = f"Content-Length: {WHOLE}" if framing == "sized" else "Transfer-Encoding: chunked"
    client.send(request("POST", "/", field))
    sent = itertools.count()

    def upload() -> None:
        for piece in pieces(WHOLE):
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece)
            next(sent)
        if framing == "chunked":
            client.send(b"0\r\n\r\n")

    uploading = threading.Thread(target=upload)
    uploading.start()
    stalled(worker)
    assert worker.call(held) < BOUND
    assert next(sent) * len(PIECE) < WHOLE / 2
    go.set()
    uploading.join(30)
    assert client.response().body == b"thanks"
    assert found == [digest_of(WHOLE)]


LONG = PIECE * 16
LONG_ANSWERS = {
    "/sized": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(LONG), LONG),
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(LONG), LONG),
}


@pytest.mark.parametrize("target", LONG_ANSWERS)
def test_long_and_short_take_turns_on_the_same_connections(story: Story, target: str) -> None:
    numbers = []

    def script(peer: Peer) -> None:
        while head := peer.read_head():
            numbers.append(peer.number)
            asked = head.split(b" ")[1].decode()
            if head.startswith(b"POST"):
                peer.send(ok(b"taken" if peer.read_exactly(len(LONG)) == LONG else b"broken"))
            else:
                peer.send(LONG_ANSWERS.get(asked) or ok(asked.encode()))

    worker = story.worker(story.origin(script))
    client = story.client(worker, receive_buffer=32 * 1024)
    for turn in range(3):
        assert client.ask(get(target)).body == LONG
        assert client.ask(get(f"/{turn}")).body == b"/%d" % turn
        assert client.ask(request("POST", "/", body=LONG)).body == b"taken"
        assert client.ask(get(f"/{turn}")).body == b"/%d" % turn
    assert set(numbers) == {0}


def test_a_body_waits_for_the_connection_to_the_server_in_bounded_memory(story: Story) -> None:
    """The first server does not accept; what the client sends meanwhile is kept up to the limit, then not read."""
    with full_backlog() as full:
        second = story.strict()
        worker = story.worker(full, second, timeouts={"connect": 0.5})
        client = story.client(worker)
        sending = threading.Thread(target=client.send, args=(request("POST", "/", body=b"x" * (8 * MIB)),))
        sending.start()

        def kept(inner: Worker) -> int:
            return max((len(upload.waiting) for upload in inner.uploads), default=0)

        worker.wait_until(lambda inner: kept(inner) > 0)
        assert worker.call(kept) < BOUND
        assert client.response().body == b"POST / %d" % (8 * MIB)
        sending.join(15)


def test_a_hundred_thousand_tiny_chunks_leave_time_for_others(story: Story) -> None:
    def script(peer: Peer) -> None:
        while head := peer.read_head():
            if b" /tiny " in head:
                peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                peer.send(b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")
            else:
                peer.send(ok(b"other"))

    worker = story.worker(story.origin(script))
    client, other = story.client(worker), story.client(worker)
    client.send(get("/tiny"))
    assert client.sock.recv(1)
    assert other.ask(get("/other")).body == b"other"
    client.received += b"H"
    assert client.response().body == b"x" * 100_000


def test_tiny_chunks_of_a_request_arrive_whole(story: Story) -> None:
    client = story.client(story.worker(story.strict()))
    body = b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n"
    client.send(request("POST", "/", "Transfer-Encoding: chunked") + body + get("/next"))
    assert client.response().body == b"POST / 50000"
    assert client.response().body == b"GET /next 0"


def test_trailers_are_forwarded_and_dangerous_ones_are_not(story: Story) -> None:
    answer = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\n"
              b"X-Sum: 1\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\n\r\n")
    origin = story.strict(lambda _: answer)
    client = story.client(story.worker(origin))
    answered = client.ask(request("POST", "/", "Transfer-Encoding: chunked", "TE: trailers", "Connection: TE")
                          + b"2\r\nok\r\n0\r\nX-Check: 7\r\nHost: evil\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
    assert answered.trailers == ((b"x-sum", b"1"),)
    assert origin.requests[0].trailers == ((b"x-check", b"7"),)
    assert origin.requests[0].value(b"te") == b"trailers"


def test_a_broken_chunk_of_the_client_is_refused_and_of_the_server_cut(story: Story) -> None:
    broken = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n2\r\nokX\r\n0\r\n\r\n"
    worker = story.worker(story.origin(answering(broken)))
    client = story.client(worker)
    client.send(get())
    assert not client.rest().endswith(b"0\r\n\r\n")
    other = story.client(worker)
    assert other.ask(request("POST", "/", "Transfer-Encoding: chunked") + b"2\r\nokX\r\n").status == 400
    assert other.is_closed()


def test_an_announced_body_beyond_the_limit_is_refused_before_it_comes(story: Story) -> None:
    worker = story.worker(story.strict(), limits={"body": 1000})
    client = story.client(worker)
    refused = client.ask(request("POST", "/", "Content-Length: 1001"))
    assert refused.status == 413
    assert client.is_closed()
    grown = story.client(worker)
    grown.send(request("POST", "/", "Transfer-Encoding: chunked") + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n")
    assert grown.response().status == 413
    assert story.client(worker).ask(request("POST", "/", body=b"x" * 1000)).status == 200
