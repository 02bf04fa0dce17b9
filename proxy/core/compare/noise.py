"""Which differences are the candidate's and which are noise: the comparison with a control.

A control is a second copy to the baseline, compared with the same primary answer. If the candidate differs by noise
alone, it and the control are exchangeable: of the comparisons in which exactly one of the two shows a difference, each
is as likely to be the one (the discordant pairs of McNemar, Psychometrika 12, 1947). So noise that comes in bursts, or
depends on the request, needs no model: it strikes both alike.

A group is reported when three things hold:

- the candidate's rate is more than control rate x (1 + relative_margin) + absolute_margin, as measured;
- the endpoint had `minimum` comparisons with a control;
- the discordant pairs speak against noise, also against noise that the candidate shows (1 + relative_margin) times as
  often: a mixture of likelihood ratios reaches 1 / alpha. That is a supermartingale as long as the null holds, so by
  Ville's inequality (1939; Robbins, Ann. Math. Stat. 41, 1970) looking again after every comparison is free: the chance
  that it *ever* gets there is alpha. Alpha is `FALSE_ALARM` ÷ the number of groups, at least 1,000 (Bonferroni).

With no noise in a group, 25 occurrences are enough. A group has a kind, so a type that changes or a member that
goes missing is found in a field whose *value* is noise. A planted value in a field whose value is noise anyway cannot
be told from it, except by its rate: no comparison of values can.

Invariant: a verdict depends on the counts alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, inf, log
from typing import Literal

from proxy.core.compare.groups import Endpoint, Group, GroupKey, Groups
from proxy.core.compare.values import Kind, Rules

Verdict = Literal["difference", "noise", "undecided"]

FALSE_ALARM = 0.01
"""The chance that any group of a route is ever reported for noise alone."""
_LEAST_GROUPS = 1_000
_ALTERNATIVES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.35, 0.25, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 256)
"""The mixture: shares of the control in the discordant pairs, as fractions of its share under the null. The large ones
find a candidate that is a little above the margin, the small ones a difference that the control never shows."""
_NOISE_HITS = 3
_NOISE_RATE = 0.005


@dataclass(frozen=True, slots=True)
class Finding:
    """A group and what it is. Rates are fractions of the comparisons that had a control, of all where none had.

    `undecided`: the candidate alone showed it, or more often than the control, but not often enough to be sure.
    """

    key: GroupKey
    group: Group
    candidate_rate: float
    control_rate: float
    verdict: Verdict


def findings(groups: Groups, rules: Rules) -> list[Finding]:
    """Every group that the candidate showed, judged; the most frequent first. Without `control` all are differences."""
    items = groups.items()
    alpha = FALSE_ALARM / max(_LEAST_GROUPS, len(items) + groups.dropped)
    return [_finding(key, group, groups.endpoint(key.endpoint), rules, alpha) for key, group in items if group.count]


def reported(groups: Groups, rules: Rules) -> list[Finding]:
    """The groups that are the candidate's own, the most frequent first."""
    return [one for one in findings(groups, rules) if one.verdict == "difference"]


def log_evidence(candidate_only: int, control_only: int, relative_margin: float = 0.0) -> float:
    """Logarithm of the evidence that the candidate differs more than (1 + margin) times as often as the control.

    The average, over alternatives q above theta = (1 + margin) / (2 + margin), of the likelihood ratios of q and theta
    for `candidate_only` successes and `control_only` failures.
    """
    null = (1 + relative_margin) / (2 + relative_margin)
    ratios = []
    for factor in _ALTERNATIVES:
        fails = (1 - null) * factor
        ratios.append(candidate_only * log((1 - fails) / null) + control_only * log(fails / (1 - null)))
    highest = max(ratios)
    return highest + log(sum(exp(ratio - highest) for ratio in ratios) / len(_ALTERNATIVES))


def suggestions(groups: Groups) -> list[str]:
    """Ignore rules for what differs between two answers of the baseline: JSON paths and headers, sorted.

    A difference of status, or of a body that is no JSON, is never suggested away, nor is a document as a whole: that is
    the operator's to decide. A path that another one covers is left out.
    """
    noisy = {key.path for key, group in _noisy(groups) if key.kind is not Kind.ORDER}
    headers = sorted(path for path in noisy if path.startswith("header:"))
    paths = sorted(path for path in noisy if path.startswith("$") and path.strip("$.[]*…") and "…" not in path)
    return headers + [path for path in paths if not any(_covers(other, path) for other in paths)]


def unordered_suggestions(groups: Groups) -> list[str]:
    """JSON paths of arrays whose order differs between two answers of the baseline, sorted."""
    return sorted({key.path for key, _ in _noisy(groups) if key.kind is Kind.ORDER and "…" not in key.path})


def _finding(key: GroupKey, group: Group, endpoint: Endpoint, rules: Rules, alpha: float) -> Finding:
    if not rules.control:
        return Finding(key, group, group.count / max(1, endpoint.compared), 0.0, "difference")
    controlled = max(1, endpoint.controlled)
    candidate = (group.both + group.candidate_only) / controlled
    control = (group.both + group.control_only) / controlled
    return Finding(key, group, candidate, control, _verdict(group, candidate, control, endpoint, rules, alpha))


def _verdict(
    group: Group, candidate: float, control: float, endpoint: Endpoint, rules: Rules, alpha: float
) -> Verdict:
    if candidate <= control * (1 + rules.relative_margin) + rules.absolute_margin:
        return "noise" if control else "undecided"
    if endpoint.controlled < rules.minimum:
        return "undecided"
    evidence = log_evidence(group.candidate_only, group.control_only, rules.relative_margin)
    return "difference" if evidence >= -log(alpha) else "undecided"


def _noisy(groups: Groups) -> Iterable[tuple[GroupKey, Group]]:
    for key, group in groups.items():
        hits = group.both + group.control_only
        if hits >= _NOISE_HITS and hits >= _NOISE_RATE * (groups.endpoint(key.endpoint).controlled or inf):
            yield key, group


def _covers(other: str, path: str) -> bool:
    return path != other and path.startswith(other) and path[len(other)] in ".["
