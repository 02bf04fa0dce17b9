"""Where a route's requests really go while some of its versions are down: the split beside what is made of it.

Invariant: nothing is decided here for a request. The data plane decides by what it knows itself; this tells the same by
what the supervisor knows, for people and metrics. Both follow one rule:

- a version that is neither down nor drained keeps its part;
- a candidate that is not to be had goes by the route's `when_down`; with `baseline` its part moves there, unless that
  is not to be had either: then there is nowhere to go, and it keeps its part (panic) as long as it is not drained;
- a baseline that is down keeps its part (panic: there is nowhere else to go), and loses it only when it is drained.
"""

from __future__ import annotations

from collections.abc import Collection

from proxy.core.route import Route
from proxy.core.split import shares


def destination(route: Route, version: str, down: Collection[str], drained: Collection[str]) -> str | None:
    """The version that is really sent what the split gives to `version`; None: nobody, it is refused or waits.

    `down`: versions that take no traffic by their own fault; `drained`: those whose every server an operator took out.
    """
    if version not in down and version not in drained:
        return version
    if version == route.baseline:
        return None if version in drained else version
    if route.when_down != "baseline":
        return None
    home = route.baseline
    if home not in down and home not in drained:
        return home
    if version not in drained:
        return version
    return None if home in drained else home


def effective_shares(route: Route, down: Collection[str], drained: Collection[str]) -> tuple[float, ...]:
    """The share (0 to 1) of each version of the split as traffic is really sent, in its order.

    They add up to 1, or to less where requests are refused or wait. The baseline is one of the versions.
    """
    names = [version for version, _ in route.split]
    parts = shares([weight for _, weight in route.split])
    if not down and not drained:
        return parts
    sums = dict.fromkeys(names, 0.0)
    for version, part in zip(names, parts, strict=True):
        taker = destination(route, version, down, drained)
        if taker is not None:
            sums[taker] += part
    return tuple(sums[version] for version in names)
