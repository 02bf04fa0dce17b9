"""What concerns this process as such: its successor, and the description of its API."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiohttp import web

from proxy.admin import bodies, shapes
from proxy.admin.answers import JSON, json_answer
from proxy.admin.control import Control
from proxy.admin.operations import Call, Operation
from proxy.admin.problems import Refused
from proxy.controlplane.errors import CommandError
from proxy.errors import TurnoutError


class ProcessHandlers:
    """See the module. `describe` returns openapi.json as bytes; it is made when it is first asked for."""

    def __init__(self, control: Control, describe: Callable[[], bytes]) -> None:
        self._control = control
        self._describe = describe
        self._description: bytes | None = None

    def operations(self) -> Sequence[Operation]:
        """What is asked here."""
        return [
            Operation("GET", "/api/v1/openapi.json", self.openapi, "viewer", "This description", dict),
            Operation("POST", "/api/v1/upgrade", self.upgrade, "operator",
                      "Let the program that is installed now take over", shapes.Upgraded, body=bodies.ReasonBody,
                      refusals=(409, 500, 503)),
        ]

    async def openapi(self, _: Call) -> web.Response:
        """Everything that can be asked."""
        if self._description is None:
            self._description = self._describe()
        return web.Response(body=self._description, content_type=JSON)

    async def upgrade(self, call: Call) -> web.Response:
        """Answered by the old process, as its last word, once the new one serves."""
        if self._control.upgrade is None:
            raise Refused(409, "this process cannot be succeeded: it was not started by `turnout run`",
                          kind="no-upgrade")
        began = self._control.clock()
        try:
            pid = await self._control.upgrade(call.author, call.body.reason)
        except CommandError:
            raise
        except TurnoutError as error:
            raise Refused(500, f"nothing has changed: {error}", kind="upgrade-failed") from None
        view: shapes.Upgraded = {"pid": pid, "took_ms": round((self._control.clock() - began) * 1000, 3)}
        return json_answer(view)
