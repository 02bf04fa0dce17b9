"""Where the file and the operators' changes meet: at start, and whenever the file changes.

The rule (one for both): a route keeps the course it was given at run time for as long as the file says of it what it
said then. Once the file's own course is another, the file wins, and the step has a move that says so. If only its
shadow is another, the file wins that alone: who was sent away from a version is not sent back by a word about copies.
The order in which versions are written does not count as a difference. What is drained stays so, as long as the file
names it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from proxy.core import changes, draining
from proxy.core.changes import Move, Step
from proxy.core.course import same_course
from proxy.core.route import Route, Version
from proxy.core.state import Course, RouteState, State


def initial(routes: Iterable[Route], versions: Iterable[Version], stored: State | None, now: float) -> Step:
    """The state to start with: the file's, with what `stored` (the last journaled one) says of its routes and versions.

    What should have been confirmed before `now` (seconds since the epoch) is reverted, without asking whether the way
    back is open: at a start, nobody knows yet who is there. Revision 1 without a stored state; the stored one when
    nothing is different; one more otherwise.
    """
    routes = tuple(routes)
    if stored is None:
        return Step(State(1, {route.name: _start(route, 1, 0) for route in routes}))
    step = _merge(routes, tuple(versions), stored, {})
    by_name = {route.name: route for route in routes}
    moves, held = list(step.moves), dict(step.state.routes)
    for name in changes.due(step.state, now):
        reverted = changes.revert(replace(stored, routes=held), by_name[name])
        held, moves = dict(reverted.state.routes), [*moves, *reverted.moves]
    if held == stored.routes and not step.services:
        return Step(stored)
    return Step(replace(step.state, routes=held), tuple(moves), step.services)


def merged(
    routes: Iterable[Route], versions: Iterable[Version], state: State, known: Mapping[str, Route]
) -> Step:
    """The state after a reload: always at the next revision, since more than courses may have changed.

    `known`: the routes before, by name; one that is different in anything counts as changed. `versions`: all
    there are now.
    """
    return _merge(tuple(routes), tuple(versions), state, known)


def steered(routes: Iterable[Route], state: State) -> tuple[Route, ...]:
    """The file's routes with the courses and generations that hold: what a snapshot is made of.

    A route that is as in the file is the same object.
    """
    return tuple(_steer(route, state.routes[route.name]) for route in routes)


def _steer(route: Route, held: RouteState) -> Route:
    course = held.course
    if route.split == course.split and route.shadow == course.shadow and route.generation == held.generation:
        return route
    return replace(route, split=course.split, shadow=course.shadow, generation=held.generation)


def _merge(routes: tuple[Route, ...], versions: Sequence[Version], state: State, known: Mapping[str, Route]) -> Step:
    revision, names = state.revision + 1, {version.name for version in versions}
    held: dict[str, RouteState] = {}
    moves: list[Move] = []
    for route in routes:
        old = state.routes.get(route.name)
        if old is None:
            held[route.name] = _start(route, revision, revision)
            moves.append(Move("reload", route.name, None, held[route.name].course, "the file has this route now"))
            continue
        by_hand = not same_course(old.course, old.written)
        new, move = _merge_route(route, _fitting(old, names), by_hand, revision)
        if move is None and not same_course(new.course, old.course):
            move = Move("shadow", route.name, old.course, new.course, "the version that got the copies is gone")
        if move is not None or known.get(route.name, route) != route:
            new = replace(new, revision=revision)
        held[route.name] = new
        moves += [] if move is None else [move]
    moves += [Move("reload", name, old.course, None, "the file has this route no more")
              for name, old in state.routes.items() if name not in held]
    drained, services = draining.named(state, versions)
    return Step(State(revision, held, drained), tuple(moves), services)


def _merge_route(route: Route, old: RouteState, by_hand: bool, revision: int) -> tuple[RouteState, Move | None]:
    """The rule above, for a route that is in both; `by_hand`: its course was set at run time."""
    file = Course(route.split, route.shadow)
    if same_course(old.written, file):
        course = file if same_course(old.course, file) else old.course
        return replace(old, written=file, course=course), None
    if same_course(old.course, file):        # the file has caught up with the operators, and so confirms them
        before = old.before if _undoable(old.before, file) else None
        return replace(old, written=file, course=file, before=before, pending=None), None
    if dict(old.written.split) == dict(file.split):
        return _with_copies(route, old, file)
    before = old.course if _undoable(old.course, file) else None
    new = RouteState(file, file, revision, old.generation, before)
    if by_hand:
        return new, Move("file-wins", route.name, old.course, file, "the file's own course for this route has changed")
    return new, Move("reload", route.name, old.course, file, "the file says so")


def _with_copies(route: Route, old: RouteState, file: Course) -> tuple[RouteState, Move | None]:
    """The file's copies, and the split that is there; what is pending stays so."""
    course = replace(old.course, shadow=file.shadow)
    pending = old.pending and replace(old.pending, back_to=replace(old.pending.back_to, shadow=file.shadow))
    new = replace(old, written=file, course=course, pending=pending)
    if course == old.course:
        return new, None
    new = replace(new, before=old.course)
    if old.course.shadow != old.written.shadow:
        return new, Move("file-wins", route.name, old.course, course, "the file's own copies for this route changed")
    return new, Move("reload", route.name, old.course, course, "the file says so")


def _start(route: Route, revision: int, generation: int) -> RouteState:
    """A route's first state. A later route of an earlier one's name begins above any generation that one ever had, or
    its session cookies would be valid again; revisions grow at least as fast as generations.
    """
    course = Course(route.split, route.shadow)
    return RouteState(course, course, revision, generation)


def _undoable(course: Course | None, file: Course) -> bool:
    """Whether a course from before is one that the route could still take."""
    return course is not None and dict(course.split).keys() == dict(file.split).keys()


def _fitting(held: RouteState, versions: Collection[str]) -> RouteState:
    """The state without shadows to versions that are gone. Only run time can have left them: the file is checked."""
    def fit(course: Course) -> Course:
        gone = course.shadow is not None and course.shadow.to not in versions
        return replace(course, shadow=None) if gone else course

    return replace(
        held, course=fit(held.course), before=held.before and fit(held.before),
        pending=held.pending and replace(held.pending, back_to=fit(held.pending.back_to)),
    )
