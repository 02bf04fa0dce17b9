"""Differences of many comparisons, grouped by (endpoint, path, kind), with a few samples each.

Invariants: memory is bounded by `most_groups` and by `most_bytes` (estimated from above, strings included); who loses
is the group seen in the fewest comparisons, of those the one not seen for longest, and each is counted in `dropped`.
For every endpoint compared = matched + noisy + different.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.core.compare.excerpts import printable
from proxy.core.compare.pair import Compared
from proxy.core.compare.values import Difference, Kind

OTHER = "other"
"""The endpoint of everything beyond the bound."""
MOST_ENDPOINTS = 1_000
_MOST_REASONS = 32
_LONGEST_NAME = 256
_GROUP_BYTES = 800
_SAMPLE_BYTES = 240


class GroupKey(NamedTuple):
    """What is the same difference."""

    endpoint: str
    path: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Sample:
    """One example of a difference: when (seconds since the epoch), of which request (its id), and both excerpts."""

    at_s: float
    request: str
    primary: str
    shadow: str


@dataclass(slots=True)
class Group:
    """How often a difference was seen. `count`: comparisons in which the candidate showed it. Of those with a control:
    `both` showed it, `candidate_only`, `control_only` (also where `count` knows nothing of it)."""

    count: int = 0
    both: int = 0
    candidate_only: int = 0
    control_only: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    samples: list[Sample] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """Comparisons in which anybody showed it: what a group is worth when room is needed."""
        return self.count + self.control_only

    def is_noise_so_far(self) -> bool:
        """Whether the control shows it at least half as often as the candidate: a first guess, `noise` judges."""
        control = self.both + self.control_only
        return control > 0 and 2 * control >= self.both + self.candidate_only


@dataclass(slots=True)
class Endpoint:
    """What became of the comparisons of one endpoint. `noisy`: differed only where the control differs, too.
    `controlled`: had a control to compare with. `skipped`: by reason, nothing was compared."""

    compared: int = 0
    matched: int = 0
    noisy: int = 0
    different: int = 0
    controlled: int = 0
    skipped: dict[str, int] = field(default_factory=dict)


class Groups:
    """All groups of one route. `at_s` are seconds since the epoch; `samples`: kept per group, the first ones."""

    __slots__ = ("_bytes", "_groups", "_most_bytes", "_most_groups", "_samples", "dropped", "endpoints")

    def __init__(self, samples: int = 5, most_groups: int = 1_000, most_bytes: int = 4 * 1024**2) -> None:
        self._samples = samples
        self._most_groups = max(1, most_groups)
        self._most_bytes = most_bytes
        self.endpoints: dict[str, Endpoint] = {}
        self.dropped = 0
        self._groups: dict[GroupKey, Group] = {}
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """What the groups and their samples take, at most."""
        return self._bytes

    def items(self) -> list[tuple[GroupKey, Group]]:
        """Every group, the most frequent first."""
        return sorted(self._groups.items(), key=lambda item: (-item[1].count, -item[1].last_s, item[0]))

    def skip(self, endpoint: str, reason: str, count: int = 1) -> None:
        """A request of which nothing was compared, and why (a slug)."""
        skipped = self.endpoint(endpoint).skipped
        reason = printable(reason, 64)
        known = reason if reason in skipped or len(skipped) < _MOST_REASONS else OTHER
        skipped[known] = skipped.get(known, 0) + count

    def add(self, endpoint: str, candidate: Compared, at_s: float, control: Compared | None = None,
            request: str = "") -> None:
        """One comparison: the candidate's answer, and the control's where there was one, each with the primary's.

        Where a body was skipped, its differences in status and headers still count; without any, it was no comparison.
        """
        if candidate.skipped and not candidate.differences:
            self.skip(endpoint, candidate.skipped)
            return
        counters = self.endpoint(endpoint)
        name = self._name(endpoint)
        counters.compared += 1
        fair = control is not None and not (control.skipped or candidate.skipped)
        counters.controlled += fair
        ours = {(one.path, one.kind): one for one in candidate.differences}
        theirs = {(one.path, one.kind) for one in control.differences} if control is not None and fair else set()
        beyond_noise = False
        for path, kind in sorted(theirs - ours.keys()):
            self._group(name, path, kind, at_s).control_only += 1
        for (path, kind), difference in ours.items():
            group = self._group(name, path, kind, at_s)
            group.count += 1
            group.both += fair and (path, kind) in theirs
            group.candidate_only += fair and (path, kind) not in theirs
            self._sample(group, difference, at_s, request)
            beyond_noise = beyond_noise or not group.is_noise_so_far()
        counters.matched += not ours
        counters.different += beyond_noise
        counters.noisy += bool(ours) and not beyond_noise
        self._make_room()

    def endpoint(self, name: str) -> Endpoint:
        """The counters of an endpoint; beyond the bound, those of `other`."""
        name = self._name(name)
        counters = self.endpoints.get(name)
        if counters is None:
            counters = self.endpoints[name] = Endpoint()
        return counters

    def fold(self, delta: Groups) -> None:
        """Add what another one counted: the deltas of a comparison process, or the past."""
        for name, more in delta.endpoints.items():
            self._fold_endpoint(name, more)
        for key, group in delta._groups.items():
            self._fold_group(key, group)
        self.dropped += delta.dropped
        self._make_room()

    def put(self, key: GroupKey, group: Group) -> None:
        """Add one group as it is."""
        self._fold_group(key, group)

    def take(self) -> Groups:
        """Everything so far, as a value of its own; this one begins anew."""
        taken = Groups(self._samples, self._most_groups, self._most_bytes)
        taken.endpoints, taken._groups = self.endpoints, self._groups
        taken.dropped, taken._bytes = self.dropped, self._bytes
        self.clear()
        return taken

    def clear(self) -> None:
        """Start afresh."""
        self.endpoints, self._groups = {}, {}
        self.dropped = self._bytes = 0

    def rename(self, current: Callable[[str], str]) -> None:
        """Fold endpoints whose template has become a more general one into that (`Endpoints.current`)."""
        old = self.take()
        for name, counters in old.endpoints.items():
            self._fold_endpoint(current(name), counters)
        for key, group in old._groups.items():
            self._fold_group(key._replace(endpoint=current(key.endpoint)), group)
        self.dropped = old.dropped

    def _name(self, name: str) -> str:
        name = printable(name, _LONGEST_NAME)
        return name if name in self.endpoints or len(self.endpoints) < MOST_ENDPOINTS - 1 else OTHER

    def _fold_endpoint(self, name: str, more: Endpoint) -> None:
        counters = self.endpoint(name)
        counters.compared += more.compared
        counters.matched += more.matched
        counters.noisy += more.noisy
        counters.different += more.different
        counters.controlled += more.controlled
        for reason, count in more.skipped.items():
            self.skip(name, reason, count)

    def _fold_group(self, key: GroupKey, more: Group) -> None:
        group = self._group(self._name(key.endpoint), key.path, key.kind, more.first_s)
        group.count += more.count
        group.both += more.both
        group.candidate_only += more.candidate_only
        group.control_only += more.control_only
        group.first_s, group.last_s = min(group.first_s, more.first_s), max(group.last_s, more.last_s)
        for sample in more.samples:
            self._keep(group, sample)

    def _group(self, endpoint: str, path: str, kind: Kind, at_s: float) -> Group:
        key = GroupKey(endpoint, path, kind)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(first_s=at_s, last_s=at_s)
            self._bytes += _weight_of(key, group)
        group.last_s = max(group.last_s, at_s)
        return group

    def _sample(self, group: Group, difference: Difference, at_s: float, request: str) -> None:
        if len(group.samples) < self._samples:
            self._keep(group, Sample(at_s, printable(request, 64), difference.primary, difference.shadow))

    def _keep(self, group: Group, sample: Sample) -> None:
        if len(group.samples) < self._samples:
            group.samples.append(sample)
            self._bytes += _weight(sample)

    def _make_room(self) -> None:
        """Down to nine tenths of the bounds at once, so that it is not done for every comparison."""
        if len(self._groups) <= self._most_groups and self._bytes <= self._most_bytes:
            return
        by_use = sorted(self._groups.items(), key=lambda item: (item[1].seen, item[1].last_s, item[0]))
        for key, group in by_use:
            if len(self._groups) <= self._most_groups * 0.9 and self._bytes <= self._most_bytes * 0.9:
                return
            del self._groups[key]
            self._bytes -= _weight_of(key, group)
            self.dropped += 1


def _weight_of(key: GroupKey, group: Group) -> int:
    return _GROUP_BYTES + _text(key.endpoint) + _text(key.path) + sum(map(_weight, group.samples))


def _weight(sample: Sample) -> int:
    return _SAMPLE_BYTES + _text(sample.request) + _text(sample.primary) + _text(sample.shadow)


def _text(text: str) -> int:
    """Bytes a string takes at most: Python stores up to four per character once one needs them."""
    return len(text) if text.isascii() else 4 * len(text)
