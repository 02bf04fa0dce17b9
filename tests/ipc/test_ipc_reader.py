"""A reader that remembers the snapshot before reads exactly what was sent."""

from __future__ import annotations

from dataclasses import fields, replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.snapshot import Policy, Snapshot
from proxy.ipc.messages import Applied, Apply, Drain, encode
from proxy.ipc.reader import Reader
from tests.support.exploring import examples
from tests.support.snapshots import small_snapshot, snapshots


@st.composite
def followers(draw: st.DrawFn) -> list[Snapshot]:
    """Snapshots of which each has much in common with the one before."""
    current = draw(snapshots)
    history = [current]
    for _ in range(draw(st.integers(0, 5))):
        other = draw(snapshots)
        routes = list(current.routes)
        cut = draw(st.integers(0, len(routes)))
        match draw(st.sampled_from(("policy", "versions", "routes", "begin", "end", "all"))):
            case "policy":
                current = replace(current, policy=other.policy)
            case "versions":
                current = replace(current, versions=other.versions)
            case "routes":
                current = replace(current, routes=(*routes[:cut], *other.routes, *routes[cut + 1:]))
            case "begin":
                current = replace(current, routes=tuple(routes[cut:]))
            case "end":
                current = replace(current, routes=tuple(routes[:cut]))
            case "all":
                current = other
        history.append(current)
    return history


@examples(150)
@given(followers(), st.lists(st.tuples(st.text(), st.text()), max_size=2))
def test_it_reads_what_was_sent(history: list[Snapshot], cut: list[tuple[str, str]]) -> None:
    reader = Reader()
    for snapshot in history:
        payload = encode(Apply(snapshot, tuple(cut)))
        assert reader.read(payload) == Apply(snapshot, tuple(cut))
        assert reader.read(encode(Drain(1.5))) == Drain(1.5)


def test_nothing_of_a_snapshot_is_left_out() -> None:
    whole = Snapshot(7, small_snapshot().versions, small_snapshot().routes, Policy(access_log="stdout"), b"secret",
                     "a place", frozenset({("new", "http://10.0.0.1:80")}))
    plain = {field.name: getattr(whole, field.name) for field in fields(whole)}
    assert [name for name in plain if plain[name] == getattr(Snapshot(0, (), ()), name)] == [], "one of everything"
    assert Reader().read(encode(Apply(whole))) == Apply(whole)
    for more in ({"snapshot": plain | {"later": 1}}, {"snapshot": plain, "later": 1}):
        with pytest.raises(msgspec.ValidationError, match="later"):
            Reader().read(msgspec.msgpack.encode({"type": "apply", "cut": (), **more}))


def test_what_has_not_changed_is_the_same_object() -> None:
    reader = Reader()
    first = small_snapshot()
    second = replace(first, revision=2, routes=(first.routes[0], replace(first.routes[0], name="more")))
    one, two = reader.read(encode(Apply(first))), reader.read(encode(Apply(second)))
    assert isinstance(one, Apply)
    assert isinstance(two, Apply)
    assert two.snapshot.routes[0] is one.snapshot.routes[0]
    assert two.snapshot.versions is one.snapshot.versions
    assert two.snapshot.policy is one.snapshot.policy
    assert two.snapshot.revision == 2


def test_a_message_that_is_broken_anywhere_is_refused_and_remembered_by_nobody() -> None:
    reader = Reader()
    snapshot = small_snapshot()
    reader.read(encode(Apply(snapshot)))
    broken = encode(Apply(snapshot)).replace(b"baseline", b"basement")
    with pytest.raises(msgspec.DecodeError):
        reader.read(broken)
    with pytest.raises(msgspec.DecodeError):
        reader.read(b"\xc1")
    other = replace(snapshot, policy=Policy(access_log="stdout"))
    assert reader.read(encode(Apply(other))) == Apply(other)
    assert reader.read(encode(Applied(3))) == Applied(3)
