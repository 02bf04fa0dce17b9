"""What the comparer knows and what the workers count of a route's shadow, put together into what the API shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from proxy.admin import shadow_shapes
from proxy.admin.control import Control
from proxy.admin.route_views import shadow_view
from proxy.core.route import Route
from proxy.telemetry import names as counted
from proxy.telemetry import shadowing
from proxy.telemetry.fold import Fold

_NOTHING: Mapping[str, Any] = {
    "since": None, "control": False, "compared": 0, "matched": 0, "different": 0, "noisy": 0, "skipped": {},
    "latency": {side: {"p50_ms": None, "p99_ms": None} for side in ("primary", "shadow", "later")},
    "endpoints": [], "differences": [], "more": 0, "dropped_groups": 0,
}


_NOBODY = 0
"""Processes are counted from 1."""
_BEFORE = "shadow_before_clear"
"""Among the sums, which a successor is handed: by route and reason (copies: none), what there was at the last clear. It
is shown nowhere."""


class Copies:
    """What workers have counted of copies, less what there was when a route was started afresh."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold

    def clear(self, route: str) -> None:
        """Count from here on."""
        counted_now, before = self._counted(route), self._before(route)
        self._add((route, reason, counted_now.get(reason, 0) - before.get(reason, 0))
                  for reason in counted_now.keys() | before.keys())

    def of(self, route: str) -> tuple[int, dict[str, int]]:
        """How many copies were made, and by reason how many requests were skipped."""
        counted_now, before = self._counted(route), self._before(route)
        if any(counted_now.get(reason, 0) < count for reason, count in before.items()):
            # Sums of a route that went and came back have begun at 0 again: that was long after the clear.
            self._add((route, reason, -count) for reason, count in before.items())
            before = {}
        rest = {reason: count - before.get(reason, 0) for reason, count in counted_now.items()}
        copied = rest.pop("", 0)
        return copied, {reason: count for reason, count in rest.items() if count > 0}

    def fraction(self, route: str) -> float:
        """What load leaves of the copies, at the worker that sheds most."""
        return self._fold.lowest(counted.SHADOW_FRACTION).get((route,), 1.0)

    def _counted(self, route: str) -> dict[str, int]:
        """Skipped requests by reason, and under none the copies."""
        sums = {labels[1]: int(count) for labels, count in self._fold.counters(counted.SHADOW_SKIPPED).items()
                if labels[0] == route}
        sums[""] = sum(int(count) for labels, count in self._fold.counters(counted.SHADOW_REQUESTS).items()
                       if labels[0] == route)
        return sums

    def _before(self, route: str) -> dict[str, int]:
        return {labels[1]: int(count) for labels, count in self._fold.counters(_BEFORE).items() if labels[0] == route}

    def _add(self, changes: Iterable[tuple[str, str, int]]) -> None:
        self._fold.add(_NOBODY, [(_BEFORE, (route, reason), change) for route, reason, change in changes], (), ())
        self._fold.forget(_NOBODY)


def report(control: Control, route: Route, copies: Copies,
           found: Mapping[str, Any] | None) -> shadow_shapes.ShadowReport:
    """Everything about a route's shadow; `found` is the comparer's part, None where it knows nothing."""
    known = found or _NOTHING
    copied, skipped = copies.of(route.name)
    compared, matched = known["compared"], known["matched"]
    # The sums lag a second: what the comparer was told of is in both.
    copied = max(copied, compared + sum(known["skipped"].values()))
    for reason, count in known["skipped"].items():
        skipped[reason] = max(count, skipped.get(reason, 0))
    return {
        "route": route.name,
        "shadow": shadow_view(route.shadow),
        "fraction": copies.fraction(route.name),
        "control": known["control"],
        "comparer": _comparer(control, known["since"]),
        "totals": {
            "copied": copied, "compared": compared, "matched": matched, "different": known["different"],
            "noisy": known["noisy"], "skipped": skipped, "match_rate": matched / compared if compared else None,
            "latency": known["latency"],
        },
        "endpoints": known["endpoints"],
        "differences": known["differences"],
        "more": known["more"],
        "dropped_groups": known["dropped_groups"],
    }


def _comparer(control: Control, since: float | None) -> shadow_shapes.ComparerShape:
    comparer = control.comparer
    dropped = control.supervisor.fold.counters(shadowing.DROPPED).get((), 0)
    return {
        "running": comparer is not None and comparer.running,
        "restarts": 0 if comparer is None else comparer.restarts,
        "since": since,
        "dropped": int(dropped),
    }
