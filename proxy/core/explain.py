"""Why a request goes where it goes: the steps of `find` and `choose`, told one by one.

Invariant: nothing is decided here. The route comes from walking the tables as `find` does, with the same conditions;
the version comes from `choose` itself; the steps around it are read from the same parts that `choose` is made of. Where
a version is down, `health.effective` says who is sent its requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from proxy.core.choice import Chance, Reason
from proxy.core.choose import choose
from proxy.core.health.effective import destination
from proxy.core.health.standing import VersionState
from proxy.core.override import Ignored
from proxy.core.request import RequestView
from proxy.core.router import CompiledRoute, Router, RouteTable

NOBODY = "nobody may name a version here: `from` is empty"


@dataclass(frozen=True, slots=True)
class RouteTried:
    """A route whose host and path fit; `refused` is the condition that the request failed, None for the one taken."""

    route: str
    host: str | None
    path: str
    refused: str | None


@dataclass(frozen=True, slots=True)
class OverrideSeen:
    """A place where the request names a version; `ignored` says why the name does not count, None if it may."""

    source: str
    named: str
    ignored: str | None


@dataclass(frozen=True, slots=True)
class VersionOdds:
    """What a version had to offer. `share` and `interval` are of [0, 1); None stands for what was not looked at.

    `interval`: the draws that mean this version. `time`: its time in the race for the client's key, the shortest wins.
    `joins_at`: the share above which the version gets this client, as long as the others keep their weights.
    """

    version: str
    weight: float
    share: float
    interval: tuple[float, float] | None = None
    time: float | None = None
    joins_at: float | None = None


@dataclass(frozen=True, slots=True)
class Detour:
    """A version that is not up, and the one that is sent its requests: itself where there is nowhere else to go, None
    where they are refused or wait (`when_down`).
    """

    version: str
    state: VersionState
    sent_to: str | None
    when_down: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Every step from a request to its version. `route` and `version` are None when no route takes the request.

    `key_source`: where the client is recognised, empty without stickiness. `recognised`: whether it was. `position`:
    the key's place in [0, 1), of a key just issued as well. `draw`: the number drawn, None if none was needed.
    `detours`: of the versions that may take it, those that are not up.
    """

    host: str
    method: str
    target: str
    client: str
    tried: tuple[RouteTried, ...]
    route: str | None = None
    overrides: tuple[OverrideSeen, ...] = ()
    key_source: str = ""
    recognised: bool = False
    position: float | None = None
    draw: float | None = None
    versions: tuple[VersionOdds, ...] = ()
    version: str | None = None
    reason: Reason | None = None
    issues_cookie: bool = False
    detours: tuple[Detour, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The same as plain dictionaries, tuples, text and numbers."""
        return asdict(self)


class _Noted:
    """Passes chance on and notes what came, so that what `choose` decided by can be told."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self.drawn: float | None = None
        self.issued: bytes | None = None

    def draw(self, route: CompiledRoute, /) -> float:
        self.drawn = self._chance.draw(route)
        return self.drawn

    def fresh_key(self) -> bytes:
        self.issued = self._chance.fresh_key()
        return self.issued


def explain(
    router: Router, request: RequestView, host: bytes, chance: Chance, states: Mapping[str, VersionState] | None = None
) -> Explanation:
    """Finds and chooses for a request as a worker would, and says how. `host` as for `Router.table`.

    `states`: of versions, as far as they are not up.
    """
    tried = tuple(_tries(router.table(host), request))
    words = (_text(host), _text(request.method), _text(request.target), request.client)
    if not tried or tried[-1][1] is not None:
        return Explanation(*words, tuple(_tried(*step) for step in tried))
    route = tried[-1][0]
    noted = _Noted(chance)
    choice = choose(route, request, noted)
    # A session's cookie is no key: its version was drawn, now or earlier.
    ramp = route.route.sticky is not None and route.route.sticky.mode == "ramp"
    recognised = route.strategy.recognise(request)
    key = (noted.issued or recognised) if ramp and choice.reason != "override" else None
    return Explanation(
        *words, tuple(_tried(*step) for step in tried), route.name, tuple(_overrides(route, request)),
        key_source=route.strategy.label, recognised=recognised is not None,
        position=None if key is None else route.race.position(key), draw=noted.drawn,
        versions=_odds(route, key), version=choice.version, reason=choice.reason,
        issues_cookie=choice.set_cookie is not None,
        detours=tuple(_detours(route, choice.version, states or {})))


def _detours(route: CompiledRoute, chosen: str, states: Mapping[str, VersionState]) -> Iterator[Detour]:
    for version, weight in route.route.split:
        state = states.get(version, "up")
        if state != "up" and (weight > 0 or version == chosen):
            yield Detour(version, state, destination(route.route, version, states), route.route.when_down)


def _tries(table: RouteTable | None, request: RequestView) -> Iterator[tuple[CompiledRoute, str | None]]:
    """The routes as `RouteTable.find` tries them, each with the condition that failed, up to the one that takes it."""
    while table is not None:
        for route in table.tries(request):
            failed = next((str(condition) for condition in route.conditions if not condition.holds(request)), None)
            yield route, failed
            if failed is None:
                return
        table = table.beyond


def _tried(route: CompiledRoute, failed: str | None) -> RouteTried:
    match = route.route.match
    return RouteTried(route.name, match.host, match.path, None if failed is None else f"asks for {failed}")


def _overrides(route: CompiledRoute, request: RequestView) -> Iterator[OverrideSeen]:
    if route.override is None:
        if route.route.override is not None:
            yield OverrideSeen("none", "", NOBODY)
        return
    for source in route.override.sources:
        value = source.read(request)
        if value is not None:
            verdict = route.override.judge(value, request.client)
            yield OverrideSeen(source.label, _text(value), verdict.value if isinstance(verdict, Ignored) else None)


def _odds(route: CompiledRoute, key: bytes | None) -> tuple[VersionOdds, ...]:
    split, draw = route.route.split, route.draw
    if key is None:
        return tuple(VersionOdds(version, weight, draw.shares[index], interval=draw.interval(index))
                     for index, (version, weight) in enumerate(split))
    costs = route.race.costs(key)
    return tuple(VersionOdds(version, weight, draw.shares[index], time=costs[index] / weight if weight > 0 else None,
                             joins_at=_joins_at(route, costs, index))
                 for index, (version, weight) in enumerate(split))


def _joins_at(route: CompiledRoute, costs: tuple[float, ...], index: int) -> float:
    """The share at which a version's time equals the best of the others, whose weights stay."""
    others = [(costs[place], weight) for place, (_, weight) in enumerate(route.route.split) if place != index]
    best = min((cost / weight for cost, weight in others if weight > 0), default=None)
    if best is None:                       # nobody else runs
        return 0.0
    if best == 0.0:                        # no weight is enough against the other
        return 1.0
    needed = costs[index] / best
    return needed / (needed + sum(weight for _, weight in others))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
