"""The supervisor: N workers on one snapshot, replaced when they die, changed together, ended in order.

Invariant: a change is reported as applied only when no worker serves by an older snapshot: each one has acknowledged,
or is dead, and its successor starts with the new one. Every worker has one slot, every slot one task; a watch ends
workers that fell silent. Nothing here knows how a request is forwarded.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from proxy.clock import Clock, monotonic
from proxy.controlplane.child import LOOK_EVERY_S
from proxy.controlplane.errors import StartError
from proxy.controlplane.tasks import reported
from proxy.controlplane.upgrade.succession import Predecessor, Succession
from proxy.controlplane.workers.lifecycle import State
from proxy.controlplane.workers.listeners import Listeners
from proxy.controlplane.workers.process import WORKER_COMMAND
from proxy.controlplane.workers.slot import Crew, Slot
from proxy.core.route import Route
from proxy.core.snapshot import Snapshot
from proxy.core.withdrawal import without
from proxy.ipc.channel import framed
from proxy.ipc.messages import Apply, Noticed, Stats
from proxy.telemetry.fold import Fold
from proxy.telemetry.scope import Scope

_PRUNE_EVERY_S = 60.0
"""How long sums of what was configured once may stay: nobody is shown them, they only take memory."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the supervisor waits, in seconds, before it takes a worker for lost and replaces it."""

    start_s: float = 30.0     # process started → first snapshot applied; a loaded host takes seconds
    ack_s: float = 1.0        # snapshot sent → acknowledged; a worker needs milliseconds
    silence_s: float = 10.0   # between two messages; a worker reports several times a second
    quiet_s: float = 2.0      # a predecessor's workers told to leave → none begins a request; they need 1 s
    grace_s: float = 2.0      # after the drain deadline, for the worker to cut, report and leave
    early_deaths: int = 3     # in a row in one slot before anything served: then starting has failed


@dataclass(frozen=True, slots=True)
class Change:
    """What `Supervisor.apply` reached: `workers` of `of` acknowledged in time, the `replaced` ones were ended."""

    revision: int
    workers: int
    of: int
    replaced: tuple[int, ...]
    took_s: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """How the workers left: connections `cut` at the deadline, and workers that had to be `killed`."""

    cut: int
    killed: int


class Witness(Protocol):
    """Somebody else who keeps the sums."""

    def stats(self, life: int, stats: Stats) -> None:
        """What a worker process has counted."""

    def gone(self, life: int) -> None:
        """A worker process has ended."""


class Supervisor:
    """Owner of the workers. `listeners` are its own from here on: `stop` closes them."""

    def __init__(
        self,
        snapshot: Snapshot,
        listeners: Listeners,
        workers: int,
        *,
        worker_command: Sequence[str] = WORKER_COMMAND,
        patience: Patience = Patience(),
        clock: Clock = monotonic,
    ) -> None:
        self.snapshot = snapshot
        self.fold = Fold()
        self.on_event: Callable[[str, dict[str, Any]], None] = _nobody_cares
        """Told what belongs into the journal: `worker-replaced` with worker, because, restarts and in_s."""
        self.on_snapshot: Callable[[Snapshot], None] = _nobody_looks
        """Told every snapshot that comes into force, just before the workers are."""
        self.on_noticed: Callable[[int, Noticed], None] = _nobody_heeds
        """Told what a worker process, by its life, has noticed of a server."""
        self.news: Callable[[], bytes] = bytes
        """Asked what a worker has to know right after its first snapshot, as encoded messages."""
        self.out: Callable[[], Iterable[Noticed]] = tuple
        """Asked what a successor has to know: all that traffic has put out."""
        self.on_inherited: Callable[[Iterable[Noticed]], None] = _nobody_inherits
        """Told what a predecessor answered to `out`, before the first `on_snapshot`."""
        self.listeners = listeners
        self._patience = patience
        self._clock = clock
        self._started_at = clock()
        self._outcome: asyncio.Future[None] | None = None
        self._stopping = False
        self.keep_files = False
        """Whether somebody else goes on with our sockets: then `stop` leaves the files of Unix sockets in place."""
        self.witness: Witness | None = None
        """Told what the workers count as well: a successor."""
        self._may_begin = False
        self._prepared: asyncio.Future[None] | None = None
        self._all_quiet = asyncio.Event()
        self._succession = Succession(patience.quiet_s)
        self._tasks: list[asyncio.Task[None]] = []
        self._watch: asyncio.Task[None] | None = None
        crew = Crew(
            worker_command, workers, clock, itertools.count(1),
            self._first_words, self.count, self.uncount, self._on_change,
            lambda verb, facts: self.on_event(verb, facts),
            lambda life, news: self.on_noticed(life, news),
        )
        self.slots = tuple(Slot(index, listeners.bound_of(index), crew) for index in range(workers))

    @property
    def uptime_s(self) -> float:
        """Seconds since the supervisor was made."""
        return self._clock() - self._started_at

    @property
    def restarts(self) -> int:
        """How many workers were replaced."""
        return sum(slot.restarts for slot in self.slots)

    @property
    def pids(self) -> dict[int, int]:
        """The process id of each living worker by its slot."""
        return {slot.index: slot.process.pid for slot in self.slots if slot.process is not None and slot.process.pid}

    @property
    def ready(self) -> bool:
        """Whether connections are answered: all workers have served once, and one of them does now."""
        serving = any(slot.state is State.SERVING for slot in self.slots)
        return self._served and serving and not self._stopping

    @property
    def is_alone(self) -> bool:
        """Whether no worker of a predecessor is left that still finishes what it began."""
        return self._succession.is_over

    @property
    def _served(self) -> bool:
        outcome = self._outcome
        if outcome is None or not outcome.done() or outcome.cancelled():
            return False
        return outcome.exception() is None

    def shortcomings(self) -> list[str]:
        """Say what keeps the workers from being complete, one sentence per cause; empty when nothing does."""
        if self._stopping:
            return ["Turnout is draining"]
        reasons = []
        for slot in self.slots:
            process = slot.process
            if process is None:
                reasons.append(f"worker {slot.index} is being replaced: {slot.last_end or 'it was not started yet'}")
            elif process.state is State.STARTING:
                reasons.append(f"worker {slot.index} is starting")
            elif process.revision < self.snapshot.revision:
                reasons.append(f"worker {slot.index} serves by revision {process.revision} still")
        return reasons

    async def prepare(self) -> None:
        """Start the workers and wait until every one could serve at once; none does before `start`.

        Raises StartError when they cannot; `stop` is due then.
        """
        self._prepared = asyncio.get_running_loop().create_future()
        self._tasks = [reported(asyncio.create_task(slot.run(), name=f"worker-{slot.index}"), "supervisor")
                       for slot in self.slots]
        self._watch = reported(asyncio.create_task(self._watch_workers(), name="worker-watch"), "supervisor")
        await self._prepared

    async def start(self, snapshot: Snapshot | None = None) -> None:
        """Let the workers serve, by this snapshot if one is given, and wait until every one does.

        Those of a predecessor are told to leave then. Raises StartError when they cannot; `stop` is due then, and a
        predecessor's workers serve on.
        """
        self.snapshot = snapshot or self.snapshot
        self.on_snapshot(self.snapshot)
        self._outcome = asyncio.get_running_loop().create_future()
        try:
            self._may_begin = True
            if self._prepared is None:
                await self.prepare()
            for slot in self.slots:
                if slot.process is not None:
                    slot.process.begin()
            await self._outcome
        except StartError:
            self.keep_files |= self._succession.forget()  # they serve on, and so by these files
            raise
        self._succession.send_home(self.snapshot.policy.timeouts.drain)

    def follow(self, predecessor: Predecessor) -> None:
        """Let no change be answered before this predecessor's workers have become quiet, and leave after them."""
        self._succession.add(predecessor)
        if self._served:
            self._succession.send_home(self.snapshot.policy.timeouts.drain)

    async def settled(self) -> None:
        """Wait until no predecessor's worker begins a request any more."""
        await self._succession.outlive(())

    async def quiet(self) -> None:
        """Wait until no worker of ours begins a request any more. Only when `stop` was called, which may go on."""
        await self._all_quiet.wait()

    def cut_off(self, pairs: Collection[tuple[str, str]]) -> None:
        """End what the workers still do for these (route, version) pairs, also while they drain."""
        message = framed(Apply(without(self.snapshot, pairs), tuple(pairs)))
        for slot in self.slots:
            if slot.process is not None:
                slot.process.apply(message)

    async def apply(self, snapshot: Snapshot, cut: Collection[tuple[str, str]] = ()) -> Change:
        """Bring the snapshot to every worker; returns when no worker serves by an older one.

        `cut`: (route, version) pairs whose running requests and tunnels end once it is in force. The revision must be
        above the present one. A worker that does not acknowledge within `ack_s` is ended. Raises FrameError, with
        nothing changed, for a snapshot that is too large to be sent.
        """
        if snapshot.revision <= self.snapshot.revision:
            raise ValueError(f"revision {snapshot.revision} does not follow on {self.snapshot.revision}")
        began = self._clock()
        message = framed(Apply(snapshot, tuple(cut)))  # once for all: a large snapshot takes milliseconds
        self.snapshot = snapshot
        self.on_snapshot(snapshot)
        # One that has not begun yet will begin with this one, and serves nobody until then.
        processes = [slot.process for slot in self.slots if slot.process is not None and slot.process.has_begun]
        for process in processes:
            process.apply(message)
        acknowledged = await asyncio.gather(
            *(process.applied(snapshot.revision, self._patience.ack_s) for process in processes)
        )
        late = [process for process, done in zip(processes, acknowledged, strict=True) if not done]
        for process in late:
            process.kill(f"it did not apply revision {snapshot.revision} in time")
        await asyncio.gather(*(process.gone() for process in late))
        await self._succession.outlive(cut)
        return Change(
            revision=snapshot.revision,
            workers=sum(acknowledged),
            of=len(self.slots),
            replaced=tuple(process.index for process in late),
            took_s=self._clock() - began,
        )

    def tell(self, message: bytes, *, but: int | None = None) -> None:
        """Send an encoded message to every worker that has a snapshot, except to the process with the life `but`."""
        for slot in self.slots:
            if slot.process is not None and slot.process.has_begun and slot.process.life != but:
                slot.process.tell(message)

    async def stop(self, within_s: float) -> Stopped:
        """Drain every worker, at most `within_s` seconds and a grace, then end those that are left.

        The supervisor's sockets are closed first and the workers close theirs when they are told to drain: from then on
        new connections are refused, instead of waiting for nobody.
        """
        began = self._clock()
        self._stopping = True
        if self._outcome is None:  # nobody serves in the predecessors' place
            self.keep_files |= self._succession.forget()
        self._succession.send_home(within_s)
        if self._watch is not None:
            self._watch.cancel()
        self.listeners.close(keep_files=self.keep_files)
        for slot in self.slots:
            slot.stop(within_s)
        self._on_change()
        killed = 0
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=within_s + self._patience.grace_s)
            killed = self.cut("it did not leave in time") if left else 0
            await asyncio.wait(self._tasks)
        await self._succession.end(max(0.0, within_s - (self._clock() - began)))
        return Stopped(cut=sum(slot.cut for slot in self.slots), killed=killed)

    def cut(self, reason: str, *, unless_quiet: bool = False) -> int:
        """End every worker now, or those that may still begin a request; returns how many there were.

        `stop`, when it is under way, returns soon after.
        """
        living = [slot for slot in self.slots
                  if slot.process is not None and not (unless_quiet and slot.process.quiet)]
        for slot in living:
            slot.kill(reason)
        if not unless_quiet:
            self._succession.kill(reason)
        return len(living)

    def count(self, life: int, stats: Stats) -> None:
        """Add what a worker process has counted; those of a predecessor have numbers below 0."""
        self.fold.add(life, stats.counters, stats.gauges, stats.histograms)
        if self.witness is not None:
            self.witness.stats(life, stats)

    def uncount(self, life: int) -> None:
        """Drop the gauges of a worker process that has ended."""
        self.fold.forget(life)
        if self.witness is not None:
            self.witness.gone(life)

    def _first_words(self) -> bytes | None:
        return framed(Apply(self.snapshot)) + self.news() if self._may_begin else None

    def _on_change(self) -> None:
        processes = [slot.process for slot in self.slots]
        if all(process is not None and process.is_ready for process in processes):
            _settle(self._prepared)
        if all(slot.state is State.SERVING for slot in self.slots):
            _settle(self._outcome)
        if self._stopping and all(process is None or process.quiet for process in processes):
            self._all_quiet.set()
        for slot in self.slots:
            if slot.early_deaths >= self._patience.early_deaths:
                error = f"worker {slot.index} does not start: {slot.last_end}; its own output is above"
                _settle(self._prepared, StartError(error)) or _settle(self._outcome, StartError(error))

    async def _watch_workers(self) -> None:
        """End workers that are alive and say nothing (stopped, or caught in a loop); let go of old sums."""
        pruned_at = self._clock()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = self._clock()
            if now - pruned_at >= _PRUNE_EVERY_S:
                self.fold.retain(_scope_of(self.snapshot))
                pruned_at = now
            for slot in self.slots:
                if slot.process is not None:
                    starting = slot.process.state is State.STARTING
                    slot.process.end_if_silent(self._patience.start_s if starting else self._patience.silence_s)


def _scope_of(snapshot: Snapshot) -> Scope:
    return Scope(
        ((route.name, version) for route in snapshot.routes for version in _versions_of(route)),
        ((version.name, server.address) for version in snapshot.versions for server in version.servers),
    )


def _versions_of(route: Route) -> list[str]:
    shadow = [] if route.shadow is None else [route.shadow.to]
    return [version for version, _ in route.split] + shadow


def _settle(future: asyncio.Future[None] | None, error: StartError | None = None) -> bool:
    """Whether the future was open until now."""
    if future is None or future.done():
        return False
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
    return True


def _nobody_cares(_verb: str, _facts: dict[str, Any]) -> None:
    """Stand in for whoever wants to know."""


def _nobody_looks(_snapshot: Snapshot) -> None:
    """The same for snapshots."""


def _nobody_heeds(_life: int, _news: Noticed) -> None:
    """And for what workers notice."""


def _nobody_inherits(_news: Iterable[Noticed]) -> None:
    """And for what a predecessor knew."""
