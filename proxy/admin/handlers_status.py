"""Probes, status and metrics: what is asked again and again, so it is cheap whatever the number of routes.

Invariant: a flood of these costs the supervisor no more than a bounded share of one CPU beyond HTTP itself: status and
metrics are made at most four times a second unless something changed, and metrics are written out in another thread,
one page at a time.
"""

from __future__ import annotations

import asyncio
import gzip
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

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
from proxy.telemetry.exposition import Exposition, Page

_FRESH_S = 0.25
"""Workers report several times a second, so what is older has no news."""
_TAKES_GZIP = re.compile(r"\bgzip\b(?![ \t]*;[ \t]*q=0(?:\.0*)?[ \t]*(?:,|$))", re.IGNORECASE)
_FORMS = 2      # texts of one moment that are kept: several MiB each at a thousand routes
_PLAIN_TEXT = "text/plain"
_OPENMETRICS = "application/openmetrics-text"


@dataclass(frozen=True, slots=True)
class _Moment:
    """What the metrics were at a time, and the texts made of it so far: by Accept field, and whether compressed."""

    seen: object
    at: float
    page: Page
    texts: dict[tuple[str | None, bool], tuple[bytes, str]] = field(default_factory=dict)


class StatusHandlers:
    """See the module."""

    def __init__(self, control: Control, failures: Failures, tally: Tally) -> None:
        self._control = control
        self._failures = failures
        self._tally = tally
        self._last_changes = LastChanges(control.journal)
        self._made: tuple[object, float, bytes] = (None, -math.inf, b"")
        self._rendering = asyncio.Lock()
        self._moment: _Moment | None = None
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
        if self._made[0] != seen or now - self._made[1] > _FRESH_S:
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
        accept = call.request.headers.get("Accept")
        squeeze = _TAKES_GZIP.search(call.request.headers.get("Accept-Encoding", "")) is not None
        body, content_type = await self._text(exposition, accept, squeeze)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if squeeze:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers)

    async def _text(self, exposition: Exposition, accept: str | None, squeeze: bool) -> tuple[bytes, str]:
        """The page of this moment, or of one that is fresh: who comes while it is being written waits for it."""
        async with self._rendering:
            moment = self._this_moment(exposition)
            if (accept, squeeze) not in moment.texts:
                if len(moment.texts) >= _FORMS:     # whoever varies the field has the page written anew each time
                    moment.texts.clear()
                moment.texts[accept, squeeze] = await asyncio.to_thread(_write, moment.page, accept, squeeze)
            return moment.texts[accept, squeeze]

    def _this_moment(self, exposition: Exposition) -> _Moment:
        seen = (self._signature(), sum(self._tally.counts.values()))
        now = self._control.clock()
        moment = self._moment
        if moment is None or moment.seen != seen or now - moment.at > _FRESH_S:
            page = exposition.take(facts_of(self._control, self._failures, self._tally, self._started_at))
            self._moment = moment = _Moment(seen, now, page)
        return moment


def _write(page: Page, accept: str | None, squeeze: bool) -> tuple[bytes, str]:
    text, content_type = page.text(accept)
    return (gzip.compress(text, 1) if squeeze else text), content_type
