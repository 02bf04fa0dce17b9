"""What happens when: the steps of the walk, and how many users ask how often."""

from __future__ import annotations

from dataclasses import dataclass

OLD, NEW = "old", "new"
WEIGHTS = (0, 5, 25)
"""The share of the new version in percent, step by step; it only grows, so nobody may ever be moved back."""
_PARTS = (0.2, 0.35, 0.45)
"""How much of the time each step takes: the first has least to show, the last is there to be looked at."""

WALK_S = 20.0
SHORTEST_S = 2.0
LONGEST_S = 3600.0
STAYS_S = 600.0
"""How long the traffic goes on after the walk on a terminal that nobody ends: it is bounded, even when forgotten."""

USERS = 150
"""So many that a share of 5 % is somebody (with 2 users, 90 % of all demos would show nothing)."""
ASKS_EVERY_S = 0.7
"""Seconds between two requests of one user: all together 214 requests per second, a few percent of one CPU."""


@dataclass(frozen=True, slots=True)
class Step:
    """One stretch of the walk: the new version has `weight` percent for `lasts_s` seconds."""

    weight: int
    lasts_s: float


def walk(lasts_s: float) -> tuple[Step, ...]:
    """Return the steps of a walk that takes `lasts_s` seconds."""
    return tuple(Step(weight, part * lasts_s) for weight, part in zip(WEIGHTS, _PARTS, strict=True))
