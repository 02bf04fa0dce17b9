"""The service that is migrated: an old and a new version, two real HTTP servers on free ports of this host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from proxy.cli.demo.plan import NEW, OLD

GREETINGS = {OLD: "Hello from the old version.\n", NEW: "Hello from the NEW version!\n"}
"""What each version answers, whatever it is asked."""
_WORK_S = {OLD: 0.006, NEW: 0.004}
"""How long each takes over it: the new version is a little faster, so that latencies are told apart, too."""


@dataclass(frozen=True, slots=True)
class Backends:
    """The addresses of both versions: `http://127.0.0.1:PORT`."""

    old: str
    new: str


@asynccontextmanager
async def backends() -> AsyncIterator[Backends]:
    """Run both servers for as long as the block lasts."""
    async with AsyncExitStack() as stack:
        yield Backends(await _serve(OLD, stack), await _serve(NEW, stack))


async def _serve(version: str, stack: AsyncExitStack) -> str:
    async def answer(_request: web.BaseRequest) -> web.Response:
        await asyncio.sleep(_WORK_S[version])
        return web.Response(text=GREETINGS[version], headers={"X-Version": version})

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.5)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"
