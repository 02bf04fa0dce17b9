"""The control tells noise from differences: simulated with chance that begins the same way each time."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

from proxy.core.compare.groups import Groups
from proxy.core.compare.noise import findings, log_evidence, reported, suggestions, unordered_suggestions
from proxy.core.compare.pair import Compared, CompiledRules, compare
from proxy.core.compare.values import Answer, Difference, Kind, Rules
from tests.support.planting import Plant, baseline, plants

CONTROLLED = Rules(control=True)


def noted(path: str = "$.a", kind: Kind = Kind.VALUE) -> Compared:
    return Compared((Difference(path, kind, "x", "y"),))


SAME = Compared(())


def one_group(count: int, candidate: float, control: float, seed: int = 1, rules: Rules = CONTROLLED) -> str | None:
    """The verdict about a group that the two show at these rates."""
    chance, groups = random.Random(seed), Groups()
    for number in range(count):
        ours, theirs = chance.random() < candidate, chance.random() < control
        groups.add("/", noted() if ours else SAME, float(number), noted() if theirs else SAME)
    found = findings(groups, rules)
    return found[0].verdict if found else None


@pytest.mark.parametrize("rate", [0.001, 0.02, 0.3, 0.9, 1.0])
def test_what_both_show_alike_is_never_a_difference(rate: float) -> None:
    assert one_group(4_000, rate, rate) in ("noise", "undecided", None)


@pytest.mark.parametrize(("candidate", "control", "count"), [
    (0.02, 0.0, 2_500), (1.0, 0.0, 100), (0.12, 0.04, 4_000), (1.0, 0.3, 400), (0.004, 0.0, 15_000)])
def test_what_the_candidate_shows_clearly_more_often_is_found(candidate: float, control: float, count: int) -> None:
    assert one_group(count, candidate, control) == "difference"


def test_a_difference_within_the_margins_is_not_reported() -> None:
    assert one_group(5_000, 0.5, 0.4) == "noise"
    assert one_group(5_000, 0.5, 0.4, rules=Rules(control=True, relative_margin=0.0)) == "difference"
    assert one_group(5_000, 0.02, 0.0, rules=Rules(control=True, absolute_margin=0.05)) == "undecided"


def test_nothing_is_said_before_the_minimum() -> None:
    assert one_group(99, 1.0, 0.0) == "undecided"
    assert one_group(100, 1.0, 0.0) == "difference"


def test_without_a_control_everything_is_reported() -> None:
    groups = Groups()
    groups.add("/", noted(), 0.0)
    [found] = reported(groups, Rules())
    assert (found.verdict, found.candidate_rate) == ("difference", 1.0)


def test_noise_in_bursts_is_no_difference() -> None:
    chance, groups = random.Random(5), Groups()
    for number in range(8_000):
        rate = 0.95 if number // 400 % 5 == 0 else 0.01
        ours, theirs = chance.random() < rate, chance.random() < rate
        groups.add("/", noted() if ours else SAME, float(number), noted() if theirs else SAME)
        if number % 100 == 0:
            assert reported(groups, CONTROLLED) == []


def test_looking_after_every_comparison_seldom_gives_a_false_alarm() -> None:
    """At 20 % false alarm, of 300 runs of noise, each looked at a thousand times, at most 60 (Ville's inequality)."""
    chance, alarms = random.Random(7), 0
    for _ in range(300):
        ours = theirs = 0
        for _ in range(1_000):
            if chance.random() < 0.6:           # as often as the margin of 50 % allows
                ours += 1
            else:
                theirs += 1
            if log_evidence(ours, theirs, 0.5) >= 1.6094:
                alarms += 1
                break
    assert alarms <= 60


def test_evidence_grows_with_what_the_candidate_alone_shows() -> None:
    assert log_evidence(0, 0) == pytest.approx(0.0)
    assert all(log_evidence(n + 1, 3) > log_evidence(n, 3) for n in range(5, 200))
    assert log_evidence(10**7, 10**7) < 0
    assert log_evidence(10**8, 0) > 10**7


def answer_of(document: dict[str, Any]) -> Answer:
    return Answer(200, ((b"content-type", b"application/json"),), json.dumps(document).encode())


def simulated(count: int, planted: list[tuple[str, str, Plant]], rate: float, seed: int) -> Groups:
    """Answers of a baseline, its control and a candidate in which each difference is planted at this rate."""
    chance, groups, rules = random.Random(seed), Groups(), CompiledRules(CONTROLLED)
    for number in range(count):
        primary, control, candidate = (baseline(chance) for _ in range(3))
        for _, _, plant in planted:
            if chance.random() < rate:
                plant(candidate)
        one = answer_of(primary)
        ours, theirs = compare(rules, one, answer_of(candidate)), compare(rules, one, answer_of(control))
        groups.add("/", ours, float(number), theirs)
    return groups


def test_fifty_planted_differences_are_all_found_under_noise_and_nothing_else() -> None:
    planted = plants()
    assert len(planted) == 50
    groups = simulated(3_000, planted, 0.02, seed=11)
    found = {(one.key.path, one.key.kind.value) for one in reported(groups, CONTROLLED)}
    expected = {(path, kind) for path, kind, _ in planted} | {("$.items[*]", "missing")}   # the one gone
    assert found == expected


@pytest.mark.parametrize("seed", range(4))
def test_noise_alone_is_never_reported(seed: int) -> None:
    groups = simulated(1_000, [], 0.0, seed)
    assert reported(groups, Rules(control=True, minimum=1)) == []
    assert {one.key.path for one in findings(groups, CONTROLLED)} >= {"$.served_at", "$.node", "$.cached", "$.tags"}


def test_what_to_ignore_is_suggested_from_the_control_alone() -> None:
    groups = simulated(600, plants()[:10], 0.05, seed=3)
    assert suggestions(groups) == ["$.cached", "$.node", "$.notice", "$.served_at"]
    assert unordered_suggestions(groups) == ["$.tags"]


def test_suggestions_leave_out_what_is_covered_and_what_would_ignore_everything() -> None:
    groups = Groups()
    listed = ("$.a", "$.a.b", "$.ab", "$.c[*].d", "$", "$[*]", "$.*", "status", "body", "header:x-a", "$.a.b…")
    noisy = Compared(tuple(Difference(path, Kind.VALUE, "", "") for path in listed))
    for number in range(5):
        groups.add("/", SAME, float(number), copy.copy(noisy))
    assert suggestions(groups) == ["header:x-a", "$.a", "$.ab", "$.c[*].d"]


def test_without_noise_twenty_five_occurrences_are_enough() -> None:
    for count, verdict in ((24, "undecided"), (25, "difference")):
        groups = Groups()
        for number in range(10_000):
            groups.add("/", noted() if number < count else SAME, float(number), SAME)
        assert findings(groups, CONTROLLED)[0].verdict == verdict
