"""One Turnout, put together from its settings, or from its settings and what a predecessor hands over.

Order of a start: sockets, journal, state, workers, API; of an upgrade: sockets, workers that wait, then the last state,
the journal, the take-over, and the API when the predecessor's is closed. Whatever was opened is closed by `close`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from proxy.admin.control import Control
from proxy.admin.server import open_admin
from proxy.clock import monotonic
from proxy.controlplane.commands.commands import Commands
from proxy.controlplane.comparer.comparer import Comparer
from proxy.controlplane.errors import NotJournaled
from proxy.controlplane.events import TURNOUT, Author
from proxy.controlplane.health.watch import HealthWatch
from proxy.controlplane.journal.errors import StateError
from proxy.controlplane.journal.folder import last_holder
from proxy.controlplane.journal.journal import Journal
from proxy.controlplane.journal.secret import load_secret
from proxy.controlplane.supervisor import Supervisor
from proxy.controlplane.upgrade.handover import Estate, Handover, Household, UpgradeFailed
from proxy.controlplane.upgrade.inheritance import Inheritance
from proxy.controlplane.upgrade.luggage import MOST_EVENTS, Luggage, pack, unpack
from proxy.controlplane.upgrade.orphans import Orphans, find_orphans
from proxy.controlplane.workers.descriptors import affordable_connections, raise_descriptor_limit
from proxy.controlplane.workers.listeners import Heirlooms, Listeners, addresses_of, open_listeners
from proxy.core.draining import out_of_service
from proxy.core.merge import initial, steered
from proxy.core.snapshot import Snapshot
from proxy.core.state import State
from proxy.errors import TurnoutError
from proxy.settings import Settings
from proxy.telemetry.exposition import Exposition

log = structlog.get_logger("turnout")

_NO_STATE = State(0)
_COMPARED = "compared"
"""Where the luggage has what the comparer knows."""


class Program:
    """See the module. `inherited`: what a predecessor hands over, None at an ordinary start. Raises StartError."""

    def __init__(self, settings: Settings, worker_command: Sequence[str], inherited: Inheritance | None) -> None:
        self.settings = settings
        self._inherited = inherited
        self._descriptors = raise_descriptor_limit()
        self._warn_of_descriptors()
        self._made_secret = self._handed_secret = b""
        self._journal: Journal | None = None
        self._asked_by = (TURNOUT, "")
        self._held_before = last_holder(settings.state_dir)
        self.orphans = Orphans() if inherited else find_orphans(
            addresses_of(settings.listen), supervisor=self._held_before)
        listeners = open_listeners(
            settings.listen, settings.workers, inherited.data if inherited else Heirlooms(self.orphans.sockets))
        waiting = settings.snapshot(0, settings.secret or b"")
        self.supervisor = Supervisor(waiting, listeners, settings.workers, worker_command=worker_command)
        self.supervisor.keep_files = inherited is not None  # they are the predecessor's until we have taken over
        self.supervisor.follow(self.orphans)
        self.comparer = Comparer(self.supervisor)
        self.health = HealthWatch(self.supervisor)
        self.supervisor.on_snapshot = self._configure
        self.admin: Listeners | None = None
        self.handover = Handover(self.supervisor, Household(self.estate, self.freeze, self.thaw))

    # ---- beginning

    def open(self) -> None:
        """Open the journal, and make of it and the file the state to begin with. Raises StartError."""
        settings = self.settings
        self.admin = open_admin(settings.admin.listen)
        self._journal = Journal.open(settings.state_dir, keep=settings.events_kept)
        self._compose(self._journal.state)
        self.supervisor.snapshot = self.compiled(settings, self.commands.state)
        self.verb, self.reason = "start", self._found()

    async def succeed(self) -> None:
        """Take over from the predecessor. Raises StartError: it goes on then, and nothing has changed."""
        inherited = self._inherited
        assert inherited is not None
        try:
            await self._succeed(inherited)
        except TurnoutError as error:
            inherited.fail(str(error))
            raise

    async def _succeed(self, inherited: Inheritance) -> None:
        self.admin = open_admin(self.settings.admin.listen, inherited.admin)
        await self.supervisor.prepare()
        packed = await inherited.ready(self.supervisor)
        self._unpack(unpack(packed))
        self.comparer.inherit(packed.get(_COMPARED))
        await self.supervisor.start(self.compiled(self.settings, self.commands.state))
        await inherited.take(self.supervisor)
        self.supervisor.keep_files = False
        self.verb = "upgrade"

    async def begin(self) -> None:
        """Journal that this process begins, and what moved by that. Raises StateError when that cannot be kept.

        A successor serves in any case: nobody else does. The next change writes what is missing.
        """
        try:
            await self.commands.begin(self._moves, self.verb, self.reason)
        except NotJournaled as error:
            if self._inherited is None:
                raise StateError(f"cannot keep in {self.settings.state_dir} what the file says now: {error.detail}, "
                                 "or run with `state_dir: memory`") from error
            log.error("took over, but that could not be journaled", because=error.detail)  # noqa: TRY400

    def compiled(self, settings: Settings, state: State) -> Snapshot:
        """The snapshot of a state: the file's, steered, with no more connections than this host allows.

        Raises StateError when session cookies are to be signed by a secret of `state_dir`, and none can be had.
        """
        snapshot = settings.snapshot(state.revision, settings.secret or self._own_secret())
        limits = snapshot.policy.limits
        connections = affordable_connections(limits.connections, self._descriptors, self.settings.workers)
        policy = replace(snapshot.policy, limits=replace(limits, connections=connections))
        routes = steered(settings.routes, state)
        drained = out_of_service(state.drained, settings.versions)
        return replace(snapshot, routes=routes, policy=policy, comparer=self.comparer.place(routes), drained=drained)

    def _own_secret(self) -> bytes:
        """The secret that was made once, looked for as soon as a file has none: it may have had one at the start."""
        self._made_secret = self._made_secret or load_secret(self.settings.state_dir, self._handed_secret)
        return self._made_secret

    def _compose(self, stored: State | None) -> None:
        settings, journal = self.settings, self._journal
        assert journal is not None
        step = initial(settings.routes, settings.versions, stored, time.time())
        self._moves = step.entries
        self.commands = Commands(settings, step.state, journal, self.supervisor, compile_snapshot=self.compiled,
                                 clock=monotonic, wall=time.time)
        self.control = Control(
            self.supervisor, self.commands, journal, Exposition(self.supervisor.fold, settings.buckets),
            self.upgrade if self.handover.possible else None, comparer=self.comparer, health=self.health.book)
        self.supervisor.on_event = self._note
        self.comparer.on_event = self._note_comparer

    def _unpack(self, luggage: Luggage) -> None:
        settings, inherited = self.settings, self._inherited
        assert inherited is not None
        same = luggage.state_dir is not None and luggage.state_dir == _real(settings.state_dir)
        lock_fd = inherited.take_lock() if same else None
        self._journal = Journal.open(settings.state_dir, keep=settings.events_kept, lock_fd=lock_fd)
        if settings.state_dir is None:
            self._journal.append(luggage.events, luggage.state)
        self._handed_secret = luggage.secret
        self.reason = " · ".join(filter(None, (luggage.author, luggage.reason)))
        self._compose(self._journal.state if same else luggage.state)

    def _found(self) -> str:
        pids = [str(orphan.pid) for orphan in self.orphans.members]
        return f"took over from orphaned workers {', '.join(pids)}" if pids else ""

    # ---- while it serves

    def _configure(self, snapshot: Snapshot) -> None:
        self.comparer.configure(snapshot)
        self.health.configure(snapshot)

    async def upgrade(self, author: Author, reason: str) -> int:
        """Hand over to a successor. Raises HandingOver and UpgradeFailed; the latter is journaled."""
        self.handover.must_be_possible()  # before anything of an upgrade that is under way is overwritten
        self._asked_by = (author, reason)
        try:
            # What is read here after the successor has read the file would be overruled by what it has read.
            with self.commands.no_reload("an upgrade reads the file anew"):
                return await self.handover.upgrade()
        except UpgradeFailed as error:
            log.error("upgrade failed, nothing has changed", because=str(error))  # noqa: TRY400  the reason says all
            self.commands.record("upgrade-failed", author, str(error))
            raise

    def _note(self, verb: str, facts: Mapping[str, Any]) -> None:
        self.commands.record(verb, TURNOUT, ", ".join(f"{name} {value}" for name, value in facts.items()))

    def _note_comparer(self, verb: str, route: str | None, reason: str) -> None:
        self.commands.record(verb, TURNOUT, reason, route)

    def estate(self) -> Estate:
        """What a successor gets first."""
        lock_fd = None if self._journal is None else self._journal.lock_fd
        return Estate(self.supervisor.listeners, self.admin, lock_fd)

    async def freeze(self) -> Mapping[str, Any]:
        """Stop changes and return the last luggage. Raises HandingOver and JournalError: changes go on then."""
        journal, (author, reason) = self._journal, self._asked_by
        assert journal is not None
        await self.commands.pause("Turnout hands over to its successor")
        try:
            state, state_dir = self.commands.state, _real(self.settings.state_dir)
            newest = journal.events(limit=MOST_EVENTS, newest_first=True) if state_dir is None else []
            secret = self._made_secret or self._handed_secret
            luggage = Luggage(state, state_dir, secret, tuple(reversed(newest)), author.name, reason)
            return {**pack(luggage), _COMPARED: await self.comparer.save()}
        except BaseException:
            self.commands.resume()
            raise

    async def thaw(self) -> None:
        """Take changes again, as the holder of the journal."""
        assert self._journal is not None
        self.commands.resume()
        self._journal.claim()

    # ---- the end

    async def close(self) -> None:
        """End what is still open. Workers that are still there are cut, or finish if somebody else goes on.

        Whoever goes on, the predecessor or who is started in its place, needs what we hold before our workers finish.
        """
        inherited = self._inherited
        if inherited is None or inherited.taken:
            await self.supervisor.stop(0.0)
            await self.health.stop()
            await self.comparer.stop()
            self._let_go()
        else:
            self._let_go()
            await inherited.close()
            await self.supervisor.stop(self.settings.policy.timeouts.drain)
            await self.health.stop()
            await self.comparer.stop()

    def _let_go(self) -> None:
        if self.admin is not None:
            self.admin.close(keep_files=self.supervisor.keep_files)
        if self._journal is not None:
            if self.orphans.left_alone:
                self._journal.claim(self._held_before)
            self._journal.close()

    def _warn_of_descriptors(self) -> None:
        configured = self.settings.policy.limits.connections
        affordable = affordable_connections(configured, self._descriptors, self.settings.workers)
        if affordable < configured:
            log.warning(
                "fewer connections than configured", configured=configured, possible=affordable,
                because=f"a process may open {self._descriptors} files; raise the limit (ulimit -Hn, LimitNOFILE=)",
            )


def _real(state_dir: str | None) -> str | None:
    return None if state_dir is None else os.path.realpath(state_dir)
