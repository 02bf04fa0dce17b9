"""Weights as they are typed, `old=90 new=10`, `new=10%` or `10`, to the whole split that the API wants.

Invariant: a version that was not named gets nothing by accident. The API gives 0 to what is left out, so `new=10` alone
would send everything to `new`; here it is an error that shows the two things it could mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

_NUMBER = re.compile(r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,9})?)(?P<percent>%?)")
_ALL = 100.0
_DIGITS = 9
"""Decimals of a weight that the API knows."""

Split = dict[str, float]


def parse_split(words: Sequence[str], versions: Sequence[str], baseline: str) -> Split:
    """Return a weight for every version.

    Shares in percent: the versions that are not named share nothing, and what is missing to 100 % goes to the baseline.
    Plain weights: every version is named, or those that are add up to 100. One bare number is the percentage of the
    only candidate. Raises ValueError with what to type instead.
    """
    if len(words) == 1 and "=" not in words[0]:
        words = [f"{_only_candidate(words[0], versions, baseline)}={words[0].removesuffix('%')}%"]
    named: Split = {}
    percents = set()
    for word in words:
        name, weight, is_percent = _word(word, versions)
        if name in named:
            raise ValueError(f"{name} is named twice")
        named[name] = weight
        percents.add(is_percent)
    if len(percents) > 1:
        raise ValueError("percentages and plain weights do not mix: write all of them with %, or none")
    return _shares(named, versions, baseline) if percents == {True} else _weights(named, versions)


def _word(word: str, versions: Sequence[str]) -> tuple[str, float, bool]:
    name, equals, value = word.partition("=")
    match = _NUMBER.fullmatch(value)
    if not equals or match is None:
        raise ValueError(f"`{word}` is not VERSION=WEIGHT, such as {versions[-1]}=10 or {versions[-1]}=10%")
    if name not in versions:
        raise ValueError(f"there is no version `{name}` in this route; it has {', '.join(versions)}")
    return name, float(match["number"]), bool(match["percent"])


def _only_candidate(word: str, versions: Sequence[str], baseline: str) -> str:
    if _NUMBER.fullmatch(word) is None:
        raise ValueError(f"`{word}` is not VERSION=WEIGHT, such as {versions[-1]}=10 or {versions[-1]}=10%")
    candidates = [version for version in versions if version != baseline]
    if len(candidates) != 1:
        raise ValueError(f"say which version: this route has {', '.join(versions)}; for example {candidates[0]}={word}%"
                         if candidates else "this route has one version only; there is nothing to move")
    return candidates[0]


def _shares(named: Split, versions: Sequence[str], baseline: str) -> Split:
    rest = round(_ALL - math.fsum(named.values()), _DIGITS)
    if rest < 0 or (rest and baseline in named):
        raise ValueError(f"the percentages add up to {_ALL - rest:.6g}%, not to 100%")
    split = {version: named.get(version, 0.0) for version in versions}
    split[baseline] += rest
    return split


def _weights(named: Split, versions: Sequence[str]) -> Split:
    missing = [version for version in versions if version not in named]
    total = math.fsum(named.values())
    if missing and total != _ALL:
        percents = " ".join(f"{name}={weight:g}%" for name, weight in named.items())
        whole = " ".join(f"{name}={weight:g}" for name, weight in named.items())
        rest = " ".join(f"{name}=…" for name in missing)
        raise ValueError(f"what of {', '.join(missing)}? Write `{percents}` for shares, the baseline gets the rest, "
                         f"or every weight: `{whole} {rest}`")
    if total <= 0:
        raise ValueError("somebody has to serve: at least one weight must be above 0")
    return {version: named.get(version, 0.0) for version in versions}
