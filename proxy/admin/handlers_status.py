"""Probes, status and metrics: what is asked again and again, so it is cheap whatever the number of routes.

Invariant: a flood of these costs the supervisor no more than a bounded share of one CPU beyond HTTP itself: status is
made at most four times a second unless something changed, and metrics are written out in another thread, one at a time.
"""

from __future__ import annotations

import asyncio
import gzip
import math
import re
from collections.abc import Sequence

from aiohttp import web

from proxy.admin import shapes, status_view
from proxy.admin.answers import JSON, json_answer, json_bytes
from proxy.admin.control import Control
from proxy.admin.facts import facts_of
from proxy.admin.failures import Failures
from proxy.admin.last_changes import LastChanges
from proxy.admin.operations import Call, Operation
from proxy.admin.problems import Refused
from proxy.admin.tally import Tally

_STATUS_FRESH_S = 0.25
"""Workers report several times a second, so what is older has no news."""
_TAKES_GZIP = re.compile(r"\bgzip\b(?![ \t]*;[ \t]*q=0(?:\.0*)?[ \t]*(?:,|$))", re.IGNORECASE)
_PLAIN_TEXT = "text/plain"
_OPENMETRICS = "application/openmetrics-text"


class StatusHandlers:
    """See the module."""

    def __init__(self, control: Control, failures: Failures, tally: Tally) -> None:
        self._control = control
        self._failures = failures
        self._tally = tally
        self._last_changes = LastChanges(control.journal)
        self._made: tuple[object, float, bytes] = (None, -math.inf, b"")
        self._rendering = asyncio.Lock()
        self._started_at = control.wall() - control.supervisor.uptime_s

    def operations(self) -> Sequence[Operation]:
        """What is asked here."""
        made = [
            Operation("GET", "/livez", self.livez, "nobody", "Whether Turnout is there", shapes.Alive),
            Operation("GET", "/readyz", self.readyz, "nobody", "Whether connections are answered", shapes.Ready,
                      also={503: shapes.Ready}),
            Operation("GET", "/api/v1/status", self.status, "viewer", "Routes, versions, workers and their counts",
                      shapes.Status),
        ]
        if self._control.exposition is not None:
            made.append(Operation("GET", "/metrics", self.metrics, "viewer", "Metrics for Prometheus",
                                  media=(_PLAIN_TEXT, _OPENMETRICS)))
        return made

    async def livez(self, _: Call) -> web.Response:
        """It is alive when it answers."""
        return json_answer(shapes.Alive(alive=True))

    async def readyz(self, _: Call) -> web.Response:
        """503 while connections are not answered."""
        view = status_view.readiness(self._control.supervisor)
        return json_answer(view, status=200 if view["ready"] else 503)

    async def status(self, _: Call) -> web.Response:
        """Made anew when something changed, or after a quarter of a second."""
        await self._last_changes.refresh()
        seen, now = self._signature(), self._control.clock()
        if self._made[0] != seen or now - self._made[1] > _STATUS_FRESH_S:
            view = status_view.status(self._control, self._last_changes.by_route)
            self._made = (seen, now, json_bytes(view))
        return web.Response(body=self._made[2], content_type=JSON)

    def _signature(self) -> object:
        """What changes whenever status shows something new besides counts and times."""
        supervisor, commands = self._control.supervisor, self._control.commands
        workers = [(slot.state, slot.restarts, slot.process and slot.process.revision) for slot in supervisor.slots]
        return (id(commands.state), id(supervisor.snapshot), supervisor.ready, workers, commands.last_reload_at,
                self._last_changes.newest)

    async def metrics(self, call: Call) -> web.Response:
        """A consistent moment, written out in a thread; compressed for those who take it."""
        exposition = self._control.exposition
        if exposition is None:
            raise Refused(404, "no metrics are kept")
        request = call.request
        squeeze = _TAKES_GZIP.search(request.headers.get("Accept-Encoding", "")) is not None

        def write() -> tuple[bytes, str]:
            text, content_type = page.text(request.headers.get("Accept"))
            return (gzip.compress(text, 1) if squeeze else text), content_type

        async with self._rendering:
            page = exposition.take(facts_of(self._control, self._failures, self._tally, self._started_at))
            body, content_type = await asyncio.to_thread(write)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if squeeze:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers)
