from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ipc.messages import Applied, Apply, Drain, Drained, Message, Stats, encode
from proxy.ipc.reader import Reader
from proxy.telemetry.counters import Counters
from tests.support.snapshots import snapshots

_labels = st.lists(st.text(max_size=5), max_size=3).map(tuple)
_numbers = st.floats(allow_nan=False)
_series = st.lists(st.tuples(st.text(max_size=5), _labels, _numbers), max_size=3)
_buckets = st.dictionaries(st.integers(0, 200), st.integers(0, 2**53), max_size=4)
_histograms = st.lists(st.tuples(st.text(max_size=5), _labels, _buckets, _numbers), max_size=3)
_counts = st.integers(0, 2**53)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Apply, snapshots),
    st.builds(Drain, _numbers),
    st.builds(Applied, _counts),
    st.builds(Stats, _counts, _series, _series, _histograms),
    st.builds(Drained, _counts),
)


@given(messages)
def test_every_message_arrives_as_it_was_sent(message: Message) -> None:
    assert Reader().read(encode(message)) == message


def test_what_a_worker_counted_fits_into_its_message_as_it_is() -> None:
    counters = Counters()
    tally = counters.tally("shop", "new")
    tally.inflight += 2
    tally.done(200, 0.01)
    stats = Stats(1, *counters.collect())
    assert Reader().read(encode(stats)) == stats


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x80", encode(Applied(1))[:-1], b"\x81\xa4type\xa5bogus"])
def test_what_is_no_message_is_refused(payload: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        Reader().read(payload)
