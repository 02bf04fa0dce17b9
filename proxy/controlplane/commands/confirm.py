"""Goes back when nobody confirmed: one task, which sleeps until the next pending change is due.

Invariant: a change that was to be confirmed by some time of day is undone then, in the order of deadlines, through the
same path as every other change; unless the way back leads to a version known to be down: then everything stays as it
is, the journal says so once, and it is tried again every five seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from proxy.controlplane.commands.ask import Ask
from proxy.controlplane.commands.reach import Answers, answers, must_be_reachable
from proxy.controlplane.commands.transactions import Plan, Transactions
from proxy.controlplane.errors import BaselineDown, CommandError
from proxy.controlplane.events import TURNOUT, Event
from proxy.core import changes
from proxy.core.changes import Step
from proxy.core.course import course_as_json
from proxy.core.route import Version
from proxy.core.state import Pending

log = structlog.get_logger("commands")

TRY_AGAIN_S = 5.0
_ADVICE = "until then everything stays as it is"
_LOOK_EVERY_S = 5.0
"""The time of day may be set, or the machine may have slept: nobody is late by more than this for it."""


class ConfirmTimer:
    """`run` is its task, of the owner's. `record` journals what changes nothing."""

    def __init__(self, transactions: Transactions, record: Callable[[Event], None]) -> None:
        self._transactions = transactions
        self._record = record
        self._held: dict[str, tuple[Pending, float]] = {}
        """What could not be reverted, and when to try again (monotonic)."""

    async def run(self) -> None:
        """Revert what is due, until cancelled."""
        changed = self._transactions.changed
        while True:
            changed.clear()
            await self.revert_due()
            try:
                async with asyncio.timeout(self._pause_s()):
                    await changed.wait()
            except TimeoutError:
                pass

    async def revert_due(self) -> None:
        """Revert every change that was to be confirmed by now, except those that wait to be tried again."""
        state, now = self._transactions.state, self._transactions.clock()
        self._held = {name: entry for name, entry in self._held.items()
                      if name in state.routes and state.routes[name].pending is entry[0]}
        for name in changes.due(state, self._transactions.wall()):
            if name not in self._held or self._held[name][1] <= now:
                await self._revert(name)

    async def _revert(self, name: str) -> None:
        held = self._transactions.state.routes.get(name)     # the file may have taken it away meanwhile
        pending = None if held is None else held.pending
        ask = Ask(TURNOUT, "not confirmed in time")
        known: dict[Version, tuple[str, ...]] = {}

        async def ask_servers() -> None:
            known.update(await answers(self._step(name), self._transactions.settings.versions))

        try:
            await self._transactions.run(lambda: self._plan(name, known), ask, ask_servers)
        except CommandError as error:
            if isinstance(error, BaselineDown) and name not in self._held:
                self._tell(name, error)
            log.warning("a change that nobody confirmed stays for now", route=name, because=error.detail,
                        again_in_s=TRY_AGAIN_S)
            if pending is not None:
                self._held[name] = (pending, self._transactions.clock() + TRY_AGAIN_S)

    async def _plan(self, name: str, known: Answers) -> Plan:
        step = self._step(name)
        await must_be_reachable(step, self._transactions.settings.versions, _ADVICE, known)
        return Plan(step, (name,))

    def _step(self, name: str) -> Step:
        state = self._transactions.state
        if name not in changes.due(state, self._transactions.wall()):
            return Step(state)        # somebody was faster
        return changes.revert(state, self._transactions.routes[name])

    def _tell(self, name: str, error: BaselineDown) -> None:
        state = self._transactions.state
        held = state.routes.get(name)
        if held is None or held.pending is None:
            return      # somebody was faster
        self._record(Event(
            self._transactions.wall(), TURNOUT, "revert-held", state.revision, name,
            before=course_as_json(held.course), after=course_as_json(held.pending.back_to),
            reason=f"{error.detail} ({'; '.join(error.servers)}); tried again every {TRY_AGAIN_S:g} s"[:1000],
        ))

    def _pause_s(self) -> float | None:
        """Until something may be due; None when nothing is pending."""
        state, now = self._transactions.state, self._transactions.clock()
        waits = [max(0.0, held.pending.until - self._transactions.wall()) for name, held in state.routes.items()
                 if held.pending is not None and name not in self._held]
        waits += [max(0.0, again - now) for _, again in self._held.values()]
        return min(_LOOK_EVERY_S, *waits) if waits else None
