"""What is known of one route: its comparisons by endpoint, its differences by group, how long its answers took.

Invariants: compared = matched + different, where what differs by noise alone is matched. What is counted is told once,
whatever becomes of the result: `clear` begins a new one, and what was not told yet is told with its first news. Memory
is bounded: by the bounds of `Groups` and `Endpoints`, and for the rest by names that stand in the configuration.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from proxy.comparison.answers import answer_of
from proxy.core.compare.endpoints import Endpoints
from proxy.core.compare.groups import OTHER, Groups
from proxy.core.compare.noise import reported
from proxy.core.compare.pair import CompiledRules, compare
from proxy.core.compare.rules import rules_from
from proxy.ipc.comparing import Watched
from proxy.ipc.pairs import Pair
from proxy.telemetry.histogram import Histogram
from proxy.telemetry.shadowing import field_of

WINDOW_S = 60.0
MOST_GROUP_BYTES = 4 * 1024 * 1024
_NOBODYS_PATH = frozenset({400, 404, 405, 410, 414})
"""Answers after which a path teaches nothing: anybody can ask for any."""


@dataclass(slots=True)
class Totals:
    """Comparisons since the result began. `noisy`: of the matched, those that differ as the control does."""

    compared: int = 0
    matched: int = 0
    different: int = 0
    noisy: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    def add(self, more: Totals) -> None:
        """Count these as well."""
        self.compared += more.compared
        self.matched += more.matched
        self.different += more.different
        self.noisy += more.noisy
        _add(self.skipped, more.skipped)


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


def named(skipped: Mapping[str, int]) -> dict[str, int]:
    """Reasons why a body was not compared, as everybody calls them: `answer_cut`, `answer_too_large`, …

    Workers have reasons of their own, such as `cut` for a request.
    """
    return {"answer_" + reason.replace("-", "_"): count for reason, count in skipped.items()}


class Book:
    """See the module. `now_s`: seconds since the epoch. `before`: the route's book until now, which this one replaces;
    what it has not told yet is told here."""

    def __init__(self, watched: Watched, now_s: float, before: Book | None = None) -> None:
        self.watched = watched
        self.rules = CompiledRules(replace(rules_from(watched.rules), control=watched.control))
        self.endpoints = Endpoints(self.rules.rules.endpoints)
        self.groups = Groups(self.rules.rules.samples, most_bytes=MOST_GROUP_BYTES)
        self._new_skips: dict[str, int] = {}
        self.durations: dict[str, Histogram] = {}
        """By version, since they were told last."""
        self._owed, self._owed_fields = Totals(), dict[str, int]()
        self._begin(now_s)
        if before is not None:
            before._owe()
            self._new_skips, self.durations = before._new_skips, before.durations
            self._owed, self._owed_fields = before._owed, before._owed_fields

    def clear(self, now_s: float) -> None:
        """Begin afresh; the endpoints that were learned stay."""
        self._owe()
        self.groups.clear()
        self._begin(now_s)

    def _owe(self) -> None:
        """Keep what was not told yet: the result that it is part of ends."""
        self._owed.add(self._since_told())
        _add(self._owed_fields, self._mismatches_since_told())

    def _begin(self, now_s: float) -> None:
        self.since_s = now_s
        self.primary, self.shadow = Histogram(), Histogram()
        self.later = Histogram()
        """Request by request, by how much the shadow's answer took longer; 0 where it did not."""
        self.uncompared: dict[str, int] = {}
        """Pairs without a comparison, by reason, besides those of `groups`: there was no room, or no use."""
        self._told = Totals()
        self._told_fields: dict[str, int] = {}
        self._names = 0
        self._window: deque[tuple[float, int, int]] = deque()

    def take(self, pair: Pair) -> None:
        """One request's answers."""
        primary = answer_of(pair.primary)
        found = compare(self.rules, primary, answer_of(pair.shadow))
        control = None if pair.control is None else compare(self.rules, primary, answer_of(pair.control))
        self.groups.add(self.endpoint_of(pair), found, pair.at, control, pair.id.decode("latin-1"))
        if not pair.shadow.status:
            return                          # no answer came: there is no time to set beside the other's
        self.later.add(max(0.0, pair.shadow.took_s - pair.primary.took_s))
        for version, seconds, total in ((pair.version, pair.primary.took_s, self.primary),
                                        (pair.to, pair.shadow.took_s, self.shadow)):
            total.add(seconds)
            durations = self.durations.get(version)
            if durations is None:
                durations = self.durations[version] = Histogram()
            durations.add(seconds)

    def endpoint_of(self, pair: Pair) -> str:
        """Method and template, such as `GET /items/{}`."""
        template = self.endpoints.template(pair.target, learn=pair.primary.status not in _NOBODYS_PATH)
        return f"{pair.method[:32].decode('latin-1')} {template}"

    def skip(self, reason: str) -> None:
        """One pair more is not compared, for this reason."""
        for skips in (self.uncompared, self._new_skips):
            skips[reason] = skips.get(reason, 0) + 1

    def new_skips(self, new: Totals) -> dict[str, int]:
        """By reason, what was skipped here since the last call, with that of `new`."""
        skips, self._new_skips = self._new_skips, {}
        _add(skips, new.skipped)
        return skips

    def learn_again(self) -> None:
        """Learn the templates that the groups name, which come from somewhere else."""
        for name in self.groups.endpoints:
            template = name.partition(" ")[2]
            if template not in ("", OTHER):
                self.endpoints.template(template)

    def tidy(self) -> None:
        """Bring together what was counted under names that have become one template since."""
        if len(self.groups.endpoints) != self._names:
            self.groups.rename(self._current)
            self._names = len(self.groups.endpoints)

    def forget_places(self) -> None:
        """Let go of what makes comparing faster: it is worked out again."""
        self.rules = CompiledRules(self.rules.rules)

    def shrink(self) -> None:
        """Let go of the less frequent half of the groups, for the good of other routes."""
        smaller = Groups(self.rules.rules.samples, most_bytes=self.groups.bytes // 2)
        smaller.fold(self.groups)
        smaller_again = Groups(self.rules.rules.samples, most_bytes=MOST_GROUP_BYTES)
        smaller_again.fold(smaller)
        self.groups = smaller_again

    def totals(self) -> Totals:
        """The sums over the endpoints."""
        sums = Totals()
        for one in self.groups.endpoints.values():
            sums.compared += one.compared
            sums.matched += one.matched + one.noisy
            sums.different += one.different
            sums.noisy += one.noisy
            _add(sums.skipped, named(one.skipped))
        return sums

    def news(self, now: float) -> Totals:
        """What came since the last call. `now`: of any clock that does not go back, for the window."""
        new = self._since_told()
        if new.compared:
            self._window.append((now, new.compared, new.matched))
        owed, self._owed = self._owed, Totals()
        owed.add(new)
        return owed

    def _since_told(self) -> Totals:
        sums, told = self.totals(), self._told
        new = Totals(sums.compared - told.compared, sums.matched - told.matched, sums.different - told.different,
                     sums.noisy - told.noisy,
                     {reason: more for reason, count in sums.skipped.items()
                      if (more := count - told.skipped.get(reason, 0))})
        self._told = sums
        return new

    def told_all(self) -> None:
        """Take what there is for told: a predecessor has counted it."""
        self._told = self.totals()
        self._mismatches_since_told()

    def window(self, now: float) -> tuple[int, int]:
        """Compared and matched, in about the last minute."""
        while self._window and self._window[0][0] < now - WINDOW_S:
            self._window.popleft()
        return sum(compared for _, compared, _ in self._window), sum(matched for _, _, matched in self._window)

    def new_mismatches(self) -> dict[str, int]:
        """By field, how many comparisons showed a difference that is reported, beyond those that were told already.

        What led to a report counts too, so a field may begin with a jump. It never goes back.
        """
        fields, self._owed_fields = self._owed_fields, {}
        _add(fields, self._mismatches_since_told())
        return fields

    def _mismatches_since_told(self) -> dict[str, int]:
        self.tidy()
        headers = self.rules.rules.headers
        now: dict[str, int] = {}
        for one in reported(self.groups, self.rules.rules):
            name = field_of(one.key.path, one.key.kind.value, headers)
            now[name] = now.get(name, 0) + one.group.count
        new = {name: count - self._told_fields.get(name, 0) for name, count in now.items()}
        for name, count in now.items():
            self._told_fields[name] = max(count, self._told_fields.get(name, 0))
        return {name: count for name, count in new.items() if count > 0}

    def _current(self, name: str) -> str:
        method, blank, template = name.partition(" ")
        return f"{method} {self.endpoints.current(template)}" if blank else name
