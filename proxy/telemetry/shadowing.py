"""What the comparer counts of shadows; what the workers count of them stands in `counters`.

Invariant: labels come from the configuration or from a list in the code. `field` (of `field_of`) is no path of a
body: of those there are as many as servers care to send.
"""

from __future__ import annotations

from collections.abc import Collection

COMPARED = "turnout_shadow_compared_total"
MISMATCHES = "turnout_shadow_mismatches_total"
MATCH_RATIO = "turnout_shadow_match_ratio"
DURATION = "turnout_shadow_duration_seconds"
DROPPED = "turnout_comparer_dropped_total"
BROKEN = "turnout_comparer_broken_total"

LABELS: dict[str, tuple[str, ...]] = {
    COMPARED: ("route", "result"),
    MISMATCHES: ("route", "field"),
    MATCH_RATIO: ("route",),
    DURATION: ("route", "version"),
    DROPPED: (),
    BROKEN: (),
}
"""The label names of each metric, in the order in which a delta carries their values."""

_HEADER = "header:"


def field_of(path: str, kind: str, headers: Collection[str]) -> str:
    """The label `field` of a difference: `status`, `header:NAME` for headers that the rules name (`headers`, in lower
    case), `header:*` for all others, and `body:KIND`.
    """
    if path == "status":
        return path
    if path.startswith(_HEADER):
        return path if path[len(_HEADER):] in headers else f"{_HEADER}*"
    return f"body:{kind}"
