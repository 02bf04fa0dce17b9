"""The one way by which anything changes: one change at a time, journaled, then held, then applied, then told.

Invariant: `state` and `settings` are what the journal has acknowledged, never more and never less. What cannot be
journaled is as if nobody had asked. Once it is journaled, a change is finished, whether or not its author still waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import structlog

from proxy.clock import Clock
from proxy.controlplane.commands.ask import Ask, Outcome
from proxy.controlplane.errors import HandingOver, NotApplied, NotJournaled
from proxy.controlplane.events import Author, Event
from proxy.controlplane.feed import EventFeed
from proxy.controlplane.journal.errors import JournalError
from proxy.controlplane.journal.journal import Journal
from proxy.controlplane.supervisor import Change, Supervisor
from proxy.core import draining
from proxy.core.changes import Move, Service, Step
from proxy.core.course import course_as_json
from proxy.core.snapshot import Snapshot
from proxy.core.state import State
from proxy.errors import TurnoutError
from proxy.settings import Settings

log = structlog.get_logger("commands")

_ROUTES_LOGGED = 20

Compile = Callable[[Settings, State], Snapshot]
"""Makes what workers serve by; its revision is that of the state."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A change that may be made: what follows, and what goes with it.

    `routes`: the names that it is about. `settings`: new ones, None for those in force. `verb`: of an event about no
    route in particular that comes first. `cut`: (route, version) pairs whose running requests are to end.
    """

    step: Step
    routes: tuple[str, ...]
    settings: Settings | None = None
    verb: str | None = None
    cut: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


Preparation = Callable[[], Awaitable[None]]
"""What can be found out before it is the change's turn, so that nobody else waits for it. Raises CommandError."""

Planner = Callable[[], Awaitable[Plan]]
"""Asked when it is the change's turn, so that it sees the state that holds then. Raises CommandError to refuse."""


class Transactions:
    """What holds now, and its successor. `changed` is set with every new state, for the timer of pending changes."""

    def __init__(
        self, settings: Settings, state: State, journal: Journal, supervisor: Supervisor, compile_snapshot: Compile,
        clock: Clock, wall: Clock,
    ) -> None:
        self.hold(settings, state)
        self.feed = EventFeed()
        self.changed = asyncio.Event()
        self.journal_failures = 0
        self.compile = compile_snapshot
        self.clock = clock
        self.wall = wall
        self._journal = journal
        self._supervisor = supervisor
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self._closed_because: str | None = None
        # A thread of its own: no other work of the process may delay a rollback.
        self._thread = ThreadPoolExecutor(1, "journal")

    def hold(self, settings: Settings, state: State) -> None:
        """Go on from here (besides this module, for a process that begins)."""
        self.settings = settings
        self.state = state
        self.routes = {route.name: route for route in settings.routes}

    @property
    def paused(self) -> bool:
        """Whether changes are refused."""
        return self._closed_because is not None

    @property
    def is_journaled(self) -> bool:
        """Whether the journal has the state that holds; it has not while a process begins with a new one."""
        return self._journal.state == self.state

    async def run(self, planner: Planner, ask: Ask, prepare: Preparation | None = None) -> Outcome:
        """Make the planned change when it is its turn. It is finished even if the caller is cancelled meanwhile.

        Raises what the planner raises, HandingOver and NotJournaled (nothing has changed), NotApplied.
        """
        task = asyncio.create_task(self._run(planner, ask, prepare), name="change")
        self._tasks.add(task)
        task.add_done_callback(self._settle)
        return await asyncio.shield(task)

    async def note(self, events: Sequence[Event], *, with_state: bool = False) -> None:
        """Journal and publish what needs no worker to change; `with_state`: also the state, if the journal has another
        one. Raises JournalError: nothing was kept.
        """
        async with self._turn:
            state = self.state if with_state and not self.is_journaled else None
            for event in await self._append(events, state):
                self.feed.publish(event)

    async def pause(self, because: str) -> None:
        """Refuse changes from now on and return when none is under way: the journal is a successor's to write.

        Raises HandingOver when changes are refused already.
        """
        self._must_be_open()
        self._closed_because = because
        try:
            await self._turn.acquire()
        except BaseException:
            self._closed_because = None     # given up: nobody would know to resume
            raise

    def resume(self) -> None:
        """Take changes again, after `pause`: there is no successor."""
        self._closed_because = None
        self._turn.release()

    async def close(self) -> None:
        """Refuse changes, wait for those under way, and end the feed. The journal stays open: it is not ours."""
        self._closed_because = self._closed_because or "Turnout is leaving"
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.feed.close()
        self._thread.shutdown(wait=False)

    async def _run(self, planner: Planner, ask: Ask, prepare: Preparation | None) -> Outcome:
        began = self.clock()
        self._must_be_open()
        if prepare is not None:
            await prepare()
        async with self._turn:
            self._must_be_open()        # again: it may have been long
            plan = await planner()
            change = None
            if not ask.dry_run and plan.step.state is not self.state:
                change = await self._make(plan, ask)
            state = plan.step.state
            return Outcome(
                state.revision, change, self.clock() - began, plan.routes, ask.dry_run, state, plan.notes
            )

    async def _make(self, plan: Plan, ask: Ask) -> Change:
        settings, state = plan.settings or self.settings, plan.step.state
        snapshot = self.compile(settings, state)
        try:
            events = await self._append(self._events(plan, ask), state)
        except JournalError as error:
            log.error("change not journaled", by=ask.author.name, reason=str(error))  # noqa: TRY400  the reason says all
            raise NotJournaled(f"nothing has changed: {error}") from error
        self.hold(settings, state)
        self.changed.set()
        try:
            return await self._supervisor.apply(snapshot, cut=plan.cut)
        except Exception as error:
            log.critical("a change was journaled and not applied", revision=state.revision, exc_info=error)
            raise NotApplied(
                f"revision {state.revision} is in the journal, but workers may not serve by it ({error!r}): "
                "the next change, or a restart, brings them everything"
            ) from error
        finally:
            for event in events:
                self.feed.publish(event)
            _log(events)

    async def _append(self, events: Sequence[Event], state: State | None) -> Sequence[Event]:
        # By what the journal has, which is another state than ours until the beginning of this process is journaled.
        known = self._journal.state
        changed = None if state is None or known is None else tuple(differing(known, state))
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._thread, lambda: self._journal.append(events, state, changed)
            )
        except JournalError:
            self.journal_failures += 1
            raise

    def _events(self, plan: Plan, ask: Ask) -> list[Event]:
        now, revision = self.wall(), plan.step.state.revision
        events = [] if plan.verb is None else [Event(now, ask.author, plan.verb, revision, reason=ask.reason)]
        return events + [event_of(move, now, ask.author, revision, ask.reason) for move in plan.step.entries]

    def _must_be_open(self) -> None:
        if self._closed_because is not None:
            raise HandingOver(f"{self._closed_because}: ask again in a second")

    def _settle(self, task: asyncio.Task[Outcome]) -> None:
        """Whoever waits gets the error as well; but perhaps nobody does any more."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, TurnoutError):
            log.critical("a change failed", exc_info=error)


def _log(events: Sequence[Event]) -> None:
    """One line for each change, however many routes it moves: the journal names them all."""
    first = events[0]
    routes = [event.route for event in events if event.route is not None]
    log.info("changed", verb=first.verb, revision=first.revision, by=first.author.name, reason=first.reason,
             routes=routes[:_ROUTES_LOGGED], more=max(0, len(routes) - _ROUTES_LOGGED), **_service_of(first))


def _service_of(event: Event) -> dict[str, Any]:
    """The version and server that were drained or restored; nothing of any other event."""
    return {key: value for key, value in (event.after or {}).items() if key in ("version", "server")}


def event_of(move: Move | Service, now: float, author: Author, revision: int, reason: str = "") -> Event:
    """The journal's entry for what happened to one route or server: the author's reason first, then that of the rules.
    """
    reason = " · ".join(part for part in (reason, move.reason) if part)
    if isinstance(move, Service):
        before, after = (_service_as_json(move, drained) for drained in (move.before, move.after))
        return Event(now, author, move.verb, revision, None, before, after, reason)
    return Event(
        now, author, move.verb, revision, move.route,
        before=None if move.before is None else course_as_json(move.before),
        after=None if move.after is None else course_as_json(move.after),
        reason=reason,
    )


def _service_as_json(service: Service, drained: Sequence[str]) -> dict[str, Any]:
    """What is drained of a version: `drained` lists addresses, `all` says whether it is the version as a whole."""
    return {"version": service.version, "server": service.server, "all": draining.ALL in drained,
            "drained": [address for address in drained if address != draining.ALL]}


def differing(old: State, new: State) -> Iterable[str]:
    """The routes whose state is another object than before, and those that are gone: what the journal has to write."""
    yield from (name for name, held in new.routes.items() if old.routes.get(name) is not held)
    yield from (name for name in old.routes if name not in new.routes)
