"""What the API shows of a route, of a change of it, and of an event: values of the core as plain JSON objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from proxy.admin import shapes
from proxy.controlplane.commands.ask import Outcome
from proxy.controlplane.events import Event
from proxy.core.health.effective import effective_shares
from proxy.core.health.standing import VersionState
from proxy.core.route import Route, Shadow
from proxy.core.split import shares
from proxy.core.state import Course, Pending, RouteState, State


def route_view(route: Route, state: RouteState, now: float, states: Mapping[str, VersionState]) -> shapes.RouteShape:
    """One route on its course. `now`: seconds since the epoch; `states`: of the versions that are not up."""
    course = state.course
    versions = [version for version, _ in course.split]
    given = dict(zip(versions, shares([weight for _, weight in course.split]), strict=True))
    return {
        "name": route.name,
        "revision": state.revision,
        "generation": state.generation,
        "host": route.match.host,
        "path": route.match.path,
        "methods": list(route.match.methods),
        "baseline": route.baseline,
        "sticky": None if route.sticky is None else {
            "by": route.sticky.by, "mode": route.sticky.mode, "name": route.sticky.name},
        "split": dict(course.split),
        "shares": given,
        "effective": effective_shares(replace(route, split=course.split), states) if states else given,
        "shadow": shadow_view(course.shadow),
        "as_written": course == state.written,
        "can_undo": state.before is not None,
        "pending": _pending_view(state.pending, now),
    }


def routes_view(
    routes: Iterable[Route], state: State, now: float, states: Mapping[str, VersionState]
) -> list[shapes.RouteShape]:
    """Every route that the state knows, in the order of the file."""
    return [route_view(route, state.routes[route.name], now, states) for route in routes if route.name in state.routes]


def course_view(course: Course) -> shapes.CourseShape:
    """Where a route's requests and copies go."""
    return {"split": dict(course.split), "shadow": shadow_view(course.shadow)}


def event_view(event: Event) -> shapes.EventShape:
    """One entry of the journal."""
    return {
        "id": event.id, "at": event.at, "author": event.author.name, "origin": event.author.origin,
        "verb": event.verb, "route": event.route, "before": event.before, "after": event.after,
        "reason": event.reason, "revision": event.revision,
    }


def changed_view(outcome: Outcome) -> shapes.Changed:
    """What a command came to, without its routes."""
    change = outcome.change
    return {
        "revision": outcome.revision,
        "dry_run": outcome.dry_run,
        "applied": None if change is None else {
            "workers": change.workers, "of": change.of, "replaced": list(change.replaced)},
        "took_ms": round(outcome.took_s * 1000, 3),
        "notes": list(outcome.notes),
    }


def shadow_view(shadow: Shadow | None) -> shapes.ShadowShape | None:
    """Which requests are copied; None for none."""
    if shadow is None:
        return None
    return {"to": shadow.to, "percent": shadow.percent, "methods": list(shadow.methods)}


def _pending_view(pending: Pending | None, now: float) -> shapes.PendingShape | None:
    if pending is None:
        return None
    return {
        "until": pending.until,
        "seconds_left": round(max(0.0, pending.until - now), 3),
        "back_to": course_view(pending.back_to),
    }
