"""When the part of matching answers crosses what the operator wants to hear of.

Invariant: for each route a fall is told once, and its end once, however the rate wavers at the bound: it has to come
a tenth of the way from the bound to 1 back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from proxy.ipc.comparing import Window

MISMATCH = "shadow-mismatch"
MATCH = "shadow-match"
LEAST_COMPARED = 100
"""Comparisons in the window before its rate means anything."""
_WAY_BACK = 0.1


class Crossing(NamedTuple):
    """What to tell: the verb of the event, the route, and the numbers as a sentence."""

    verb: str
    route: str
    reason: str


class MatchWatch:
    """Remembers which routes are below their bound."""

    def __init__(self) -> None:
        self._below: set[str] = set()

    def judge(self, windows: Iterable[Window], bounds: Mapping[str, float]) -> list[Crossing]:
        """What has changed. `bounds`: the least rate (0 to 1) by route, of those that have one."""
        self._below &= bounds.keys()
        found = []
        for route, compared, matched in ((one.route, one.compared, one.matched) for one in windows):
            bound = bounds.get(route)
            if bound is None or compared < LEAST_COMPARED:
                continue
            rate = matched / compared
            if route not in self._below and rate < bound:
                self._below.add(route)
                found.append(Crossing(MISMATCH, route, _told(compared, matched, rate, bound)))
            elif route in self._below and rate >= bound + (1 - bound) * _WAY_BACK:
                self._below.remove(route)
                found.append(Crossing(MATCH, route, _told(compared, matched, rate, bound)))
        return found


def _told(compared: int, matched: int, rate: float, bound: float) -> str:
    return (f"{rate:.2%} of the answers match ({compared - matched} of {compared} in the last minute differ); "
            f"the bound is {bound:.4%}".replace(".0000%", "%"))
