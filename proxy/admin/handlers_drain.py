"""Taking servers out of service, to stop them, and bringing them back: each is one command."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import cast

from aiohttp import web

from proxy.admin import bodies, shapes
from proxy.admin.answers import json_answer
from proxy.admin.control import Control
from proxy.admin.operations import DRY_RUN, Call, Handler, Operation
from proxy.admin.problems import Refused
from proxy.admin.route_views import changed_view
from proxy.admin.version_views import version_view
from proxy.controlplane.commands.ask import Ask, Outcome
from proxy.controlplane.commands.drainer import as_written
from proxy.core.draining import out_of_service

_ONE = "/api/v1/versions/{version}"


class DrainHandlers:
    """See the module."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._commands = control.commands

    def operations(self) -> Sequence[Operation]:
        """What is asked here."""
        return [
            _change(_ONE + "/drain", self.drain, "Send nothing more to a server, or to a whole version",
                    bodies.DrainBody),
            _change(_ONE + "/restore", self.restore, "Send requests again to what was drained", bodies.RestoreBody),
        ]

    async def drain(self, call: Call) -> web.Response:
        """Out of service."""
        name, body = call.request.match_info["version"], cast(bodies.DrainBody, call.body)
        return await self._answer(name, body, self._commands.drain(name, body.server, _ask(call), force=body.force))

    async def restore(self, call: Call) -> web.Response:
        """Back in service."""
        name, body = call.request.match_info["version"], cast(bodies.RestoreBody, call.body)
        return await self._answer(name, body, self._commands.restore(name, body.server, _ask(call)))

    async def _answer(self, name: str, body: bodies.RestoreBody, change: Awaitable[Outcome]) -> web.Response:
        outcome = await change
        drained = out_of_service(outcome.state.drained, self._commands.settings.versions)
        view = version_view(self._control, name, drained)
        if view is None:        # a reload took the version away while the answer was made
            raise Refused(404, f"the version `{name}` is no more", kind="unknown-version")
        changed: shapes.VersionChanged = {
            **changed_view(outcome), "server": body.server and as_written(body.server), "version": view}
        return json_answer(changed)


def _ask(call: Call) -> Ask:
    """Without a condition: who else has changed something meanwhile is no reason to leave a server in service."""
    return Ask(call.author, call.body.reason, dry_run=call.query["dry_run"])


def _change(path: str, handler: Handler, summary: str, body: type[bodies.Body]) -> Operation:
    return Operation("POST", path, handler, "operator", summary, shapes.VersionChanged, body=body, query=(DRY_RUN,),
                     refusals=(404, 409, 500, 503))
