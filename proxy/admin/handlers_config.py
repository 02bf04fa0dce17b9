"""The configuration in force, files to be checked, and reading the file anew."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import yaml
from aiohttp import web

from proxy.admin import bodies, shapes
from proxy.admin.answers import JSON, json_answer
from proxy.admin.conditions import etag
from proxy.admin.control import Control
from proxy.admin.operations import DRY_RUN, Call, Operation, check_content_type, read_bytes
from proxy.admin.problems import Refused
from proxy.admin.route_views import changed_view, course_view, routes_view
from proxy.admin.version_views import states_of
from proxy.controlplane.errors import Outdated
from proxy.core.draining import drained_servers
from proxy.errors import Problem
from proxy.settings import running_document
from proxy.settings.inspection import inspect_bytes

_YAML = ("application/yaml", "text/plain")       # RFC 9512; and what is at hand everywhere
_NAME = "config"
_AT_ONCE = 4
"""Files held at once, waiting or being checked: a checked megabyte costs seconds and some tens of megabytes."""
_PLACE = re.compile(rf"{_NAME}:([0-9]+):([0-9]+)")


class ConfigHandlers:
    """See the module."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._commands = control.commands
        self._held = 0
        self._checking = asyncio.Lock()

    def operations(self) -> Sequence[Operation]:
        """What is asked here.

        Checking needs an operator although it changes nothing and reads nothing: it is the one request that can cost
        seconds of CPU, in the process that carries out rollbacks.
        """
        return [
            Operation("GET", "/api/v1/config", self.config, "viewer", "The configuration in force, without secrets",
                      shapes.Config, media=(JSON, "application/yaml"), has_etag=True),
            Operation("POST", "/api/v1/config/validate", self.validate, "operator", "Whether a file would load",
                      shapes.Validated, body=bodies.ConfigBody, raw_body=_YAML, refusals=(503,)),
            Operation("POST", "/api/v1/config/reload", self.reload, "operator", "Read the file anew",
                      shapes.RoutesChanged, body=bodies.ReasonBody, query=(DRY_RUN,), refusals=(409, 500, 503),
                      conditional=True),
        ]

    async def config(self, call: Call) -> web.Response:
        """As YAML it is a file that loads, once the secrets are put in."""
        settings, state = self._commands.settings, self._commands.state
        document = running_document(settings)
        courses = {name: course_view(route.course) for name, route in state.routes.items()
                   if route.course != route.written}
        drained = {version.name: servers for version in settings.versions
                   if (servers := drained_servers(state.drained, version))}
        if "yaml" in call.request.headers.get("Accept", ""):
            notes = [f"revision {state.revision}", *(
                f"route {name} was moved at run time: {course['split']}" for name, course in courses.items()), *(
                f"drained of version {name}: {', '.join(servers)}" for name, servers in drained.items())]
            text = "".join(f"# {note}\n" for note in notes)
            text += yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
            return web.Response(text=text, content_type="application/yaml", headers={"ETag": etag(state.revision)})
        view: shapes.Config = {
            "revision": state.revision, "file": settings.file, "config": document, "courses": courses,
            "drained": drained}
        return json_answer(view, revision=state.revision)

    async def validate(self, call: Call) -> web.Response:
        """Whatever is wrong with a file is an answer, not a refusal."""
        if self._held >= _AT_ONCE:
            raise Refused(503, f"{_AT_ONCE} files are being checked already", headers={"Retry-After": "2"})
        self._held += 1
        try:
            raw = await self._file(call.request)
            async with self._checking:
                found = await asyncio.to_thread(inspect_bytes, raw, _NAME)
        finally:
            self._held -= 1
        view: shapes.Validated = {
            "valid": not found.problems, "problems": list(map(_file_problem, found.problems)),
            "warnings": list(map(_file_problem, found.warnings)), "unread": list(found.unread),
        }
        return json_answer(view)

    async def _file(self, request: web.Request) -> bytes:
        check_content_type(request, (JSON, *_YAML))
        raw = await read_bytes(request, bodies.MAX_FILE_BODY, self._control.patience.body_s)
        if request.content_type == JSON and "Content-Type" in request.headers:
            return bodies.read(bodies.ConfigBody, raw).config.encode()
        if not raw:
            raise bodies.invalid([{"pointer": "", "detail": "a body is needed: the text of the file"}])
        return raw

    async def reload(self, call: Call) -> web.Response:
        """The answer names every route, since a file may change any of them."""
        try:
            outcome = await self._commands.reload(call.ask())
        except Outdated as error:
            state = self._commands.state
            raise Refused(412, error.detail, kind=error.kind, headers={"ETag": etag(state.revision)},
                          current={"revision": state.revision, "routes": self._routes(state)}) from None
        view: shapes.RoutesChanged = {**changed_view(outcome), "routes": self._routes(outcome.state)}
        return json_answer(view, revision=outcome.revision)

    def _routes(self, state: Any) -> list[shapes.RouteShape]:
        return routes_view(self._control.supervisor.snapshot.routes, state, self._control.wall(),
                           states_of(self._control))


def _file_problem(problem: Problem) -> shapes.FileProblem:
    match = _PLACE.fullmatch(problem.where)
    return {
        "line": int(match[1]) if match else None, "column": int(match[2]) if match else None,
        "path": problem.path, "detail": problem.message,
    }
