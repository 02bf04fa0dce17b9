from __future__ import annotations

import pytest

from proxy.cli.weights import parse_split

TWO = ["old", "new"]
THREE = ["old", "new", "next"]


@pytest.mark.parametrize(("typed", "split"), [
    ("old=90 new=10", {"old": 90, "new": 10}),
    ("new=1 old=3", {"old": 3, "new": 1}),
    ("new=10%", {"old": 90, "new": 10}),
    ("new=0.1%", {"old": 99.9, "new": 0.1}),
    ("old=70% new=30%", {"old": 70, "new": 30}),
    ("10", {"old": 90, "new": 10}),
    ("12.5%", {"old": 87.5, "new": 12.5}),
    ("0", {"old": 100, "new": 0}),
    ("100", {"old": 0, "new": 100}),
    ("new=100", {"old": 0, "new": 100}),
])
def test_weights_of_two_versions(typed: str, split: dict[str, float]) -> None:
    assert parse_split(typed.split(), TWO, "old") == split


@pytest.mark.parametrize(("typed", "split"), [
    ("new=10% next=5%", {"old": 85, "new": 10, "next": 5}),
    ("new=10%", {"old": 90, "new": 10, "next": 0}),
    ("old=60 new=40", {"old": 60, "new": 40, "next": 0}),
])
def test_weights_of_three_versions(typed: str, split: dict[str, float]) -> None:
    assert parse_split(typed.split(), THREE, "old") == split


@pytest.mark.parametrize(("typed", "said"), [
    ("new=10", "Write `new=10%` for shares.* or every weight: `new=10 old=…`"),
    ("nwe=10%", "no version `nwe`.* it has old, new"),
    ("new", "not VERSION=WEIGHT, such as new=10"),
    ("new=ten", "not VERSION=WEIGHT"),
    ("new=-1", "not VERSION=WEIGHT"),
    ("new=nan", "not VERSION=WEIGHT"),
    ("new=1e9", "not VERSION=WEIGHT"),
    ("new=10% old=20", "do not mix"),
    ("new=10 new=20", "named twice"),
    ("new=101%", "add up to 101%"),
    ("old=50% new=40%", "add up to 90%"),
    ("old=0 new=0", "somebody has to serve"),
    ("101", "add up to 101%"),
])
def test_what_cannot_be_or_could_mean_two_things_is_refused(typed: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_split(typed.split(), TWO, "old")


def test_a_bare_number_needs_exactly_one_candidate() -> None:
    with pytest.raises(ValueError, match=r"say which version: .* for example new=10%"):
        parse_split(["10"], THREE, "old")
    with pytest.raises(ValueError, match="one version only"):
        parse_split(["10"], ["old"], "old")


def test_the_baseline_need_not_be_the_first() -> None:
    assert parse_split(["old=20%"], TWO, "new") == {"old": 20, "new": 80}
    assert parse_split(["20"], TWO, "new") == {"old": 20, "new": 80}
