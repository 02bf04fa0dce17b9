"""What an operator can say: the same verbs for the API, the file and the program itself.

Invariant: every change goes the same way (`transactions`): its turn comes, it is judged by the state of that moment,
journaled, applied on all workers, and only then answered. What is refused has moved nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, Self

from proxy.clock import Clock
from proxy.controlplane import errors
from proxy.controlplane.commands.ask import Ask, Outcome
from proxy.controlplane.commands.confirm import ConfirmTimer
from proxy.controlplane.commands.drainer import Drainer
from proxy.controlplane.commands.reach import answers, must_be_in_service, must_be_reachable
from proxy.controlplane.commands.recorder import Recorder
from proxy.controlplane.commands.reload import Reloader
from proxy.controlplane.commands.transactions import Compile, Plan, Transactions, event_of
from proxy.controlplane.errors import InvalidChange, NotJournaled, Outdated, UnknownRoute
from proxy.controlplane.events import Author, Event
from proxy.controlplane.feed import EventFeed
from proxy.controlplane.journal.errors import JournalError
from proxy.controlplane.journal.journal import Journal
from proxy.controlplane.supervisor import Supervisor
from proxy.controlplane.tasks import reported
from proxy.core import changes
from proxy.core.changes import ChangeError, Move, Service, Step
from proxy.core.course import copied_to_itself, copies_itself, doubled, unsafe_methods
from proxy.core.route import Route, Version
from proxy.core.state import Course, State
from proxy.errors import Problem
from proxy.settings import Settings
from proxy.settings.grammar import suggest

__all__ = ["Ask", "Commands", "InFlight", "Outcome"]

InFlight = Literal["finish", "cut"]
Judge = Callable[[State, Route], Step]
Notes = Callable[[Course], tuple[str, ...]]
"""What the author of a change should know of the course that it leads to."""


class Commands:
    """Every verb is a coroutine that returns an Outcome or raises a CommandError.

    `settings` and `state` start what `core.merge.initial` and the file say; `compile_snapshot` makes a snapshot of both
    (with the secret and the limits of this host, which are none of the commands' business). `async with` starts what
    works on its own, the timer of pending changes and the recorder; leaving it ends them, and closes nothing else.
    """

    def __init__(
        self, settings: Settings, state: State, journal: Journal, supervisor: Supervisor, *,
        compile_snapshot: Compile, clock: Clock, wall: Clock,
    ) -> None:
        self._transactions = Transactions(settings, state, journal, supervisor, compile_snapshot, clock, wall)
        self._recorder = Recorder(self._transactions)
        self._drainer = Drainer(self._transactions)
        self._reloader = Reloader(self._transactions, self._recorder.record)
        self.timer = ConfirmTimer(self._transactions, self._recorder.record)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def settings(self) -> Settings:
        """Those in force: the file's, except for what waits for `turnout upgrade`."""
        return self._transactions.settings

    @property
    def state(self) -> State:
        """The state that the journal has acknowledged last."""
        return self._transactions.state

    @property
    def feed(self) -> EventFeed:
        """Every event as it is journaled."""
        return self._transactions.feed

    @property
    def last_reload_ok(self) -> bool:
        """Whether the file was good when it was read last."""
        return self._reloader.ok

    @property
    def last_reload_at(self) -> float:
        """When that was, in seconds since the epoch; the start, if it was not read again."""
        return self._reloader.at

    @property
    def journal_failures(self) -> int:
        """How often the journal could not take what it was given."""
        return self._transactions.journal_failures

    @property
    def events_lost(self) -> int:
        """How many events that changed nothing could not be journaled."""
        return self._recorder.lost

    async def begin(self, moves: Sequence[Move | Service] = (), verb: str = "start", reason: str = "") -> None:
        """Journal that this process begins, what moved by that (of `merge.initial`), and the state if it is new.

        To be called once, before anything can be changed. Raises NotJournaled if the state is new; a state that is in
        the journal already is a good one to begin with, also on a full disk: the event is lost then, and counted.
        """
        transactions = self._transactions
        now, revision, author = transactions.wall(), self.state.revision, Author("turnout")
        events = [Event(now, author, verb, revision, reason=reason)]
        events += [event_of(move, now, author, revision) for move in moves]
        try:
            await transactions.note(events, with_state=True)
        except JournalError as error:
            if not transactions.is_journaled:
                raise NotJournaled(str(error)) from error
            self._recorder.give_up(events, error)

    async def split(self, route: str, weights: Mapping[str, float], ask: Ask) -> Outcome:
        """Give the route's versions these weights, those not named 0. The weights there are already: no change.

        Raises UnknownRoute, Outdated, InvalidChange, VersionDrained, and what every change may raise: HandingOver,
        NotJournaled, NotApplied.
        """
        wall, within_s = self._transactions.wall, ask.confirm_within_s
        return await self._change(route, ask, lambda state, found: changes.split(
            state, found, weights, wall(), within_s), confirmable=True, notes=_on_copied_to_itself)

    async def shadow(self, route: str, patch: Mapping[str, object], ask: Ask) -> Outcome:
        """Change `to`, `percent` or `methods` of what is copied; `{"to": None}`: nothing. Raises as `split` does.

        Notes say which copied methods are not safe, and where nothing is copied.
        """
        wall, within_s = self._transactions.wall, ask.confirm_within_s

        def judge(state: State, found: Route) -> Step:
            versions = [version.name for version in self.settings.versions]
            return changes.shadow(state, found, versions, patch, wall(), within_s)

        return await self._change(route, ask, judge, confirmable=True, notes=_on_copies)

    async def undo(self, route: str, ask: Ask) -> Outcome:
        """Return to the course before the last change. Raises NothingToUndo, and as `split` does."""
        return await self._change(route, ask, changes.undo)

    async def confirm(self, route: str, ask: Ask) -> Outcome:
        """Make a pending change last. Raises NothingPending, and as `split` does."""
        return await self._change(route, ask, changes.confirm)

    async def rollback(
        self, route: str | None, ask: Ask, *, in_flight: InFlight = "finish", force: bool = False
    ) -> Outcome:
        """Send all traffic of the route (None: of every route, in one revision) home to its baseline.

        `in_flight`: whether what runs at candidates may finish or is cut. What is home already stays as it is and makes
        no new revision, unless something is to be cut. Raises BaselineDown if the baseline is known to be down or is
        drained, and traffic would move there, unless `force`; and as `split` does.
        """
        _must_be_valid(ask.problems())
        known: dict[Version, tuple[str, ...]] = {}

        def judge() -> tuple[list[Route], Step]:
            routes = list(self._transactions.routes.values()) if route is None else [self._find(route)]
            return routes, changes.rollback(self.state, routes, again=in_flight == "cut")

        async def ask_servers() -> None:
            known.update(await answers(judge()[1], self.settings.versions))

        async def plan() -> Plan:
            routes, step = judge()
            self._must_match(ask, route)
            if not force:
                await must_be_reachable(step, self.settings.versions, _FORCE, known)
            moved = {move.route for move in step.moves}
            cut = tuple((found.name, version) for found in routes for version, _ in found.split
                        if found.name in moved and version != found.baseline) if in_flight == "cut" else ()
            return Plan(step, tuple(found.name for found in routes), cut=cut)

        return await self._transactions.run(plan, ask, None if force else ask_servers)

    async def drain(self, version: str, server: str | None, ask: Ask, *, force: bool = False) -> Outcome:
        """Send nothing more to a server of a version (its address), or None: to the version; what runs there finishes.

        Raises UnknownVersion; InvalidChange for another server; LastServer where requests would have nowhere to go,
        unless `force`; and what every change may raise. Notes say what becomes of the requests.
        """
        return await self._drainer.drain(version, server, ask, force=force)

    async def restore(self, version: str, server: str | None, ask: Ask) -> Outcome:
        """Send requests again to a server that was drained, or None: to all of the version. Raises as `drain` does."""
        return await self._drainer.restore(version, server, ask)

    async def reload(self, ask: Ask) -> Outcome:
        """Bring the file's content into force. Raises NothingToReload, ConfigError with the problems of a bad file, and
        as `split` does; `if_match` is about the revision of the whole state.
        """
        _must_be_valid(ask.problems())
        return await self._reloader.reload(ask)

    @contextmanager
    def no_reload(self, because: str) -> Iterator[None]:
        """Refuse to reload (HandingOver) as long as the block lasts, for this reason."""
        self._reloader.refusal = because
        try:
            yield
        finally:
            self._reloader.refusal = None

    def record(
        self, verb: str, author: Author, reason: str = "", route: str | None = None,
        before: dict[str, Any] | None = None, after: dict[str, Any] | None = None,
    ) -> None:
        """Journal soon what changes nothing. Never waits, never fails: what is lost is logged and counted."""
        self._recorder.record(
            Event(self._transactions.wall(), author, verb, self.state.revision, route, before, after, reason)
        )

    async def flush(self) -> None:
        """Wait until what was recorded is in the journal, or lost."""
        await self._recorder.flush()

    async def pause(self, because: str) -> None:
        """Refuse changes from now on, and return when the journal is no longer written to. Raises HandingOver if that
        is so already.
        """
        await self.flush()
        await self._transactions.pause(because)

    def resume(self) -> None:
        """Take changes again after `pause`."""
        self._transactions.resume()

    async def __aenter__(self) -> Self:
        self._tasks = [
            reported(asyncio.create_task(self._recorder.run(), name="recorder"), "commands"),
            reported(asyncio.create_task(self.timer.run(), name="confirm-timer"), "commands"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._transactions.paused:
            await self._recorder.flush()
        await self._transactions.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _change(
        self, route: str, ask: Ask, judge: Judge, *, confirmable: bool = False, notes: Notes = lambda course: ()
    ) -> Outcome:
        """A change of one route, judged by the state that holds when its turn comes."""

        async def plan() -> Plan:
            found = self._find(route)
            self._must_match(ask, route)
            problems = ask.problems(confirmable=confirmable)
            try:
                step = judge(self.state, found)
            except ChangeError as error:
                if error.kind != InvalidChange.kind:
                    _must_be_valid(problems)
                    raise _REFUSED[error.kind](str(error)) from None
                problems += error.problems
            _must_be_valid(problems)
            must_be_in_service(step, self.settings.versions)
            return Plan(step, (route,), notes=notes(step.state.routes[route].course))

        return await self._transactions.run(plan, ask)

    def _find(self, name: str) -> Route:
        found = self._transactions.routes.get(name)
        if found is None:
            near = suggest(name, list(self._transactions.routes))
            raise UnknownRoute(f"no route is called `{name[:64]}`{near}")
        return found

    def _must_match(self, ask: Ask, route: str | None) -> None:
        if ask.if_match is None:
            return
        revision = self.state.revision if route is None else self.state.routes[route].revision
        if revision not in ask.if_match:
            raise Outdated("the state" if route is None else f"route `{route}`", revision)


_FORCE = "or go there all the same with `force`"
_REFUSED = {kind.kind: kind for kind in (errors.NothingToUndo, errors.NothingPending)}


def _on_copies(course: Course) -> tuple[str, ...]:
    unsafe = unsafe_methods(course.shadow)
    return ((f"methods: {doubled(unsafe)}",) if unsafe else ()) + _on_copied_to_itself(course)


def _on_copied_to_itself(course: Course) -> tuple[str, ...]:
    shadow = course.shadow
    return (copied_to_itself(shadow.to),) if shadow is not None and copies_itself(course.split, shadow) else ()


def _must_be_valid(problems: Sequence[Problem]) -> None:
    if problems:
        raise InvalidChange(problems)
