from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.admin.server import admin_server
from proxy.controlplane.errors import StartError
from proxy.controlplane.listeners import open_listeners
from proxy.controlplane.supervisor import Supervisor
from proxy.core.listen import Listen
from proxy.settings import AdminSettings, Token
from tests.support.deadline import until
from tests.support.scripted_worker import command
from tests.support.snapshots import small_snapshot

LOCAL = Listen("127.0.0.1", 0)


class Asked:
    """An admin server over a supervisor with two scripted workers."""

    def __init__(self, supervisor: Supervisor, session: aiohttp.ClientSession, base: str) -> None:
        self.supervisor = supervisor
        self._session = session
        self.base = base

    async def ask(self, path: str, method: str = "GET", **fields: str) -> tuple[int, str, Any]:
        """Return status, media type and decoded body."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        async with self._session.request(method, self.base + path, headers=headers) as response:
            self.headers = response.headers
            body = await response.json(content_type=None) if method != "HEAD" else None
            return response.status, response.content_type, body


@asynccontextmanager
async def asked(settings: AdminSettings | None = None, script: str = "obeys") -> AsyncIterator[Asked]:
    settings = settings or AdminSettings(LOCAL)
    supervisor = Supervisor(small_snapshot(), open_listeners([LOCAL], 2), 2, worker_command=command(script))
    path = settings.listen.unix_path
    connector = aiohttp.UnixConnector(path) if path else None
    try:
        async with admin_server(supervisor, settings) as address, aiohttp.ClientSession(connector=connector) as session:
            yield Asked(supervisor, session, "http://localhost" if path else f"http://{address}")
    finally:
        await supervisor.stop(1.0)


def run(test: Callable[[Asked], Coroutine[Any, Any, None]], settings: AdminSettings | None = None) -> None:
    async def main() -> None:
        async with asked(settings) as it:
            await test(it)

    asyncio.run(main())


def test_it_is_alive_before_it_is_ready_and_says_what_it_waits_for() -> None:
    async def test(it: Asked) -> None:
        assert (await it.ask("/livez"))[0] == 200
        status, media_type, view = await it.ask("/readyz")
        assert (status, media_type) == (503, "application/json")
        assert view["ready"] is False
        assert "worker 0 is being replaced: it was not started yet" in view["reasons"]
        await it.supervisor.start()
        assert await it.ask("/readyz") == (200, "application/json", {"ready": True, "reasons": []})

    run(test)


def test_it_is_not_ready_once_it_drains() -> None:
    async def test(it: Asked) -> None:
        await it.supervisor.start()
        await it.supervisor.stop(1.0)
        assert (await it.ask("/readyz"))[0] == 503
        assert (await it.ask("/livez"))[0] == 200

    run(test)


def test_status_shows_routes_versions_workers_and_totals() -> None:
    async def test(it: Asked) -> None:
        await it.supervisor.start()
        await until(lambda: it.supervisor.fold.gauges("turnout_connections"), "the workers have reported")
        await until(lambda: len(it.supervisor.fold.counters("turnout_requests_total")), "and counted")
        await it.supervisor.apply(small_snapshot(revision=2))
        status, _, view = await it.ask("/api/v1/status")
        assert status == 200
        assert (view["revision"], view["ready"], view["restarts"], view["reasons"]) == (2, True, 0, [])
        assert view["listen"] == list(it.supervisor.listeners.addresses)
        assert view["versions"]["new"] == {"servers": ["http://127.0.0.1:9"]}
        (route,) = view["routes"]
        assert (route["name"], route["baseline"], route["path"]) == ("shop", "old", "/")
        assert route["split"] == {"old": 75.0, "new": 25.0}
        assert route["shares"] == {"old": 0.75, "new": 0.25}
        assert set(route["totals"]["old"]["codes"]) == {"200"}
        assert route["totals"]["new"]["requests"] == 0
        assert [worker["state"] for worker in view["workers"]] == ["serving", "serving"]
        assert [worker["revision"] for worker in view["workers"]] == [2, 2]
        assert {worker["pid"] for worker in view["workers"]} == {
            slot.process.pid for slot in it.supervisor.slots if slot.process
        }

    run(test)


@pytest.mark.parametrize("path", ["/", "/api/v1", "/api/v1/status/", "/api/v2/status", "/metrics"])
def test_what_is_not_there_is_a_404_problem(path: str) -> None:
    async def test(it: Asked) -> None:
        status, media_type, view = await it.ask(path)
        assert (status, media_type, view["status"]) == (404, "application/problem+json", 404)
        assert view["title"] == "Not Found"

    run(test)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_what_only_answers_reading_says_so(method: str) -> None:
    async def test(it: Asked) -> None:
        status, media_type, _ = await it.ask("/api/v1/status", method)
        assert (status, media_type) == (405, "application/problem+json")
        assert it.headers["Allow"] == "GET, HEAD"

    run(test)


def test_no_answer_is_cached_or_guessed_at() -> None:
    async def test(it: Asked) -> None:
        for path in ("/livez", "/nothing"):
            await it.ask(path, "HEAD" if path == "/livez" else "GET")
            assert it.headers["Cache-Control"] == "no-store"
            assert it.headers["X-Content-Type-Options"] == "nosniff"
            assert it.headers["Server"] == "turnout"

    run(test)


def test_a_web_page_that_resolves_its_name_to_loopback_gets_nothing() -> None:
    async def test(it: Asked) -> None:
        for path in ("/livez", "/api/v1/status"):
            status, _, view = await it.ask(path, Host="evil.example:9900")
            assert status == 421
            assert "revision" not in view
        assert (await it.ask("/livez", Host="localhost:9900"))[0] == 200

    run(test)


def test_with_tokens_reading_takes_one_and_probes_do_not() -> None:
    async def test(it: Asked) -> None:
        status, _, view = await it.ask("/api/v1/status")
        assert (status, view["title"]) == (401, "Unauthorized")
        assert it.headers["WWW-Authenticate"] == "Bearer"
        assert (await it.ask("/api/v1/status", Authorization="Bearer wrong"))[0] == 401
        assert (await it.ask("/anything"))[0] == 401
        assert (await it.ask("/livez", Host="pod.example"))[0] == 200
        assert (await it.ask("/readyz"))[0] == 503
        for value in ("right", "also"):
            assert (await it.ask("/api/v1/status", Authorization=f"Bearer {value}"))[0] == 200

    run(test, AdminSettings(LOCAL, (Token("a", "viewer", sha256(b"right").digest()), Token("b", "operator", sha256(b"also").digest()))))


def test_it_listens_on_a_unix_socket_and_takes_its_file_away(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"

    async def test(it: Asked) -> None:
        assert (await it.ask("/livez"))[0] == 200

    run(test, AdminSettings(Listen("", 0, str(path))))
    assert not path.exists()


def test_a_taken_address_is_an_error_that_says_what_to_do() -> None:
    async def main() -> None:
        async with asked() as first:
            port = int(first.base.rpartition(":")[2])
            with pytest.raises(StartError, match="already"):
                async with asked(AdminSettings(Listen("127.0.0.1", port))):
                    pass

    asyncio.run(main())
