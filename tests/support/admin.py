"""The admin API over everything it really works with: a supervisor with scripted workers, commands, a journal."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from proxy.admin.control import Control, Patience, Upgrade
from proxy.admin.server import admin_server
from proxy.clock import monotonic
from proxy.controlplane.commands.commands import Commands
from proxy.controlplane.comparer.comparer import Comparer
from proxy.controlplane.events import TURNOUT
from proxy.controlplane.journal.journal import Journal
from proxy.controlplane.supervisor import Supervisor
from proxy.controlplane.workers.listeners import open_listeners
from proxy.core.draining import out_of_service
from proxy.core.listen import Listen
from proxy.core.merge import initial, steered
from proxy.core.snapshot import Snapshot
from proxy.core.state import State
from proxy.settings import Settings, load_bytes
from proxy.telemetry.exposition import Exposition
from tests.support.scripted_worker import command

LOCAL = Listen("127.0.0.1", 0)
OPERATOR, VIEWER = "operator-token-0123456789", "viewer-token-0123456789"
TOKENS = {"OPERATOR_TOKEN": OPERATOR, "VIEWER_TOKEN": VIEWER}
FILE = """
listen: 127.0.0.1:0
workers: 2
state_dir: memory
admin: {{listen: "{admin}"{tokens}}}
versions:
  old: {{servers: [http://127.0.0.1:{port}]}}
  new: {{servers: [http://127.0.0.1:{port}]}}
routes:
  - {{name: shop, match: {{host: shop.example}}, split: {{old: 95, new: 5}}}}
  - {{name: api, match: {{path: /api}}, split: {{old: 100, new: 0}}, sticky: {{by: cookie}},
      override: {{header: X-Version, from: [10.0.0.0/8]}}}}
"""
_TOKENS = (", tokens: [{name: ann, role: operator, token_env: OPERATOR_TOKEN}, "
           "{name: vic, role: viewer, token_env: VIEWER_TOKEN}]")
_PATIENCE = Patience()


def settings(*, tokens: bool = False, admin: str = "127.0.0.1:0", more: str = "", file: Path | None = None) -> Settings:
    """The settings of a file with two routes, `shop` and `api`, and with an operator `ann` and a viewer `vic`.

    Both versions have one server, which takes connections and says nothing. `file`: where it is written, too.
    """
    text = FILE.format(admin=admin, tokens=_TOKENS if tokens else "", port=_SILENT.getsockname()[1]) + more
    if file is not None:
        file.write_text(text)
    return load_bytes(text.encode(), str(file or "turnout.yaml"), TOKENS)


_SILENT = socket.create_server(("127.0.0.1", 0))
"""Connections are queued here as long as the tests run: a baseline that is not known to be down."""
SILENT = f"http://127.0.0.1:{_SILENT.getsockname()[1]}"
"""Its address."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `body` is decoded JSON where it is JSON, text otherwise."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def kind(self) -> str:
        """The last part of a problem's type."""
        return str(self.body["type"]).rpartition(":")[2]

    @property
    def faults(self) -> dict[str, str]:
        """What is wrong, by its place."""
        return {fault.get("pointer", fault.get("parameter", fault.get("field", ""))): fault["detail"]
                for fault in self.body["errors"]}


class Asked:
    """A running admin API, and who asks it."""

    def __init__(self, control: Control, session: aiohttp.ClientSession, base: str) -> None:
        self.control = control
        self.session = session
        self.base = base
        self.token: str | None = None

    async def ask(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None,
                  token: str | None = None, **fields: str) -> Answer:
        """Send a request; `body` as JSON, `raw` as it is; header fields with `_` for `-`."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        token = token or self.token
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        skip = ["Content-Type"] if raw is not None or body is None else []
        async with self.session.request(method, self.base + path, headers=headers, data=raw, json=body,
                                        skip_auto_headers=skip) as response:
            is_json = response.content_type.endswith("json")
            read = await response.json(content_type=None) if is_json and method != "HEAD" else await response.text()
            return Answer(response.status, response.headers, read)

    async def get(self, path: str, **fields: Any) -> Answer:
        return await self.ask("GET", path, **fields)

    async def post(self, path: str, body: Any = None, **fields: Any) -> Answer:
        return await self.ask("POST", path, body, **fields)

    async def split(self, weights: Mapping[str, object], route: str = "shop", **more: Any) -> Answer:
        return await self.ask("PUT", f"/api/v1/routes/{route}/split", {"split": weights, **more})


@asynccontextmanager
async def asked(
    of: Settings | None = None, *, script: str = "obeys", patience: Patience = _PATIENCE,
    state_dir: Path | None = None, upgrade: Upgrade | None = None, start: bool = True,
) -> AsyncIterator[Asked]:
    """Serve the admin API of these settings. `start`: whether the workers are started."""
    of = of or settings()
    journal = Journal.open(None if state_dir is None else os.fspath(state_dir), keep=of.events_kept)
    state = initial(of.routes, of.versions, journal.state, time.time()).state
    supervisor = Supervisor(_compiled(of, state), open_listeners([LOCAL], 2), 2, worker_command=command(script))
    comparer = Comparer(supervisor)
    supervisor.on_snapshot = comparer.configure

    def compiled(of: Settings, state: State) -> Snapshot:
        snapshot = _compiled(of, state)
        return replace(snapshot, comparer=comparer.place(snapshot.routes))

    commands = Commands(of, state, journal, supervisor, compile_snapshot=compiled, clock=monotonic, wall=time.time)
    comparer.on_event = lambda verb, route, reason: commands.record(verb, TURNOUT, reason, route)
    control = Control(supervisor, commands, journal, Exposition(supervisor.fold, of.buckets), upgrade,
                      patience=patience, comparer=comparer)
    path = of.admin.listen.unix_path
    connector = aiohttp.UnixConnector(path) if path else None
    try:
        async with (
            commands, admin_server(control, of.admin) as address,
            aiohttp.ClientSession(connector=connector) as session,
        ):
            if start:
                await supervisor.start()
            yield Asked(control, session, "http://localhost" if path else f"http://{address}")
    finally:
        await supervisor.stop(1.0)
        await comparer.stop()
        journal.close()


def _compiled(of: Settings, state: State) -> Snapshot:
    return replace(of.snapshot(state.revision, b"s" * 32), routes=steered(of.routes, state),
                   drained=out_of_service(state.drained, of.versions))


def run(test: Callable[[Asked], Coroutine[Any, Any, None]], of: Settings | None = None, **more: Any) -> None:
    """Run a test against a fresh API."""

    async def main() -> None:
        async with asked(of, **more) as it:
            await test(it)

    asyncio.run(main())
