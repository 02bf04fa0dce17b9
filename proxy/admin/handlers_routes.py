"""Looking at routes and moving their traffic: each change is one command, and its answer tells how it went.

Invariant: nothing is decided here. What a change means, whether it may be, and what follows from it is for the
commands; a refusal that depends on the state comes with that state, so that nobody has to ask again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import cast

from aiohttp import web

from proxy.admin import bodies, shapes
from proxy.admin.answers import JSON, json_answer, json_bytes
from proxy.admin.conditions import etag, is_known
from proxy.admin.control import Control
from proxy.admin.operations import DRY_RUN, Call, Operation
from proxy.admin.problems import Refused
from proxy.admin.route_views import changed_view, route_view, routes_view
from proxy.admin.version_views import states_in, states_of
from proxy.controlplane.commands.ask import Outcome
from proxy.controlplane.errors import Outdated
from proxy.core.snapshot import Snapshot
from proxy.core.state import State
from proxy.settings.units import quote

_ONE = "/api/v1/routes/{route}"
_CHANGE = (409, 500, 503)
_LIST_FRESH_S = 0.25


class RouteHandlers:
    """See the module."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._commands = control.commands
        self._made: tuple[tuple[State, Snapshot] | None, float, bytes] = (None, 0.0, b"")

    def operations(self) -> Sequence[Operation]:
        """What is asked here."""
        reason = bodies.ReasonBody
        return [
            Operation("GET", "/api/v1/routes", self.routes, "viewer", "Every route", shapes.Routes, has_etag=True,
                      also={304: None}),
            Operation("GET", _ONE, self.route, "viewer", "One route", shapes.RouteShape, has_etag=True,
                      also={304: None}),
            _change("PUT", _ONE + "/split", self.split, "Give a route's versions new weights", bodies.SplitBody),
            _change("POST", _ONE + "/rollback", self.rollback, "Send all traffic of a route to its baseline",
                    bodies.RollbackBody),
            _change("POST", _ONE + "/undo", self.undo, "Return to the course before the last change", reason),
            _change("POST", _ONE + "/confirm", self.confirm, "Keep a change that would undo itself", reason),
            _change("PATCH", _ONE + "/shadow", self.shadow, "Change which requests are copied", bodies.ShadowBody),
            _change("POST", "/api/v1/rollback", self.rollback_all, "Send all traffic of every route to its baseline",
                    bodies.RollbackBody),
        ]

    async def routes(self, call: Call) -> web.Response:
        """Every route, with the revision of all as ETag: 304 for who has seen it."""
        state = self._commands.state
        if is_known(call.request.headers.getall("If-None-Match", []), state.revision):
            return web.Response(status=304, headers={"ETag": etag(state.revision)})
        return web.Response(body=self._listed(state), content_type=JSON, headers={"ETag": etag(state.revision)})

    def _listed(self, state: State) -> bytes:
        """Every route as JSON, made anew when something changed, or after a quarter of a second (time goes on)."""
        seen, now = (state, self._control.supervisor.snapshot), self._control.clock()
        before, at, made = self._made
        if before is None or before[0] is not seen[0] or before[1] is not seen[1] or now - at > _LIST_FRESH_S:
            view: shapes.Routes = {"revision": state.revision, "routes": self._all(state)}
            made = json_bytes(view)
            self._made = (seen, now, made)
        return made

    async def route(self, call: Call) -> web.Response:
        """One route, with its own revision as ETag: 304 for who has seen it."""
        view = self._one(call.route, self._commands.state)
        if view is None:
            raise Refused(404, f"no route is called {quote(call.route)}; `/api/v1/routes` lists them",
                          kind="unknown-route")
        if is_known(call.request.headers.getall("If-None-Match", []), view["revision"]):
            return web.Response(status=304, headers={"ETag": etag(view["revision"])})
        return json_answer(view, revision=view["revision"])

    async def split(self, call: Call) -> web.Response:
        """New weights."""
        body = cast(bodies.SplitBody, call.body)
        ask = call.ask(body.confirm_within)
        return await self._answer(call.route, self._commands.split(call.route, body.split, ask))

    async def rollback(self, call: Call) -> web.Response:
        """Home, one route."""
        body = cast(bodies.RollbackBody, call.body)
        return await self._answer(call.route, self._commands.rollback(
            call.route, call.ask(), in_flight=body.in_flight, force=body.force))

    async def rollback_all(self, call: Call) -> web.Response:
        """Home, all of them."""
        body = cast(bodies.RollbackBody, call.body)
        return await self._answer(None, self._commands.rollback(
            None, call.ask(), in_flight=body.in_flight, force=body.force))

    async def undo(self, call: Call) -> web.Response:
        """Back to the course before."""
        return await self._answer(call.route, self._commands.undo(call.route, call.ask()))

    async def confirm(self, call: Call) -> web.Response:
        """Keep what is pending."""
        return await self._answer(call.route, self._commands.confirm(call.route, call.ask()))

    async def shadow(self, call: Call) -> web.Response:
        """Copies: how many, of what, to where."""
        body = cast(bodies.ShadowBody, call.body)
        return await self._answer(call.route, self._commands.shadow(call.route, body.patch, call.ask()))

    async def _answer(self, route: str | None, change: Awaitable[Outcome]) -> web.Response:
        try:
            outcome = await change
        except Outdated as error:
            raise self._outdated(route, error) from None
        changed = changed_view(outcome)
        if route is None:
            several: shapes.RoutesChanged = {**changed, "routes": self._all(outcome.state)}
            return json_answer(several, revision=outcome.revision)
        view = self._one(route, outcome.state)
        if view is None:        # a reload took the route away while the answer was made
            raise Refused(404, f"the route `{route}` is no more", kind="unknown-route")
        single: shapes.RouteChanged = {**changed, "route": view}
        return json_answer(single, revision=view["revision"])

    def _outdated(self, route: str | None, error: Outdated) -> Refused:
        state = self._commands.state
        current = self._one(route, state) if route is not None else shapes.Routes(
            revision=state.revision, routes=self._all(state))
        return Refused(412, error.detail, kind=error.kind, headers={"ETag": etag(error.revision)}, current=current)

    def _one(self, name: str, state: State) -> shapes.RouteShape | None:
        found = next((route for route in self._control.supervisor.snapshot.routes if route.name == name), None)
        if found is None or name not in state.routes:
            return None
        return route_view(found, state.routes[name], self._control.wall(), states_in(self._control, found))

    def _all(self, state: State) -> list[shapes.RouteShape]:
        routes = self._control.supervisor.snapshot.routes
        return routes_view(routes, state, self._control.wall(), states_of(self._control))


def _change(method: str, path: str, handler: object, summary: str, body: type[bodies.Body]) -> Operation:
    answer = shapes.RouteChanged if "{route}" in path else shapes.RoutesChanged
    return Operation(method, path, handler, "operator", summary, answer, body=body, query=(DRY_RUN,),  # type: ignore[arg-type]
                     refusals=_CHANGE, conditional=True)
