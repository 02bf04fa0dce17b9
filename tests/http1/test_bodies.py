"""Bodies on their way through: three ways to end, one interface."""

from __future__ import annotations

import pytest

from proxy.http1.body import Body, ChunkBounds, ChunkedBody, SizedBody, UnboundedBody, body_of
from proxy.http1.chunked import ChunkedError
from proxy.http1.request import CHUNKED
from proxy.http1.response import UNTIL_CLOSE

BOUNDS = ChunkBounds(64, 64, 64, 4)


def fed(body: Body, *pieces: bytes) -> list[bytes]:
    return [body.feed(piece) for piece in pieces]


@pytest.mark.parametrize("cut", range(9))
def test_a_sized_body_ends_at_its_size_and_keeps_what_follows(cut: int) -> None:
    data = b"helloREST"
    body = SizedBody(5)
    out = body.feed(data[:cut])
    rest = b""
    if body.done:
        rest = data[cut:]
    else:
        out += body.feed(data[cut:])
    assert (out, body.rest + rest, body.done, body.taken, body.more) == (b"hello", b"REST", True, 5, False)


def test_an_empty_body_has_ended_before_it_begins() -> None:
    body = SizedBody(0)
    assert body.done
    assert body.close() == b""


@pytest.mark.parametrize("body", [SizedBody(2), ChunkedBody(BOUNDS, reframed=True),
                                  ChunkedBody(BOUNDS, reframed=False)])
def test_a_close_in_the_middle_breaks_a_framed_body(body: Body) -> None:
    fed(body, b"1" if isinstance(body, SizedBody) else b"5\r\na")
    assert body.close() is None


def test_chunks_leave_with_boundaries_of_our_own() -> None:
    body = ChunkedBody(BOUNDS, reframed=True)
    assert fed(body, b"0001;x=y\r\na\r\n2\r\nbc\r\n", b"3\r\nd", b"ef\r", b"\n0\r\nX: 1\r\n\r\nREST") == [
        b"3\r\nabc\r\n", b"1\r\nd\r\n", b"2\r\nef\r\n", b"0\r\nX: 1\r\n\r\n"]
    assert (body.done, body.rest, body.taken) == (True, b"REST", 6)
    assert body.close() == b""


def test_nothing_is_written_for_a_piece_without_payload() -> None:
    """An empty chunk would end the body."""
    body = ChunkedBody(BOUNDS, reframed=True)
    assert fed(body, b"5", b"\r", b"\n") == [b"", b"", b""]


def test_chunks_leave_as_plain_bytes_for_a_client_that_does_not_know_them() -> None:
    body = ChunkedBody(BOUNDS, reframed=False)
    assert fed(body, b"1\r\na\r\n2\r\nbc\r\n0\r\nX: 1\r\n\r\n") == [b"abc"]
    assert body.done


def test_broken_chunks_raise() -> None:
    with pytest.raises(ChunkedError):
        ChunkedBody(BOUNDS, reframed=True).feed(b"x")


@pytest.mark.parametrize(("reframed", "written", "ending"), [(True, b"2\r\nab\r\n", b"0\r\n\r\n"), (False, b"ab", b"")])
def test_an_unbounded_body_ends_with_the_connection(reframed: bool, written: bytes, ending: bytes) -> None:
    body = UnboundedBody(reframed=reframed)
    assert fed(body, b"ab", b"") == [written, b""]
    assert not body.done
    assert body.close() == ending
    assert (body.done, body.taken) == (True, 2)


def test_the_length_tells_the_kind_of_body() -> None:
    assert isinstance(body_of(0, BOUNDS, reframed=True), SizedBody)
    assert isinstance(body_of(7, BOUNDS, reframed=True), SizedBody)
    assert isinstance(body_of(CHUNKED, BOUNDS, reframed=True), ChunkedBody)
    assert isinstance(body_of(UNTIL_CLOSE, BOUNDS, reframed=True), UnboundedBody)
