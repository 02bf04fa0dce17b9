"""Whatever becomes of a route's result, each pair is counted in one summary, and in no other."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from proxy.comparison.shelf import BUSY, MOST_KEPT, Shelf
from proxy.comparison.summing import Summing
from proxy.comparison.telling import tell
from proxy.ipc.comparing import Watched
from proxy.telemetry import shadowing as metric
from proxy.telemetry.names import SHADOW_SKIPPED
from tests.support.comparing import pair

SHOP = Watched("shop", "new", False, "{}")
OTHER_RULES = Watched("shop", "new", False, '{"ignore": ["$.b"]}')


class Summed:
    """A shelf, and what summaries of it have told."""

    def __init__(self, *routes: Watched) -> None:
        self.now = 0.0
        self.shelf = Shelf()
        self.told: Counter[tuple[str, ...]] = Counter()
        self.windows: dict[str, int] = {}
        self._summing = Summing(self.shelf, lambda: self.now)
        self.shelf.configure(routes, 0.0)

    def sum_up(self) -> None:
        """What the comparer does once a second."""
        self.now += 1.0
        self.shelf.make_room()
        summary = self._summing.take(0, 0)
        for name, labels, count in summary.counters:
            self.told[name, *labels] += int(count)
        for name, labels, buckets, _ in summary.histograms:
            self.told[name, *labels] += sum(buckets.values())
        self.windows = {window.route: window.compared for window in summary.windows}

    def compare(self, *, differ: bool = False) -> None:
        assert self.shelf.take(pair({"a": 1}, {"a": 2 if differ else 1})) is not None

    @property
    def compared(self) -> tuple[int, int]:
        """Matched and different."""
        return self.told[metric.COMPARED, "shop", "matched"], self.told[metric.COMPARED, "shop", "different"]


def test_what_was_not_told_when_a_result_is_cleared_is_told_with_the_next() -> None:
    it = Summed(SHOP)
    it.compare()
    it.compare(differ=True)
    it.shelf.books["shop"].skip(BUSY)
    it.shelf.clear("shop", 1.0)
    it.compare(differ=True)
    it.sum_up()
    it.sum_up()
    assert it.compared == (1, 2)
    assert it.told[SHADOW_SKIPPED, "shop", BUSY] == 1
    assert it.told[metric.MISMATCHES, "shop", "body:value"] == 2
    assert it.told[metric.DURATION, "shop", "old"] == it.told[metric.DURATION, "shop", "new"] == 3
    assert it.windows == {"shop": 1}, "the minute begins anew"
    assert (tell(it.shelf, "report", "shop", {}, 2.0) or {})["compared"] == 1


def test_what_was_not_told_when_a_route_is_watched_no_more_is_told_and_then_it_is_put_away() -> None:
    it = Summed(SHOP)
    it.compare()
    it.shelf.configure([Watched(f"route{n}", "new", False, "{}") for n in range(MOST_KEPT)], 1.0)
    it.shelf.configure([], 1.0)
    assert len(it.shelf.kept) == MOST_KEPT
    it.sum_up()
    assert it.compared == (1, 0)
    it.sum_up()
    assert it.compared == (1, 0)
    assert (list(it.shelf.books), len(it.shelf.kept), list(it.shelf.kept)[-1]) == ([], MOST_KEPT, "shop")
    assert it.shelf.take(pair(1, 1)) is None


def test_what_is_cleared_after_its_route_was_watched_is_told_and_not_kept() -> None:
    it = Summed(SHOP)
    it.compare()
    it.shelf.configure([], 1.0)
    assert (it.shelf.clear("shop", 1.0), it.shelf.clear("shop", 1.0)) == (True, False)
    assert it.shelf.find("shop") is None
    it.sum_up()
    it.sum_up()
    assert it.compared == (1, 0)
    assert (it.shelf.books, it.shelf.kept) == ({}, {})
    it.shelf.configure([SHOP], 2.0)
    it.compare()
    assert (tell(it.shelf, "report", "shop", {}, 2.0) or {})["compared"] == 1


def test_what_was_not_told_when_a_shadow_is_changed_is_told_with_the_result_after_it() -> None:
    it = Summed(SHOP)
    it.compare(differ=True)
    it.shelf.configure([OTHER_RULES], 1.0)
    assert (tell(it.shelf, "report", "shop", {}, 2.0) or {})["compared"] == 0
    it.compare()
    it.sum_up()
    assert it.compared == (1, 1)
    assert it.told[metric.MISMATCHES, "shop", "body:value"] == 1


@given(st.lists(st.sampled_from(["alike", "differing", "busy", "clear", "changed", "away", "back", "sum up"])))
def test_each_pair_is_told_once_whatever_happens(steps: list[str]) -> None:
    it = Summed(SHOP)
    alike = differing = busy = 0
    for step in steps:
        book = it.shelf.books.get("shop")
        if step == "alike" and book is not None:
            it.compare()
            alike += 1
        elif step == "differing" and book is not None:
            it.compare(differ=True)
            differing += 1
        elif step == "busy" and book is not None:
            book.skip(BUSY)
            it.shelf.active["shop"] = None
            busy += 1
        elif step == "clear":
            it.shelf.clear("shop", it.now)
        elif step == "changed":
            it.shelf.configure([OTHER_RULES], it.now)
        elif step == "away":
            it.shelf.configure([], it.now)
        elif step == "back":
            it.shelf.configure([SHOP], it.now)
        elif step == "sum up":
            it.sum_up()
    it.sum_up()
    assert it.compared == (alike, differing)
    assert it.told[SHADOW_SKIPPED, "shop", BUSY] == busy
    assert it.told[metric.MISMATCHES, "shop", "body:value"] == differing
    assert it.told[metric.DURATION, "shop", "old"] == alike + differing
