"""Chunked bodies: the same payload however they arrive, an error wherever they are not exactly what RFC 9112 says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.chunked import CHUNKS_PER_FEED, ChunkedDecoder, ChunkedError, chunk, last_chunk
from tests.support.exploring import examples

LINE, EXTENSIONS, TRAILERS, TRAILER_FIELDS = 64, 100, 200, 4


def decoder() -> ChunkedDecoder:
    return ChunkedDecoder(line=LINE, extensions=EXTENSIONS, trailer_bytes=TRAILERS, trailer_fields=TRAILER_FIELDS)


def read(*pieces: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Payload, trailers and what followed the body; None when it has not ended. Checks that `more` is kept up with."""
    reader, payload, rest = decoder(), b"", b""
    for piece in pieces:
        if reader.done:
            rest += piece
            continue
        payload += reader.feed(piece)
        while reader.more:
            payload += reader.feed(b"")
    return (payload, reader.trailers, reader.rest + rest) if reader.done else None


WHOLE = {
    "empty": (b"0\r\n\r\n", b"", b""),
    "one chunk": (b"5\r\nhello\r\n0\r\n\r\n", b"hello", b""),
    "payload that looks like framing": (b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n", b""),
    "sizes in either case, with zeros": (b"00A\r\n0123456789\r\n0a\r\n9876543210\r\n000\r\n\r\n",
                                         b"01234567899876543210", b""),
    "extensions": (b'3;a="b;c" ; d\r\nabc\r\n0;e\r\n\r\n', b"abc", b""),
    "trailers": (b"1\r\na\r\n0\r\nX-Sum: 1\r\nX-More:\t2\r\n\r\n", b"a", b"X-Sum: 1\r\nX-More:\t2\r\n"),
    "the largest size there is": (b"0000000000000001\r\na\r\n0\r\n\r\n", b"a", b""),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("after", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\r\n", b"0\r\n\r\n"])
def test_a_body_reads_the_same_cut_anywhere_and_byte_by_byte(name: str, after: bytes) -> None:
    body, payload, trailers = WHOLE[name]
    expected = (payload, trailers, after)
    data = body + after
    assert read(data) == expected
    assert read(*(data[at:at + 1] for at in range(len(data)))) == expected
    for cut in range(len(data) + 1):
        assert read(data[:cut], data[cut:]) == expected, cut


@pytest.mark.parametrize("name", WHOLE)
def test_no_beginning_of_a_body_is_a_body(name: str) -> None:
    body = WHOLE[name][0]
    for cut in range(len(body)):
        assert read(body[:cut]) is None, body[:cut]


BROKEN = {
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "a size that is none": b"g\r\nabc\r\n",
    "0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "a negative size": b"-1\r\nabc\r\n0\r\n\r\n",
    "an underscore": b"1_0\r\n0123456789abcdef\r\n",
    "a space before the size": b" 3\r\nabc\r\n0\r\n\r\n",
    "a space after the size": b"3 \r\nabc\r\n0\r\n\r\n",
    "a tab after the size": b"3\t;a\r\nabc\r\n0\r\n\r\n",
    "17 digits": b"00000000000000003\r\nabc\r\n0\r\n\r\n",
    "a bare LF after the size": b"3\nabc\r\n0\r\n\r\n",
    "a bare CR after the size": b"3\rabc\r\n0\r\n\r\n",
    "two CRs": b"3\r\r\nabc\r\n0\r\n\r\n",
    "LF in an extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "CR in an extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "NUL in an extension": b"3;a\0b\r\nabc\r\n0\r\n\r\n",
    "DEL in an extension": b"3;a\x7fb\r\nabc\r\n0\r\n\r\n",
    "data longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "data shorter than its size": b"5\r\nabc\r\n0\r\n\r\n",
    "LF alone after data": b"3\r\nabc\n0\r\n\r\n",
    "CR alone after data": b"3\r\nabc\r0\r\n\r\n",
    "nothing after data": b"3\r\nabc0\r\n\r\n",
    "two other bytes after data": b"3\r\nabcXX0\r\n\r\n",
    "a trailer without a colon": b"0\r\nabc\r\n\r\n",
    "a trailer without a name": b"0\r\n: abc\r\n\r\n",
    "a space before a trailer's colon": b"0\r\na : b\r\n\r\n",
    "a folded trailer": b"0\r\na: b\r\n c\r\n\r\n",
    "a bare LF in a trailer": b"0\r\na: b\nc: d\r\n\r\n",
    "a bare CR in a trailer": b"0\r\na: b\rc\r\n\r\n",
    "NUL in a trailer": b"0\r\na: \0\r\n\r\n",
    "a request where trailers end": b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a line beyond its bound": b"3;" + b"a" * LINE + b"\r\nabc\r\n0\r\n\r\n",
    "a line beyond its bound that never ends": b"3;" + b"a" * LINE,
    "extensions beyond their bound": b"1;%b\r\na\r\n" % (b"x" * 49) * 3 + b"0\r\n\r\n",
    "trailers beyond their bound": b"0\r\na: " + b"b" * TRAILERS + b"\r\n\r\n",
    "trailers beyond their bound that never end": b"0\r\na: " + b"b" * TRAILERS,
    "too many trailers": b"0\r\n" + b"a: b\r\n" * (TRAILER_FIELDS + 1) + b"\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_framing_is_an_error_however_it_arrives(name: str) -> None:
    body = BROKEN[name]
    with pytest.raises(ChunkedError):
        read(body)
    with pytest.raises(ChunkedError):
        read(*(body[at:at + 1] for at in range(len(body))))
    for cut in range(len(body)):
        with pytest.raises(ChunkedError):
            read(body[:cut], body[cut:])


def test_bounds_are_inclusive() -> None:
    line = b"3;" + b"a" * (LINE - 4) + b"\r\n"
    assert len(line) == LINE
    assert read(line + b"abc\r\n0\r\n\r\n") == (b"abc", b"", b"")
    assert read(b"1;%b\r\na\r\n" % (b"x" * 49) * 2 + b"0\r\n\r\n") == (b"aa", b"", b"")
    trailers = b"a: b\r\n" * TRAILER_FIELDS
    assert read(b"0\r\n" + trailers + b"\r\n") == (b"", trailers, b"")
    longest = b"a: " + b"b" * (TRAILERS - 5) + b"\r\n"
    assert len(longest) == TRAILERS
    assert read(b"0\r\n" + longest + b"\r\n") == (b"", longest, b"")


@pytest.mark.parametrize("name", [
    b"Content-Length", b"transfer-encoding", b"HOST", b"Connection", b"Set-Cookie", b"Authorization",
    b"X-Forwarded-For", b"X_Forwarded_For", b"Content_Length", b"Content-Type", b"Trailer", b"Expect",
])
def test_a_trailer_that_could_change_what_the_message_is_does_not_go_on(name: bytes) -> None:
    assert read(b"0\r\nX-A: 1\r\n" + name + b": 2\r\nX-B: 3\r\n\r\n") == (b"", b"X-A: 1\r\nX-B: 3\r\n", b"")


def test_payload_is_handed_on_before_its_chunk_is_whole() -> None:
    reader = decoder()
    assert reader.feed(b"ffffffff\r\nabc") == b"abc"
    assert reader.feed(b"def") == b"def"
    assert not reader.more


def test_work_is_bounded_per_call() -> None:
    reader = decoder()
    data = b"1\r\na\r\n" * (3 * CHUNKS_PER_FEED) + b"0\r\n\r\nrest"
    assert len(reader.feed(data)) <= CHUNKS_PER_FEED
    calls = 1
    while reader.more:
        assert len(reader.feed(b"")) <= CHUNKS_PER_FEED
        calls += 1
    assert calls == 4
    assert reader.done
    assert reader.rest == b"rest"


def test_more_is_said_exactly_when_feeding_nothing_would_yield_something() -> None:
    for count in range(CHUNKS_PER_FEED - 2, CHUNKS_PER_FEED + 2):
        for end in (b"", b"0\r\n\r\n"):
            reader = decoder()
            reader.feed(b"1\r\na\r\n" * count + end)
            while reader.more:
                reader.feed(b"")
            assert reader.done == bool(end)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.data())
@examples(300)
def test_what_is_written_is_read_as_it_was_meant(payloads: list[bytes], cuts: st.DataObject) -> None:
    body = b"".join(map(chunk, payloads)) + last_chunk(b"X-A: 1\r\n")
    places = sorted(cuts.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    pieces = [body[begin:end] for begin, end in zip([0, *places], [*places, len(body)], strict=True)]
    assert read(*pieces) == (b"".join(payloads), b"X-A: 1\r\n", b"")
