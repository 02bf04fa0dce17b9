"""The service that docker-compose.yml migrates: says which version it is, after as long as that version takes.

    python backend.py --version new --takes-ms 12 --fails-percent 0.5

`GET /healthz` answers at once. Uses aiohttp, which is in the image of Turnout anyway.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket

from aiohttp import web


def application(version: str, takes_s: float, fails: float) -> web.Application:
    """Every path answers with the version's name; a fraction `fails` (0 to 1) of the requests with 500."""

    async def answer(_request: web.Request) -> web.Response:
        await asyncio.sleep(random.expovariate(1 / takes_s))
        status = 500 if random.random() < fails else 200  # noqa: S311 this is no secret
        return web.Response(status=status, text=f"Hello from the {version} version.\n", headers={"X-Version": version})

    async def healthy(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    app = web.Application()
    app.router.add_get("/healthz", healthy)
    app.router.add_route("*", "/{path:.*}", answer)
    return app


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", required=True)
    parser.add_argument("--takes-ms", type=float, default=10.0)
    parser.add_argument("--fails-percent", type=float, default=0.0)
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 a container's own network
    parser.add_argument("--port", type=int, default=8000)
    told = parser.parse_args()
    app = application(told.version, told.takes_ms / 1000, told.fails_percent / 100)
    with socket.create_server((told.host, told.port)) as listening:
        print(f"{told.version} listens on port {listening.getsockname()[1]}", flush=True)
        web.run_app(app, sock=listening, print=None, access_log=None)


if __name__ == "__main__":
    main()
