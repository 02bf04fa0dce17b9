"""How a route's shadow answers: the report, its differences, what could be ignored, and the pairs themselves.

Invariant: nothing here waits longer than the comparer may take to answer; where none runs, the answer is that nothing
is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, cast

from aiohttp import web

from proxy.admin import shadow_shapes, shadow_views
from proxy.admin.answers import json_answer
from proxy.admin.control import Control
from proxy.admin.operations import Call, Operation, Parameter, flag, number
from proxy.admin.problems import Refused
from proxy.admin.recordings import MEDIA_TYPE, Recordings
from proxy.controlplane.comparer.process import NoAnswer
from proxy.core.compare.values import Kind
from proxy.core.route import Route
from proxy.settings.units import quote

_ONE = "/api/v1/routes/{route}/shadow"
_LONGEST = 1024
_SAMPLE = re.compile(r"[01]?(?:\.[0-9]{0,24})?|[0-9](?:\.[0-9]{1,24})?[eE]-[0-9]{1,3}")


def _text(name: str, description: str) -> Parameter:
    def read(text: str) -> str:
        if not 0 < len(text) <= _LONGEST:
            raise ValueError(f"must have 1 to {_LONGEST} characters")
        return text

    return Parameter(name, description, {"type": "string", "minLength": 1, "maxLength": _LONGEST}, read)


def _read_kind(text: str) -> str:
    if text not in list(Kind):
        raise ValueError(f"must be one of {', '.join(Kind)}, not {quote(text)}")
    return text


def _read_sample(text: str) -> float:
    if not text.strip(".") or not _SAMPLE.fullmatch(text) or not 0 < float(text) <= 1:
        raise ValueError(f"must be a number above 0 and up to 1, such as `0.1`, not {quote(text)}")
    return float(text)


_DIFFERENCES = (
    _text("endpoint", "Only those of this endpoint, such as `/items/{}`."),
    _text("path", "Only those at this place: `status`, `header:NAME`, `body`, or a JSON path."),
    Parameter("kind", "Only those of this kind.", {"type": "string", "enum": list(Kind)}, _read_kind),
    number("samples", "So many examples of each.", 0, 20, 3),
    number("limit", "So many at most.", 1, 1000, 100),
    flag("all", "Also what is noise, and what is not decided yet."),
)
_OF_ALL = Parameter("sample", "The part of the pairs that is recorded.",
                    {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 1},
                    _read_sample, 1.0)


class ShadowHandlers:
    """See the module. `holds(request)` returns what tells whether the one who asks may still read."""

    def __init__(self, control: Control, recordings: Recordings,
                 holds: Callable[[web.Request], Callable[[], bool]]) -> None:
        self._control = control
        self._recordings = recordings
        self._holds = holds
        self._copies = shadow_views.Copies(control.supervisor.fold)

    def operations(self) -> Sequence[Operation]:
        """What is asked here."""
        return [
            Operation("GET", _ONE, self.report, "viewer", "How a route's shadow answers", shadow_shapes.ShadowReport,
                      refusals=(503,)),
            Operation("GET", _ONE + "/differences", self.differences, "viewer", "In what the shadow's answers differ",
                      shadow_shapes.Differences, query=_DIFFERENCES, refusals=(503,)),
            Operation("DELETE", _ONE + "/differences", self.clear, "operator", "Compare afresh", shadow_shapes.Cleared,
                      refusals=(503,)),
            Operation("GET", _ONE + "/rules", self.rules, "viewer", "What a comparison should ignore",
                      shadow_shapes.LearnedRules, refusals=(503,)),
            Operation("GET", _ONE + "/record", self.record, "operator", "Requests and answers as they are compared",
                      media=(MEDIA_TYPE,), query=(_OF_ALL,), refusals=(409, 503), answers_head=False),
        ]

    async def report(self, call: Call) -> web.Response:
        """Everything at a glance."""
        route = self._find(call)
        found = await self._ask("report", route)
        return json_answer(shadow_views.report(self._control, route, self._copies, found))

    async def differences(self, call: Call) -> web.Response:
        """Those that are asked for."""
        options = {name: value for name, value in call.query.items() if value is not None}
        found = await self._ask("differences", self._find(call), **options)
        nothing: shadow_shapes.Differences = {"differences": [], "more": 0}
        return json_answer(cast(shadow_shapes.Differences, found) if found is not None else nothing)

    async def clear(self, call: Call) -> web.Response:
        """Start afresh, and say so in the journal."""
        route = self._find(call)
        found = await self._ask("clear", route)
        self._copies.clear(route.name)
        self._control.commands.record("shadow-cleared", call.author, route=route.name)
        view: shadow_shapes.Cleared = {"cleared": found is not None and bool(found["cleared"])}
        return json_answer(view)

    async def rules(self, call: Call) -> web.Response:
        """What differs between two answers of the same version."""
        found = await self._ask("rules", self._find(call))
        nothing: shadow_shapes.LearnedRules = {"ignore": [], "unordered": [], "because": {}, "control": False}
        return json_answer(cast(shadow_shapes.LearnedRules, found) if found is not None else nothing)

    async def record(self, call: Call) -> web.StreamResponse:
        """It shows traffic, so it is for operators."""
        route = self._find(call)
        if route.shadow is None or route.copying.compare is None:
            raise Refused(409, f"nothing of `{route.name}` is compared, so there is nothing to record: "
                               "give it a shadow, and `compare` in the file", kind="no-comparison")
        return await self._recordings.serve(call.request, route.name, call.query["sample"], self._holds(call.request))

    async def _ask(self, about: str, route: Route, **options: Any) -> dict[str, Any] | None:
        comparer = self._control.comparer
        if comparer is None or not comparer.running:
            return None
        try:
            return await comparer.ask(about, route.name, **options)
        except NoAnswer as error:
            raise Refused(503, str(error), kind="no-comparer", headers={"Retry-After": "1"}) from None

    def _find(self, call: Call) -> Route:
        for route in self._control.supervisor.snapshot.routes:
            if route.name == call.route:
                return route
        raise Refused(404, f"no route is called {quote(call.route)}; `/api/v1/routes` lists them", kind="unknown-route")
