"""What happened: pages of the journal, and the stream."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence

from aiohttp import web

from proxy.admin import shapes
from proxy.admin.answers import json_answer
from proxy.admin.control import Control
from proxy.admin.operations import Call, Operation, Parameter, flag, number
from proxy.admin.problems import Refused
from proxy.admin.route_views import event_view
from proxy.admin.sse import Streams
from proxy.settings.grammar import parse_name

_LAST = 2**53 - 1
_AFTER = number("after", "Only events behind the one of this id.", 0, _LAST, 0)
_LIMIT = number("limit", "So many at most.", 1, 1000, 100)
_NEWEST = flag("newest", "The newest ones instead of the next ones; still the oldest of them first.")
_ROUTE = Parameter("route", "Only events of this route.", {"type": "string"}, parse_name)
_SINCE = Parameter("after", "Begin behind the event of this id; without it, with what happens from now on. "
                            "The field Last-Event-ID says the same.",
                   {"type": "integer", "minimum": 0, "maximum": _LAST}, _AFTER.read)


class EventHandlers:
    """See the module. `holds(request)` returns what tells whether the one who asks may still read."""

    def __init__(self, control: Control, streams: Streams, holds: Callable[[web.Request], Callable[[], bool]]) -> None:
        self._journal = control.journal
        self._streams = streams
        self._holds = holds

    def operations(self) -> Sequence[Operation]:
        """What is asked here."""
        return [
            Operation("GET", "/api/v1/events", self.events, "viewer", "A page of events, oldest first", shapes.Events,
                      query=(_AFTER, _LIMIT, _NEWEST, _ROUTE), refusals=(503,)),
            Operation("GET", "/api/v1/events/stream", self.stream, "viewer", "Events as they happen",
                      media=("text/event-stream",), query=(_SINCE, _ROUTE), refusals=(503,), answers_head=False),
        ]

    async def events(self, call: Call) -> web.Response:
        """One more than asked for is read, to know whether there are more."""
        after, limit, newest = call.query["after"], call.query["limit"], call.query["newest"]
        last_id = self._journal.last_id
        found = await asyncio.to_thread(
            lambda: self._journal.events(after, limit + 1, call.query["route"], newest_first=newest))
        page = found[:limit]
        if newest:
            page.reverse()
        view: shapes.Events = {
            "events": list(map(event_view, page)), "last_id": max([last_id, *(event.id for event in page)]),
            "more": len(found) > limit,
        }
        return json_answer(view)

    async def stream(self, call: Call) -> web.StreamResponse:
        """The field of a browser that comes back is newer than the query it began with."""
        after = call.query["after"]
        field = call.request.headers.get("Last-Event-ID")
        if field is not None:
            if not re.fullmatch(r"0|[1-9][0-9]{0,15}", field):
                raise Refused(400, "Last-Event-ID must be the id of an event", kind="bad-field",
                              errors=[{"field": "Last-Event-ID", "detail": "is not the id of an event"}])
            after = int(field)
        return await self._streams.serve(call.request, after, call.query["route"], self._holds(call.request))
