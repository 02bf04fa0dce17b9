"""Groups as JSON-able data and back: for the API, for the channel between processes, and for a restart."""

from __future__ import annotations

from typing import Any

from proxy.core.compare.groups import Endpoint, Group, GroupKey, Groups, Sample
from proxy.core.compare.values import Kind


def as_data(groups: Groups) -> dict[str, Any]:
    """`{"endpoints": {name: counters}, "groups": […], "dropped": n}`; groups by how often they were seen."""
    return {
        "endpoints": {name: endpoint_data(one) for name, one in groups.endpoints.items()},
        "groups": [group_data(key, group) for key, group in groups.items()],
        "dropped": groups.dropped,
    }


def endpoint_data(one: Endpoint) -> dict[str, Any]:
    """The counters of one endpoint."""
    return {"compared": one.compared, "matched": one.matched, "noisy": one.noisy, "different": one.different,
            "controlled": one.controlled, "skipped": dict(one.skipped)}


def group_data(key: GroupKey, group: Group) -> dict[str, Any]:
    """One group: its name, its counts, and its samples."""
    return {
        "endpoint": key.endpoint, "path": key.path, "kind": key.kind.value, "count": group.count, "both": group.both,
        "candidate_only": group.candidate_only, "control_only": group.control_only,
        "first_s": group.first_s, "last_s": group.last_s,
        "samples": [{"at_s": one.at_s, "request": one.request, "primary": one.primary, "shadow": one.shadow}
                    for one in group.samples],
    }


def restore(groups: Groups, data: dict[str, Any]) -> None:
    """Add what `as_data` gave to `groups`, within its bounds. Raises KeyError, TypeError, ValueError for other data."""
    past = Groups(samples=2**31, most_groups=2**31, most_bytes=2**62)     # bounded when it is folded
    past.dropped = int(data["dropped"])
    for name, counters in data["endpoints"].items():
        past.endpoints[name] = Endpoint(**counters)
    for one in data["groups"]:
        group = Group(one["count"], one["both"], one["candidate_only"], one["control_only"], one["first_s"],
                      one["last_s"], [Sample(**sample) for sample in one["samples"]])
        past.put(GroupKey(one["endpoint"], one["path"], Kind(one["kind"])), group)
    groups.fold(past)
