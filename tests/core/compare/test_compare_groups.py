"""Differences grouped, counted and bounded."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.compare.groups import MOST_ENDPOINTS, Groups
from proxy.core.compare.groups_data import as_data, restore
from proxy.core.compare.pair import Compared
from proxy.core.compare.values import Difference, Kind
from tests.support.exploring import examples

SAME = Compared(())


def differing(*paths: str, kind: Kind = Kind.VALUE, text: str = "x") -> Compared:
    return Compared(tuple(Difference(path, kind, text, text + "'") for path in paths))


ANSWERS = st.one_of(st.just(SAME), st.just(Compared((), "cut")),
                    st.just(Compared(differing("status").differences, "cut")),
                    st.lists(st.sampled_from(["$.a", "$.b", "$.c"]), unique=True, max_size=3).map(
                        lambda paths: differing(*paths)))
HISTORY = st.lists(st.tuples(st.sampled_from(["/a", "/b", "/c"]), ANSWERS, st.one_of(st.none(), ANSWERS)), max_size=30)


def told(history: list[tuple[str, Compared, Compared | None]], groups: Groups, start: int = 0) -> Groups:
    for number, (endpoint, candidate, control) in enumerate(history):
        groups.add(endpoint, candidate, float(start + number), control)
    return groups


@examples(200)
@given(HISTORY)
def test_every_comparison_is_matched_noisy_or_different_or_was_skipped(
        history: list[tuple[str, Compared, Compared | None]]) -> None:
    groups = told(history, Groups())
    for one in groups.endpoints.values():
        assert one.compared == one.matched + one.noisy + one.different
        assert one.controlled <= one.compared
    asked = sum(one.compared + sum(one.skipped.values()) for one in groups.endpoints.values()
                if one.skipped or one.compared)
    assert asked == len(history)
    for key, group in groups.items():
        assert group.both + group.candidate_only <= group.count <= groups.endpoints[key.endpoint].compared


@examples(100)
@given(HISTORY, st.integers(0, 30))
def test_deltas_add_up_to_the_whole(history: list[tuple[str, Compared, Compared | None]], cut: int) -> None:
    folded = Groups(samples=2)
    delta = told(history[:cut], Groups(samples=2))
    folded.fold(delta.take())
    assert delta.items() == []
    folded.fold(told(history[cut:], delta, cut).take())
    whole = as_data(told(history, Groups(samples=2)))
    parts = as_data(folded)
    for data in (whole, parts):             # what counts as noise so far depends on what was known at the time
        for counters in data["endpoints"].values():
            counters["differing"] = counters.pop("noisy") + counters.pop("different")
    assert parts == whole


@examples(100)
@given(HISTORY)
def test_what_was_saved_is_restored(history: list[tuple[str, Compared, Compared | None]]) -> None:
    data = json.loads(json.dumps(as_data(told(history, Groups()))))
    again = Groups()
    restore(again, data)
    assert as_data(again) == data


def test_a_group_knows_its_count_its_times_and_its_first_samples() -> None:
    groups = Groups(samples=2)
    for number in range(5):
        groups.add("/a", differing("$.x", text=str(number)), 100.0 + number, request=f"r{number}")
    [(key, group)] = groups.items()
    assert (key.endpoint, key.path, key.kind) == ("/a", "$.x", Kind.VALUE)
    assert (group.count, group.first_s, group.last_s) == (5, 100.0, 104.0)
    assert [(one.request, one.primary, one.at_s) for one in group.samples] == [("r0", "0", 100.0), ("r1", "1", 101.0)]


def test_the_control_is_counted_beside_the_candidate() -> None:
    groups = Groups()
    groups.add("/a", differing("$.x", "$.y"), 1.0, differing("$.x", "$.z"))
    groups.add("/a", differing("$.x"), 2.0, Compared((), "cut"))
    counts = {key.path: (one.count, one.both, one.candidate_only, one.control_only) for key, one in groups.items()}
    assert counts == {"$.x": (2, 1, 0, 0), "$.y": (1, 0, 1, 0), "$.z": (0, 0, 0, 1)}
    assert groups.endpoint("/a").controlled == 1


def test_what_the_control_shows_as_often_is_noisy_and_not_different() -> None:
    groups = Groups()
    groups.add("/a", differing("$.at"), 1.0, differing("$.at"))
    groups.add("/a", differing("$.at", "$.price"), 2.0, differing("$.at"))
    groups.add("/a", SAME, 3.0, differing("$.at"))
    one = groups.endpoint("/a")
    assert (one.compared, one.matched, one.noisy, one.different) == (3, 1, 1, 1)


def test_the_group_seen_least_goes_first_and_of_those_the_oldest() -> None:
    groups = Groups(most_groups=10)
    for number in range(10):
        groups.add("/a", differing(f"$.p{number}"), float(number))
    groups.add("/a", differing("$.p0"), 50.0)
    groups.add("/a", differing("$.new"), 51.0)
    left = {key.path for key, _ in groups.items()}
    assert left == {"$.p0", "$.new", *(f"$.p{number}" for number in range(3, 10))}
    assert groups.dropped == 2


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f600"])
def test_memory_is_bounded_in_bytes(letter: str) -> None:
    most = 512 * 1024
    tracemalloc.start()
    try:
        groups = Groups(most_groups=10**9, most_bytes=most)
        for number in range(4_000):
            long = letter * 180 + str(number)
            groups.add("/a", Compared((Difference(f"$.{long}", Kind.VALUE, f"a{long}", f"b{long}"),)), float(number))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert groups.bytes <= most
    assert held < most + 64 * 1024
    assert groups.dropped + len(groups.items()) == 4_000


def test_the_bytes_are_given_back() -> None:
    groups = Groups(most_groups=5)
    for number in range(100):
        groups.add("/a", differing(f"$.p{number}"), float(number))
    before = groups.bytes
    taken = groups.take()
    assert taken.bytes == before > 0
    assert len(taken.items()) > 0
    for given_back in (groups, taken):
        given_back.clear()
        assert (given_back.bytes, given_back.dropped, given_back.endpoints, given_back.items()) == (0, 0, {}, [])


def test_endpoints_and_reasons_are_bounded() -> None:
    groups = Groups()
    for number in range(3 * MOST_ENDPOINTS):
        groups.add(f"/{number}", SAME, 0.0)
        groups.skip("/0", f"reason {number}")
    assert len(groups.endpoints) <= MOST_ENDPOINTS
    assert groups.endpoints["other"].compared == 2 * MOST_ENDPOINTS + 1
    assert len(groups.endpoint("/0").skipped) <= 33


def test_endpoints_that_became_one_template_are_folded() -> None:
    groups = Groups(samples=3)
    for number, name in enumerate(("/a/x", "/a/y", "/b")):
        groups.add(name, differing("$.p"), float(number), differing("$.p"))
    groups.rename(lambda name: "/a/{}" if name.startswith("/a/") else name)
    assert {key.endpoint: (one.count, one.both, len(one.samples)) for key, one in groups.items()} == {
        "/a/{}": (2, 2, 2), "/b": (1, 1, 1)}
    assert groups.endpoints["/a/{}"].controlled == 2
