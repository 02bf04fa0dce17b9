"""The admin application on its socket, TCP or Unix, for as long as an `async with` block lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from proxy.admin.app import make_app
from proxy.controlplane.listeners import open_listeners
from proxy.controlplane.supervisor import Supervisor
from proxy.settings import AdminSettings

_LAST_ANSWER_S = 1.0


@asynccontextmanager
async def admin_server(supervisor: Supervisor, settings: AdminSettings) -> AsyncIterator[str]:
    """Serve the admin API; yields the address it is bound to. Raises StartError when the address cannot be had."""
    listeners = open_listeners([settings.listen], workers=1)
    runner = web.AppRunner(make_app(supervisor, settings), access_log=None, shutdown_timeout=_LAST_ANSWER_S)
    server: asyncio.Server | None = None
    try:
        await runner.setup()
        assert runner.server is not None
        loop = asyncio.get_running_loop()
        # The event loop closes the socket that it is given; ours still knows which file to remove.
        sock = listeners.sockets_of(0)[0].dup()
        if settings.listen.unix_path is None:
            server = await loop.create_server(runner.server, sock=sock)
        else:
            server = await loop.create_unix_server(runner.server, sock=sock)
        yield listeners.addresses[0]
    finally:
        if server is not None:
            server.close()
        await runner.cleanup()
        listeners.close()
