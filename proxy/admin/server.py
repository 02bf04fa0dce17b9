"""The admin application on its socket, TCP or Unix, for as long as an `async with` block lasts.

A Unix socket is for its owner: the file has mode 0600, and who may connect to it needs no token unless there are some.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from proxy.admin.api import Api
from proxy.admin.control import Control
from proxy.admin.doors import Doors
from proxy.controlplane.tasks import reported
from proxy.controlplane.workers.listeners import Heirlooms, Listeners, open_listeners
from proxy.core.listen import Listen
from proxy.settings import AdminSettings

_LAST_ANSWER_S = 1.0
_ONLY_OWNER = 0o177


def open_admin(listen: Listen, heirlooms: Heirlooms | None = None) -> Listeners:
    """Bind the admin API's address, or take over its sockets. Raises StartError when the address cannot be had."""
    before = os.umask(_ONLY_OWNER)
    try:
        return open_listeners([listen], 1, heirlooms)
    finally:
        os.umask(before)


@asynccontextmanager
async def admin_server(control: Control, settings: AdminSettings,
                       listeners: Listeners | None = None) -> AsyncIterator[str]:
    """Serve the admin API; yields the address it is bound to. Raises StartError when the address cannot be had.

    `listeners`: what `open_admin` returned, for who has to have the sockets afterwards and closes them; without it
    they are opened and closed here.
    """
    own = open_admin(settings.listen) if listeners is None else None
    serving = listeners or own
    assert serving is not None
    sockets = [sock for _, sock in serving.bound]
    api = Api(control, private=all(map(_is_private, sockets)))
    runner = web.AppRunner(api.app(), access_log=None, shutdown_timeout=_LAST_ANSWER_S)
    doors = Doors(control.clock, control.patience.head_s, control.patience.idle_s)
    tasks = [
        reported(asyncio.create_task(doors.sweep(), name="admin-doors"), "admin"),
        reported(asyncio.create_task(api.tally.run(), name="admin-tally"), "admin"),
    ]
    servers: list[asyncio.Server] = []
    try:
        await runner.setup()
        assert runner.server is not None
        for sock in sockets:
            servers.append(await _listen(sock, doors, runner.server))  # noqa: PERF401  those opened are to be closed
        yield serving.addresses[0]
    finally:
        for server in servers:
            server.close()
        for task in tasks:
            task.cancel()
        api.tally.close()
        api.streams.end()
        api.recordings.end()
        await runner.cleanup()
        if own is not None:
            own.close()


async def _listen(listening: socket.socket, doors: Doors, server: web.Server) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    # The event loop closes the socket that it is given; ours may be handed on, and knows which file to remove.
    sock = listening.dup()
    if sock.family == socket.AF_UNIX:
        return await loop.create_unix_server(doors.protocol(server), sock=sock)
    return await loop.create_server(doors.protocol(server), sock=sock)


def _is_private(sock: socket.socket) -> bool:
    """Whether only this machine can reach a socket: asked of it, since settings may have changed after it was bound."""
    if sock.family == socket.AF_UNIX:
        return True
    return ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback
