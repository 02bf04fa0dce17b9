"""What each command makes of the state: pure functions from one state to the next, or the reason why not.

Invariant: a Step in which nothing moves leaves the state as it was, the very same object; any other has a state at
exactly one revision more. Nothing here waits, asks the time or draws: the same question always gets the same answer, so
that a dry run is what would have happened.

`pending` follows the confirmed commit of NETCONF (RFC 6241 §8.4): a change made while another one is pending keeps
what to go back to; one made without a time confirms both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from math import fsum, isfinite
from typing import Any

from proxy.core.course import shadow_of, weights_of
from proxy.core.route import Route
from proxy.core.state import Course, Pending, RouteState, State
from proxy.errors import Problem, TurnoutError

CONFIRM_WITHIN_S = (0.1, 365 * 86_400.0)
"""Bounds of `confirm_within`: nobody confirms faster than that, or waits longer."""


class ChangeError(TurnoutError):
    """A change that cannot be made. `kind`: invalid-change, nothing-to-undo, nothing-pending or last-server."""

    def __init__(self, kind: str, message: str, problems: Iterable[Problem] = ()) -> None:
        super().__init__(message)
        self.kind = kind
        self.problems = list(problems)


@dataclass(frozen=True, slots=True)
class Move:
    """What a step does to one route, for the journal. `before`: None for a route that is new; `after`: for one gone."""

    verb: str
    route: str
    before: Course | None
    after: Course | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """What a step takes out of service or brings back, for the journal. `server`: None for a whole version.

    `before` and `after`: the drained addresses of the version, in order; an empty one stands for all.
    """

    verb: str
    version: str
    server: str | None
    before: tuple[str, ...]
    after: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """The state that follows, and what moved or was drained on the way; neither of them: nothing is different."""

    state: State
    moves: tuple[Move, ...] = ()
    services: tuple[Service, ...] = ()

    @property
    def entries(self) -> tuple[Move | Service, ...]:
        """What the journal has to tell of it."""
        return (*self.moves, *self.services)


def split(
    state: State, route: Route, weights: Mapping[str, object], now: float = 0.0, within_s: float | None = None
) -> Step:
    """Replace the weights of the route. A version that is not named gets 0; the same as before is no change.

    `now` (seconds since the epoch) and `within_s` make it pending. Raises ChangeError with JSON pointers.
    """
    wanted, problems = weights_of(route, weights)
    problems += wrong_with_time(within_s)
    if problems:
        raise _invalid(problems)
    held = state.routes[route.name]
    return _set_course(state, route, "split", replace(held.course, split=wanted), now, within_s)


def shadow(
    state: State, route: Route, versions: Collection[str], patch: Mapping[str, object], now: float = 0.0,
    within_s: float | None = None,
) -> Step:
    """Change `to`, `percent` or `methods` of the route's shadow settings; `{"to": None}` turns copies off.

    Without any at present, those of the file are where it starts. Raises ChangeError with JSON pointers.
    """
    held = state.routes[route.name]
    wanted, problems = shadow_of(held.course.shadow or route.shadow, versions, patch)
    problems += wrong_with_time(within_s)
    if problems:
        raise _invalid(problems)
    return _set_course(state, route, "shadow", replace(held.course, shadow=wanted), now, within_s)


def rollback(state: State, routes: Iterable[Route], *, again: bool = False) -> Step:
    """Send all traffic of these routes to their baselines, and end their sessions: one step for all of them.

    A route that is home already is left alone, unless it keeps sessions: they may still be elsewhere, whatever the
    weights are. `again`: also those at home (what runs at a candidate is to be cut).
    """
    changed: dict[str, RouteState] = {}
    moves = []
    for route in routes:
        held = state.routes[route.name]
        sessions = route.sticky is not None and route.sticky.mode == "session"
        home = homewards(held.course, route.baseline)
        if home == held.course and held.pending is None and not sessions and not again:
            continue
        changed[route.name] = replace(
            held, course=home, generation=held.generation + 1, pending=None, revision=state.revision + 1,
            before=held.before if home == held.course else held.course,
        )
        moves.append(Move("rollback", route.name, held.course, home))
    return _step(state, changed, moves)


def undo(state: State, route: Route) -> Step:
    """Return to the course before the last change; once more returns to the one after it.

    Nothing stays pending. Raises ChangeError when nothing was changed.
    """
    held = state.routes[route.name]
    if held.before is None:
        raise ChangeError("nothing-to-undo", f"no change of route `{route.name}` can be undone")
    return _go_back(state, route, "undo", held.before)


def confirm(state: State, route: Route) -> Step:
    """Make the pending change last. Raises ChangeError when none is pending."""
    held = state.routes[route.name]
    if held.pending is None:
        raise ChangeError("nothing-pending", f"no change of route `{route.name}` waits to be confirmed")
    kept = replace(held, pending=None, revision=state.revision + 1)
    return _step(state, {route.name: kept}, [Move("confirm", route.name, held.course, held.course)])


def revert(state: State, route: Route) -> Step:
    """Go back since nobody confirmed: to the course before the first pending change. No step when none is pending."""
    pending = state.routes[route.name].pending
    return Step(state) if pending is None else _go_back(state, route, "revert", pending.back_to)


def due(state: State, now: float) -> tuple[str, ...]:
    """The routes whose pending change was to be confirmed by `now`, the longest overdue first."""
    overdue = [(held.pending.until, name) for name, held in state.routes.items()
               if held.pending is not None and held.pending.until <= now]
    return tuple(name for _, name in sorted(overdue))


def homewards(course: Course, baseline: str) -> Course:
    """The course with all weight at the baseline; the same object if it is there already."""
    if all((weight > 0) is (version == baseline) for version, weight in course.split):
        return course
    total = fsum(weight for _, weight in course.split)
    return replace(course, split=tuple((version, total if version == baseline else 0.0) for version, _ in course.split))


def gaining(before: Course, after: Course) -> tuple[str, ...]:
    """The versions whose share of the traffic is larger in `after`, in its order."""
    was = _shares(before)
    return tuple(version for version, share in _shares(after).items() if share > was.get(version, 0.0))


def wrong_with_time(within_s: float | None) -> list[Problem]:
    """What is wrong with a time to confirm in."""
    low, high = CONFIRM_WITHIN_S
    if within_s is None or (isfinite(within_s) and low <= within_s <= high):
        return []
    return [Problem("/confirm_within", "", "must be at least 0.1 s and at most 365 days")]


def _set_course(
    state: State, route: Route, verb: str, course: Course, now: float, within_s: float | None
) -> Step:
    held = state.routes[route.name]
    pending = None
    if within_s is not None:
        back_to = held.course if held.pending is None else held.pending.back_to
        pending = Pending(now + within_s, back_to)
    if course == held.course and pending is held.pending:
        return Step(state)
    changed = replace(
        held, course=course, pending=pending, revision=state.revision + 1,
        before=held.before if course == held.course else held.course,
    )
    return _step(state, {route.name: changed}, [Move(verb, route.name, held.course, course)])


def _go_back(state: State, route: Route, verb: str, course: Course) -> Step:
    """Sessions end when a version loses its last weight on the way back: what is undone must not be met again."""
    held = state.routes[route.name]
    left = _shares(held.course).keys() - _shares(course).keys()
    changed = replace(
        held, course=course, before=held.course, pending=None, revision=state.revision + 1,
        generation=held.generation + bool(left),
    )
    return _step(state, {route.name: changed}, [Move(verb, route.name, held.course, course)])


def _shares(course: Course) -> dict[str, float]:
    """The share of every version that has one."""
    total = fsum(weight for _, weight in course.split)
    return {version: weight / total for version, weight in course.split if weight > 0}


def _step(state: State, changed: Mapping[str, RouteState], moves: list[Move]) -> Step:
    if not moves:
        return Step(state)
    return Step(replace(state, revision=state.revision + 1, routes={**state.routes, **changed}), tuple(moves))


def _invalid(problems: list[Problem]) -> Any:
    return ChangeError("invalid-change", "\n".join(map(str, problems)), problems)
