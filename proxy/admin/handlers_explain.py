"""Where a request would go, and why: the same decisions that a worker makes, told step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from aiohttp import web

from proxy.admin import bodies, shapes
from proxy.admin.answers import json_answer
from proxy.admin.control import Control
from proxy.admin.explaining import explained
from proxy.admin.operations import Call, Operation
from proxy.core.router import Router
from proxy.core.snapshot import Snapshot


class ExplainHandlers:
    """Keeps the compiled form of one snapshot: a thousand routes take some 10 ms to compile."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._compiled: tuple[Snapshot, Router] | None = None

    def operations(self) -> Sequence[Operation]:
        """What is asked here. It changes nothing, so whoever may look may ask."""
        return [Operation("POST", "/api/v1/explain", self.explain, "viewer", "Where a request would go, and why",
                          shapes.Explained, body=bodies.ExplainBody)]

    async def explain(self, call: Call) -> web.Response:
        """By the snapshot that is in force now."""
        snapshot = self._control.supervisor.snapshot
        if self._compiled is None or self._compiled[0] is not snapshot:
            self._compiled = (snapshot, Router(snapshot))
        body = cast(bodies.ExplainBody, call.body)
        versions = {version.name: version for version in self._control.health.versions()}
        return json_answer(explained(self._compiled[1], body, snapshot.revision, versions))
