"""Bodies of requests that are copied: small and large, of known and unknown length, whole and broken off."""

from __future__ import annotations

import pytest

from tests.support.origins import Peer, StrictOrigin
from tests.support.shadowing import shadowed
from tests.support.story import Story, get, request
from tests.support.wire import Wire, reset
from tests.support.worker import RunningWorker

KIB = 1024
MIB = 1024 * KIB


def chunked(target: str, *pieces: bytes) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return request("POST", target, "Transfer-Encoding: chunked") + body + b"0\r\n\r\n"


def pattern(size: int) -> bytes:
    return bytes(range(256)) * (size // 256) + bytes(size % 256)


@pytest.mark.parametrize("size", [1, 5_000, 64 * KIB, 64 * KIB + 1, 700_000])
def test_a_body_arrives_whole(story: Story, size: int) -> None:
    old, new = story.strict(), story.strict()
    client = story.client(shadowed(story, old, new, methods=("POST",), max_body=MIB))
    client.ask(request("POST", "/x", body=pattern(size)), b"POST")
    (copy,) = new.wait_requests(1)
    assert copy.body == pattern(size)


def test_a_body_in_chunks_arrives_whole(story: Story) -> None:
    old, new = story.strict(), story.strict()
    client = story.client(shadowed(story, old, new, methods=("POST",)))
    client.ask(chunked("/x", b"hello", pattern(3_000), b"!"), b"POST")
    (copy,) = new.wait_requests(1)
    assert copy.body == b"hello" + pattern(3_000) + b"!"


def test_a_body_that_waits_for_continue_is_copied_without_the_expectation(story: Story) -> None:
    def polite(peer: Peer) -> None:
        while peer.read_head():
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            peer.read_exactly(5)
            peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    old, new = story.origin(polite), story.strict()
    client = story.client(shadowed(story, old, new, methods=("POST",)))
    client.send(request("POST", "/x", "Expect: 100-continue", "Content-Length: 5"))
    assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
    client.send(b"hello")
    (copy,) = new.wait_requests(1)
    assert (copy.value(b"expect"), copy.body) == (None, b"hello")


@pytest.mark.parametrize("raw", [
    request("POST", "/large", body=pattern(10_001)), chunked("/large", pattern(6_000), pattern(6_000)),
])
def test_a_request_that_is_too_large_is_never_seen_by_the_shadow(story: Story, raw: bytes) -> None:
    old, new = story.strict(), story.strict()
    worker = shadowed(story, old, new, methods=("POST", "GET"), max_body=10_000)
    client = story.client(worker)
    client.ask(raw, b"POST")
    client.ask(get("/after"))
    assert [message.target for message in new.wait_requests(1)] == [b"/after"]
    assert worker.count("shadow_skipped_total", "all", "too_large") == 1


def send_and_leave(worker: RunningWorker, raw: bytes) -> None:
    wire = Wire(worker.address)
    wire.send(raw)
    worker.settle()
    reset(wire.sock)


def whole_requests(origin: StrictOrigin) -> list[bytes]:
    return [message.target for message in origin.requests]


@pytest.mark.parametrize("raw", [
    request("POST", "/cut", body=b"0123456789"), chunked("/cut", b"01234", b"56789"),
])
def test_of_an_upload_that_is_cut_at_any_byte_the_shadow_sees_nothing(story: Story, raw: bytes) -> None:
    old, new = story.strict(), story.strict()
    worker = shadowed(story, old, new, methods=("POST", "GET"))
    for at in range(raw.index(b"\r\n\r\n") + 4, len(raw)):
        send_and_leave(worker, raw[:at])
    worker.wait_until(lambda worker: not worker.clients)
    with worker.connect() as client:
        client.ask(get("/after"))
    assert [message.target for message in new.wait_requests(1)] == [b"/after"]
    assert new.leftovers == []
    assert worker.count("shadow_skipped_total", "all", "cut") > 0


def test_of_a_large_upload_that_is_cut_the_shadow_never_sees_an_end(story: Story) -> None:
    old, new = story.strict(), story.strict()
    worker = shadowed(story, old, new, methods=("POST",), max_body=MIB)
    raw = request("POST", "/cut", body=pattern(300_000))
    for sent in (70_000, 150_000, 299_000, len(raw) - 1):
        send_and_leave(worker, raw[:sent])
    new.wait_ended(4)
    assert whole_requests(new) == []
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert worker.count("shadow_requests_total", "all", "cut") == 4


def test_memory_for_copies_is_bounded_and_what_does_not_fit_is_skipped(story: Story) -> None:
    def deaf(peer: Peer) -> None:
        peer.read_head()
        ended.wait_requests(1)

    ended = story.strict()
    old, new = story.strict(), story.origin(deaf)
    worker = shadowed(story, old, new, methods=("POST",), max_body=MIB, memory=MIB, timeout_s=5.0)
    client = story.client(worker)
    for _ in range(10):
        client.ask(request("POST", "/x", body=pattern(300_000)), b"POST")
        assert worker.call(lambda worker: sum(held(worker))) <= MIB
    assert worker.count("shadow_skipped_total", "all", "memory") == 7
    with Wire(ended.address) as wire:
        wire.ask(get("/"))
    worker.expire(5.0)
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    client.ask(request("POST", "/x", body=pattern(300_000)), b"POST")
    assert worker.count("shadow_skipped_total", "all", "memory") == 7, "what was held has been given back"
    worker.expire(5.0)


def held(worker: object) -> list[int]:
    return [budget.held for budget in worker.shadows._budgets.values()]  # type: ignore[attr-defined]


def test_a_client_that_is_refused_for_its_body_leaves_no_copy(story: Story) -> None:
    old, new = story.strict(), story.strict()
    worker = shadowed(story, old, new, methods=("POST", "GET"))
    with worker.connect() as client:
        client.send(request("POST", "/broken", "Transfer-Encoding: chunked") + b"5\r\nhelloX")
        assert client.response(b"POST").status == 400
    with worker.connect() as client:
        client.ask(get("/after"))
    assert [message.target for message in new.wait_requests(1)] == [b"/after"]
