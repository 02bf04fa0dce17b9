"""The owner of the comparer process: one lives as long as anything is to be compared, or was.

Invariant: whatever becomes of it, traffic goes on. One that dies is followed by another at the same address, with
nothing of what the first one knew; what it had counted stays in the sums.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import structlog

from proxy.clock import Clock, monotonic
from proxy.controlplane.child import LOOK_EVERY_S, pause
from proxy.controlplane.comparer.door import open_door
from proxy.controlplane.comparer.process import COMPARER_COMMAND, ComparerProcess, NoAnswer
from proxy.controlplane.comparer.recordings import LEAVING, MOST_STREAMS, OFF, RecordStream
from proxy.controlplane.comparer.watching import MatchWatch
from proxy.controlplane.tasks import reported
from proxy.controlplane.workers.lifecycle import Backoff
from proxy.core.route import Route
from proxy.core.snapshot import Snapshot
from proxy.ipc.comparing import Configure, FromComparer, Record, Recorded, Summary, Unrecord, Watched
from proxy.ipc.messages import Stats

log = structlog.get_logger("comparer")

_FIRST_LIFE = 1 << 31
"""Its lives are counted apart from those of the workers."""
_ANSWER_S = 1.0
_SILENT_S = 30.0
"""It speaks each second, but may get little CPU; after this it is stuck."""
_LEAVE_S = 1.0

OnEvent = Callable[[str, str | None, str], None]
"""Told what belongs into the journal: a verb, the route it is about, and the reason."""


class Sums(Protocol):
    """Where counts go: the supervisor."""

    def count(self, life: int, stats: Stats) -> None:
        """What a process has counted."""

    def uncount(self, life: int) -> None:
        """A process has ended."""


class Comparer:
    """See the module. `wall`: seconds since the epoch."""

    def __init__(self, sums: Sums, *, command: Sequence[str] = COMPARER_COMMAND, clock: Clock = monotonic,
                 wall: Clock = time.time) -> None:
        self.restarts = 0
        self.since_s: float | None = None
        """When the present process was started; None without one."""
        self.last_end: str | None = None
        self.on_event: OnEvent = lambda _verb, _route, _reason: None
        self._sums = sums
        self._command = tuple(command)
        self._clock = clock
        self._wall = wall
        self._door: tuple[socket.socket, str] | None = None
        self._watched: tuple[Watched, ...] = ()
        self._bounds: Mapping[str, float] = {}
        self._watch = MatchWatch()
        self._process: ComparerProcess | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._streams: dict[int, RecordStream] = {}
        self._streamed = 0
        self._inherited: Mapping[str, Any] = {}

    @property
    def wanted(self) -> bool:
        """Whether anything is to be compared."""
        return bool(self._watched)

    @property
    def running(self) -> bool:
        """Whether there is a process that has said that it works."""
        return self._process is not None and self._process.heard

    @property
    def pid(self) -> int | None:
        """The process id of the comparer; None while there is none."""
        return self._process.pid or None if self._process is not None else None

    def place(self, routes: Iterable[Route]) -> str:
        """Where workers bring the pairs of these routes, for `Snapshot.comparer`; empty when there will be none."""
        if not watched_of(routes):
            return ""
        if self._door is None:
            try:
                self._door = open_door()
            except OSError as error:
                log.error("nothing is compared: no socket for it", because=str(error))  # noqa: TRY400
                return ""
        return self._door[1]

    def configure(self, snapshot: Snapshot) -> None:
        """Compare what this snapshot says, from now on. Starts the process when it is needed first."""
        self._watched = watched_of(snapshot.routes) if snapshot.comparer else ()
        self._bounds = {route.name: route.copying.alert_below for route in snapshot.routes
                        if route.shadow is not None and route.copying.alert_below is not None}
        names = {watched.route for watched in self._watched}
        for stream in [stream for stream in self._streams.values() if stream.begin.route not in names]:
            stream.close(OFF)
        if self._process is not None:
            self._process.send(Configure(self._watched))
        elif self._watched and self._task is None and not self._stopping.is_set():
            self._task = reported(asyncio.create_task(self._run(), name="life"), "comparer")

    async def ask(self, about: str, route: str, **options: Any) -> dict[str, Any] | None:
        """Its answer; None for a route that it knows nothing of. Raises NoAnswer."""
        if self._process is None:
            raise NoAnswer("the comparer is not running")
        return await self._process.ask(about, route, options, _ANSWER_S)

    async def save(self) -> Mapping[str, Any]:
        """Everything it knows, for a successor's `inherit`; nothing when it does not answer."""
        try:
            return await self.ask("save", "") or {}
        except NoAnswer:
            return {}

    def inherit(self, saved: object) -> None:
        """Go on with what a predecessor's comparer knew."""
        books = saved.get("books") if isinstance(saved, Mapping) else None
        self._inherited = books if isinstance(books, Mapping) else {}

    def record(self, route: str, sample: float) -> RecordStream | None:
        """The pairs of a route from now on, or a `sample` of them; None when there are readers enough."""
        if len(self._streams) >= MOST_STREAMS:
            return None
        self._streamed += 1
        stream = RecordStream(Record(self._streamed, route, sample), self._unrecord)
        self._streams[self._streamed] = stream
        if self._process is not None:
            self._process.send(stream.begin)
        return stream

    async def stop(self) -> None:
        """End the process and every stream, and close the door."""
        self._stopping.set()
        for stream in list(self._streams.values()):
            stream.close(LEAVING)
        process = self._process
        if process is not None:
            process.leave()
        if self._task is not None:
            _, left = await asyncio.wait({self._task}, timeout=_LEAVE_S)
            if left and (process := self._process) is not None:
                process.kill("it did not leave in time")
            await asyncio.wait({self._task})
        if self._door is not None:
            self._door[0].close()

    def kill(self, reason: str) -> None:
        """End the present process now; a successor follows."""
        if self._process is not None:
            self._process.kill(reason)

    async def _run(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            began = self._clock()
            await self._live_once()
            if self._stopping.is_set():
                return
            self.restarts += 1
            delay_s = backoff.delay_s(self._clock() - began)
            log.error("comparer replaced", because=self.last_end, restarts=self.restarts, in_s=delay_s)
            self.on_event("comparer-replaced", None, f"because {self.last_end}, restarts {self.restarts}")
            await pause(delay_s, self._stopping)

    async def _live_once(self) -> None:
        assert self._door is not None
        life = _FIRST_LIFE + self.restarts
        process = ComparerProcess(life, self._clock, lambda message: self._hear(life, message))
        try:
            await process.start(self._command, self._door[0])
        except OSError as error:
            self.last_end = f"it could not be started: {error.strerror or error}"
            return
        self._process, self.since_s = process, self._wall()
        self._brief(process)
        watch = reported(asyncio.create_task(self._end_if_silent(process), name="silence"), "comparer")
        try:
            self.last_end = await process.exited()
        finally:
            watch.cancel()
            self._process, self.since_s = None, None
            self._sums.uncount(life)

    def _brief(self, process: ComparerProcess) -> None:
        """Tell a new process everything."""
        if self._stopping.is_set():
            process.leave()
            return
        process.send(Configure(self._watched))
        for stream in self._streams.values():
            process.send(stream.begin)
        inherited, self._inherited = self._inherited, {}
        for route, saved in inherited.items():
            process.tell("restore", route, {"saved": saved})

    def _hear(self, life: int, message: FromComparer) -> None:
        match message:
            case Summary():
                self._sums.count(life, Stats(0, message.counters, message.gauges, message.histograms))
                for crossing in self._watch.judge(message.windows, self._bounds):
                    self.on_event(*crossing)
            case Recorded(stream):
                if (reader := self._streams.get(stream)) is not None:
                    reader.offer(message)

    def _unrecord(self, stream: RecordStream) -> None:
        if self._streams.pop(stream.begin.stream, None) is not None and self._process is not None:
            self._process.send(Unrecord(stream.begin.stream))

    async def _end_if_silent(self, process: ComparerProcess) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            process.end_if_silent(_SILENT_S)


def watched_of(routes: Iterable[Route]) -> tuple[Watched, ...]:
    """The routes whose answers are to be compared, and how."""
    return tuple(
        Watched(route.name, route.shadow.to, route.copying.control, route.copying.compare)
        for route in routes if route.shadow is not None and route.copying.compare is not None)
