"""Where a route's requests really go while versions are not up: the split, and what is made of it.

Invariant: the parts add up to 1 unless requests fail by a rule of the operator's; a baseline never gets less than the
split gives it, unless all its servers are drained.
"""

from __future__ import annotations

from collections.abc import Mapping

from proxy.core.health.standing import VersionState
from proxy.core.route import Route
from proxy.core.split import shares


def destination(route: Route, version: str, states: Mapping[str, VersionState]) -> str | None:
    """The version that is really sent what the split gives to `version`; None: nobody, it is refused or waits.

    A candidate that is not up goes by the route's `when_down`. With `baseline`, but a baseline that is not up either,
    there is nowhere to go: the servers of a version that is down are tried all the same, those of one that is drained
    never. A version that `states` does not name is up.
    """
    own, home = states.get(version, "up"), states.get(route.baseline, "up")
    if own == "up":
        return version
    if version == route.baseline:
        return version if own == "down" else None
    if route.when_down != "baseline":
        return None
    if home == "up":
        return route.baseline
    if own == "down":
        return version
    return route.baseline if home == "down" else None


def effective_shares(route: Route, states: Mapping[str, VersionState]) -> dict[str, float]:
    """The part (0 to 1) of the route's requests that is really sent to each version of its split, in its order."""
    given = dict(zip((name for name, _ in route.split), shares([weight for _, weight in route.split]), strict=True))
    if all(states.get(name, "up") == "up" for name in given):
        return given
    sent = dict.fromkeys(given, 0.0)
    for name, share in given.items():
        receiver = destination(route, name, states)
        if receiver is not None:
            sent[receiver] += share
    return sent
