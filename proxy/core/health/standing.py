"""Which servers of a version take traffic, and whether the version does, by probes, traffic and operator together.

Invariants: a drained server never takes traffic; a version is never up without a server that is well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

VersionState = Literal["up", "down", "drained"]
"""`drained`: an operator took every server of it out of service. `down`: no server is in, or its breaker is open."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is held of one server. `drained`: by an operator. `well`: neither out by probes nor ejected by traffic."""

    drained: bool = False
    well: bool = True


def is_panic(standings: Sequence[Standing], panic: float) -> bool:
    """Whether so few servers are well, but more than none, that they would be drowned: then health is disregarded.

    `panic`: the part (0 to 1) of the servers that are not drained; below it is panic.
    """
    in_service = [standing.well for standing in standings if not standing.drained]
    return 0 < sum(in_service) < panic * len(in_service)


def taking(standings: Sequence[Standing], panic: float, *, tripped: bool = False) -> tuple[bool, ...]:
    """For each server whether it takes traffic. None does while the version is not up.

    `tripped`: whether its breaker is open.
    """
    regardless = is_panic(standings, panic)
    return tuple(not (tripped or standing.drained) and (standing.well or regardless) for standing in standings)


def version_state(standings: Sequence[Standing], *, tripped: bool = False) -> VersionState:
    """The state of the version that has these servers. `tripped`: whether its breaker is open."""
    if all(standing.drained for standing in standings):
        return "drained"
    if tripped or not any(standing.well for standing in standings if not standing.drained):
        return "down"
    return "up"
