"""Looking at versions and their servers: what an operator asks when something is down, and before stopping a server."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from proxy.admin import version_shapes
from proxy.admin.answers import JSON, json_answer, json_bytes
from proxy.admin.control import Control
from proxy.admin.operations import Call, Operation
from proxy.admin.problems import Refused
from proxy.admin.version_views import version_view, versions_view
from proxy.core.snapshot import Snapshot
from proxy.settings.units import quote

_ALL = "/api/v1/versions"
_FRESH_S = 0.25
"""Workers report several times a second, so what is older has no news."""


class VersionHandlers:
    """See the module."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._made: tuple[Snapshot | None, float, bytes] = (None, 0.0, b"")

    def operations(self) -> Sequence[Operation]:
        """What is asked here."""
        return [
            Operation("GET", _ALL, self.versions, "viewer", "Every version with its servers and how they are",
                      version_shapes.Versions),
            Operation("GET", _ALL + "/{version}", self.version, "viewer", "One version with its servers",
                      version_shapes.VersionShape),
        ]

    async def versions(self, _: Call) -> web.Response:
        """All of them, in the order of the file: made anew with every change, or after a quarter of a second."""
        seen, now = self._control.supervisor.snapshot, self._control.clock()
        before, at, made = self._made
        if before is not seen or now - at > _FRESH_S:
            view: version_shapes.Versions = {
                "revision": self._control.commands.state.revision,
                "versions": list(versions_view(self._control).values()),
            }
            made = json_bytes(view)
            self._made = (seen, now, made)
        return web.Response(body=made, content_type=JSON)

    async def version(self, call: Call) -> web.Response:
        """One of them."""
        name = call.request.match_info["version"]
        view = version_view(self._control, name)
        if view is None:
            raise Refused(404, f"no version is called {quote(name)}; `{_ALL}` lists them", kind="unknown-version")
        return json_answer(view)
