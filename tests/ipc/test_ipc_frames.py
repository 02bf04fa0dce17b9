from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ipc.frames import MAX_FRAME, FrameError, Frames, frame


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(1, 30), min_size=1, max_size=20))
def test_a_stream_is_cut_into_the_same_frames_however_it_was_split_on_the_way(
    payloads: list[bytes], pieces: list[int]
) -> None:
    stream = b"".join(map(frame, payloads))
    frames, got, at, turn = Frames(), [], 0, 0
    while at < len(stream):
        size = pieces[turn % len(pieces)]
        got += frames.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert got == payloads
    assert frames.pending == 0


def test_an_announced_length_over_the_limit_ends_the_stream_before_its_bytes_arrive() -> None:
    frames = Frames()
    with pytest.raises(FrameError, match=f"{MAX_FRAME + 1} bytes was announced; the limit is {MAX_FRAME}"):
        frames.feed((MAX_FRAME + 1).to_bytes(4, "big"))


def test_a_payload_of_exactly_the_limit_passes_and_one_byte_more_is_refused() -> None:
    assert Frames(limit=10).feed(frame(b"x" * 10, limit=10)) == [b"x" * 10]
    with pytest.raises(FrameError, match="11 bytes is over the limit of 10"):
        frame(b"x" * 11, limit=10)


def test_a_frame_that_has_begun_is_seen_as_pending() -> None:
    frames = Frames()
    assert frames.feed(frame(b"abc")[:-1]) == []
    assert frames.pending == 6
