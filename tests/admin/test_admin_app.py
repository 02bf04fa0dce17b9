from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from proxy.controlplane.errors import StartError
from tests.support.admin import VIEWER, Asked, asked, run, settings
from tests.support.deadline import until


def test_it_is_alive_before_it_is_ready_and_says_what_it_waits_for() -> None:
    async def test(it: Asked) -> None:
        assert (await it.get("/livez")).body == {"alive": True}
        waiting = await it.get("/readyz")
        assert (waiting.status, waiting.headers["Content-Type"]) == (503, "application/json")
        assert waiting.body["ready"] is False
        assert "worker 0 is being replaced: it was not started yet" in waiting.body["reasons"]
        await it.control.supervisor.start()
        ready = await it.get("/readyz")
        assert (ready.status, ready.body) == (200, {"ready": True, "reasons": []})

    run(test, start=False)


def test_it_is_not_ready_once_it_drains() -> None:
    async def test(it: Asked) -> None:
        await it.control.supervisor.stop(1.0)
        assert (await it.get("/readyz")).status == 503
        assert (await it.get("/livez")).status == 200

    run(test)


def test_status_shows_routes_versions_workers_and_totals() -> None:
    async def test(it: Asked) -> None:
        supervisor = it.control.supervisor
        await until(lambda: supervisor.fold.gauges("turnout_connections"), "the workers have reported")
        await until(lambda: len(supervisor.fold.counters("turnout_requests_total")), "and counted")
        await it.split({"old": 75, "new": 25}, reason="looks good")
        view = (await it.get("/api/v1/status")).body
        assert (view["revision"], view["ready"], view["restarts"], view["reasons"]) == (2, True, 0, [])
        assert view["listen"] == list(supervisor.listeners.addresses)
        assert [len(version["servers"]) for version in view["versions"].values()] == [1, 1]
        shop, api = view["routes"]
        assert (shop["name"], shop["baseline"], shop["path"], shop["host"]) == ("shop", "old", "/", "shop.example")
        assert shop["split"] == {"old": 75.0, "new": 25.0}
        assert shop["shares"] == {"old": 0.75, "new": 0.25}
        assert set(shop["totals"]["old"]["codes"]) == {"200"}
        assert shop["totals"]["new"]["requests"] == 0
        assert (shop["revision"], shop["as_written"], shop["can_undo"]) == (2, False, True)
        assert (api["revision"], api["as_written"], api["can_undo"], api["last_change"]) == (1, True, False, None)
        assert (shop["last_change"]["verb"], shop["last_change"]["reason"]) == ("split", "looks good")
        assert [worker["state"] for worker in view["workers"]] == ["serving", "serving"]
        assert [worker["revision"] for worker in view["workers"]] == [2, 2]
        assert {worker["pid"] for worker in view["workers"]} == {
            slot.process.pid for slot in supervisor.slots if slot.process
        }
        assert (view["reload"]["file"], view["reload"]["ok"]) == ("turnout.yaml", True)
        assert view["reload"]["at"] == pytest.approx(it.control.wall(), abs=60)
        assert view["pid"] == os.getpid()

    run(test)


def test_status_is_made_anew_as_soon_as_something_changes() -> None:
    async def test(it: Asked) -> None:
        for new in range(1, 20):
            await it.split({"old": 100 - new, "new": new})
            view = (await it.get("/api/v1/status")).body
            assert view["routes"][0]["split"]["new"] == new
            assert view["routes"][0]["last_change"]["revision"] == view["revision"] == new + 1

    run(test)


@pytest.mark.parametrize("path", ["/", "/api/v1", "/api/v1/status/", "/api/v2/status", "/api/v1/routes/shop/splitt"])
def test_what_is_not_there_is_a_404_problem(path: str) -> None:
    async def test(it: Asked) -> None:
        answer = await it.get(path)
        assert (answer.status, answer.headers["Content-Type"]) == (404, "application/problem+json")
        assert (answer.body["title"], answer.body["status"]) == ("Not Found", 404)

    run(test, start=False)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_what_only_answers_reading_says_so(method: str) -> None:
    async def test(it: Asked) -> None:
        answer = await it.ask(method, "/api/v1/status")
        assert (answer.status, answer.headers["Content-Type"]) == (405, "application/problem+json")
        assert answer.headers["Allow"] == "GET, HEAD"

    run(test, start=False)


def test_a_path_comes_back_as_text_that_steers_no_terminal() -> None:
    async def test(it: Asked) -> None:
        answer = await it.ask("DELETE", "/api/v1/routes/%1b%5D0;title%07%E2%80%AE%C2%9B")
        assert answer.status == 405
        assert answer.body["detail"].isprintable()

    run(test, start=False)


def test_nothing_is_changed_by_reading() -> None:
    changing = ("routes/shop/rollback", "routes/shop/undo", "routes/shop/confirm", "rollback", "config/reload",
                "upgrade", "routes/shop/split")

    async def test(it: Asked) -> None:
        for path in changing:
            for method in ("GET", "HEAD"):
                assert (await it.ask(method, f"/api/v1/{path}")).status == 405
        assert it.control.commands.state.revision == 1

    run(test, start=False)


def test_no_answer_is_cached_or_guessed_at() -> None:
    async def test(it: Asked) -> None:
        for method, path in (("HEAD", "/livez"), ("GET", "/nothing"), ("GET", "/metrics"), ("POST", "/api/v1/explain")):
            answer = await it.ask(method, path)
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Server"] == "turnout"

    run(test, start=False)


def test_it_listens_on_a_unix_socket_that_only_its_owner_may_open_and_takes_its_file_away(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"

    async def test(it: Asked) -> None:
        assert path.stat().st_mode & 0o777 == 0o600
        answer = await it.split({"old": 50, "new": 50})
        assert answer.status == 200
        event = (await it.get("/api/v1/events?newest=true&limit=1")).body["events"][0]
        assert event["author"] == "unix"
        assert event["origin"] == f"unix uid={os.getuid()} pid={os.getpid()}"

    run(test, settings(admin=f"unix:{path}"))
    assert not path.exists()


def test_a_taken_address_is_an_error_that_says_what_to_do() -> None:
    async def main() -> None:
        async with asked(start=False) as first:
            port = int(first.base.rpartition(":")[2])
            with pytest.raises(StartError, match="already"):
                async with asked(settings(admin=f"127.0.0.1:{port}"), start=False):
                    pass

    asyncio.run(main())


def test_it_serves_on_every_address_that_its_name_has() -> None:
    async def test(it: Asked) -> None:
        assert (await it.get("/livez")).status == 200

    run(test, settings(admin="localhost:0"), start=False)


def test_a_failure_that_nobody_foresaw_is_a_problem_without_details() -> None:
    async def test(it: Asked) -> None:
        it.control.journal.close()
        answer = await it.get("/api/v1/events")
        assert (answer.status, answer.kind) == (503, "no-journal")
        assert (await it.get("/api/v1/status")).status == 200

    run(test, start=False)


def test_the_listening_address_can_be_asked_by_a_viewer_only_for_what_is_there() -> None:
    async def test(it: Asked) -> None:
        assert (await it.get("/anything")).status == 401
        assert (await it.ask("GET", "/anything", token=VIEWER)).status == 404

    run(test, settings(tokens=True), start=False)
