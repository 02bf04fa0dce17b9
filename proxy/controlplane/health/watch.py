"""The supervisor's part in health, put together: it probes, listens to workers, tells them, and says what happens.

Invariant: nothing here is needed for traffic. Workers that hear nothing of it go by what they see themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from proxy.clock import Clock, monotonic
from proxy.controlplane.health.book import HealthBook
from proxy.controlplane.health.pages import Turn
from proxy.controlplane.health.prober import Prober
from proxy.controlplane.health.relay import Relay, Workers
from proxy.controlplane.health.telling import Telling
from proxy.controlplane.tasks import reported
from proxy.core.health.pauses import TICK_S
from proxy.core.snapshot import Snapshot
from proxy.ipc.messages import Noticed

log = structlog.get_logger("health")


class Supervisor(Workers, Protocol):
    """Who has the workers."""

    on_event: Callable[[str, dict[str, Any]], None]
    on_noticed: Callable[[int, Noticed], None]
    news: Callable[[], bytes]
    out: Callable[[], Iterable[Noticed]]
    on_inherited: Callable[[Iterable[Noticed]], None]


class HealthWatch:
    """See the module; `configure` is for `Supervisor.on_snapshot`. `book`: what is known, for views.

    Events, through the supervisor's `on_event`: `server-out` and `server-in` with version, server, by (probe or
    traffic), and where there are any: why, until (UTC), unsaid; `version-down` and `version-up` with version, why,
    unsaid.
    """

    def __init__(self, supervisor: Supervisor, *, clock: Clock = monotonic, wall: Clock = time.time) -> None:
        self.book = HealthBook(clock, wall)
        self._clock = clock
        self._supervisor = supervisor
        self._relay = Relay(self.book, supervisor)
        self._prober = Prober(self.book, self._relay.out_changed, clock=clock, wall=wall)
        self._telling = Telling(self._say)
        self._tasks: list[asyncio.Task[None]] = []
        self.book.on_turn = lambda turn: self._telling.hear(turn, clock())
        supervisor.on_noticed = self._relay.noticed
        supervisor.news = self._relay.greeting
        supervisor.out = self.book.out_by_traffic
        supervisor.on_inherited = self.book.adopt

    def configure(self, snapshot: Snapshot) -> None:
        """Watch the servers of this snapshot from now on. Needs a running loop."""
        self.book.configure(snapshot)
        self._prober.follow(snapshot)
        self._relay.out_changed()
        self._telling.retain({(version.name, address) for version in snapshot.versions
                              for address in ("", *(server.address for server in version.servers))})
        if not self._tasks:
            self._tasks = [reported(asyncio.create_task(self._prober.run(), name="probe-ticks"), "health"),
                           reported(asyncio.create_task(self._settle(), name="health-events"), "health")]

    async def stop(self) -> None:
        """End everything; nothing is probed or said any more."""
        for task in self._tasks:
            task.cancel()
        await self._prober.stop()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _settle(self) -> None:
        while True:
            await asyncio.sleep(10 * TICK_S)
            self._telling.settle(self._clock())

    def _say(self, turn: Turn, unsaid: int) -> None:
        facts = {name: value for name, value in _facts(turn, unsaid).items() if value}
        verb = ("server-out" if turn.out else "server-in") if turn.server else (
            "version-down" if turn.out else "version-up")
        (log.warning if turn.out else log.info)(verb, **facts)
        self._supervisor.on_event(verb, facts)


def _facts(turn: Turn, unsaid: int) -> Mapping[str, Any]:
    """What there is to know about a turn; what is empty says nothing."""
    until = "" if turn.until is None else datetime.fromtimestamp(turn.until, UTC).isoformat(timespec="seconds")
    return {"version": turn.version, "server": turn.server, "by": turn.by, "why": turn.why, "until": until,
            "unsaid": unsaid}
