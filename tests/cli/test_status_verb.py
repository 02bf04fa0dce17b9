from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from proxy.cli.main import main
from proxy.cli.status import render
from proxy.cli.text import countdown
from tests.support.scripted_api import STATUS_VIEW, Json, server, version
from tests.support.turnout import between, running


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """A server that gives this answer to every request; yields its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_the_status_is_readable_at_a_glance() -> None:
    lines = render(STATUS_VIEW, 1e9).splitlines()
    assert lines[0] == "Turnout 9.9 · NOT READY · revision 84 · up 2 h · 1,234 connections on 127.0.0.1:8080"
    assert lines[1] == "  worker 1 is starting"
    rows = [line.split() for line in lines[2:] if line]
    assert rows[1] == ["shop", "shop.example.com/", "old", "(baseline)", "95", "%", "9,512", "12", "9,515", "14", "4",
                       "1.2", "ms", "1.50", "s"]
    assert rows[2] == ["new", "5", "%", "0", "0", "0", "0", "0", "-", "-"]
    assert lines[7:10] == [
        "shop: goes back by itself in 9:05, unless: turnout confirm shop",
        "shop: copies of 25 % go to new; how it answers: turnout shadow shop",
        "shop: split by ci 3 min ago: a twentieth\N{REPLACEMENT CHARACTER}[2J",
    ]
    rows = rows[3:]
    assert rows[4] == ["0", "serving", "11", "0", "84", "1,234", "0.4", "ms"]
    assert rows[5] == ["1", "dead", "-", "1", "-", "0", "0.0", "ms"]


OUT = server("http://127.0.0.1:2", state="ejected", why="5 failures in a row", phi=12.34, ejected_until_s=3.21,
             probe={"ok": False, "at": 1e9 - 1, "took_ms": 500.0, "detail": "no answer"})


def troubled(*servers: Json, effective: Json | None = None, **of_version: Any) -> str:
    """The status where `new` is like that."""
    [route] = STATUS_VIEW["routes"]
    versions = {"old": STATUS_VIEW["versions"]["old"], "new": version("new", *servers, **of_version)}
    routes = [{**route, "effective": effective or route["effective"]}]
    return render({**STATUS_VIEW, "versions": versions, "routes": routes}, 1e9)


def test_where_all_is_well_nothing_is_said_of_servers() -> None:
    shown = render(STATUS_VIEW, 1e9)
    assert "SERVER" not in shown
    assert "→" not in shown
    assert "down" not in shown


def test_a_version_that_is_down_is_told_with_why_and_with_the_share_that_it_is_really_sent() -> None:
    shown = troubled(OUT, state="down", why="no server is in", effective={"old": 1.0, "new": 0.0})
    assert "new is down: no server is in" in shown.splitlines()
    assert "5 % → 0 %" in shown
    assert "95 % → 100 %" in shown


def test_servers_that_are_not_simply_up_are_listed_and_only_those() -> None:
    shown = troubled(OUT, server("http://127.0.0.1:3"))
    [row] = [line for line in shown.splitlines() if "127.0.0.1:2" in line]
    assert " ".join(row.split()) == (
        "new http://127.0.0.1:2 ejected 12.3 0 failed 500.0 ms 5 failures in a row (tried again in 3.2 s)")
    assert "127.0.0.1:3" not in shown


def test_requests_that_the_baseline_answered_in_a_candidates_place_are_told() -> None:
    [route] = STATUS_VIEW["routes"]
    new = {**route["totals"]["new"], "rescues": {"answered": 1200, "failed": 3}, "diverted": 40}
    shown = render({**STATUS_VIEW, "routes": [{**route, "totals": {**route["totals"], "new": new}}]}, 1e9)
    assert "shop: old took requests of new: 1,200 that had failed there and 40 while it was down" in shown.splitlines()
    assert "shop: 3 requests failed at new and then at old" in shown.splitlines()


def test_who_waits_is_told_with_the_limit_in_force() -> None:
    shown = troubled(server(), queue=1200, limit=16)
    assert "new: 1,200 requests wait for a place (16 may be in flight)" in shown.splitlines()


def test_a_drained_version_says_when_it_is_idle() -> None:
    drained = server(state="drained", drained=True, why="drained by an operator")
    assert "new is drained, 2 requests still run there" in troubled({**drained, "in_flight": 2}, state="drained")
    assert "new is drained, and idle" in troubled({**drained, "idle": True}, state="drained", idle=True)
    assert "drained, idle" in troubled({**drained, "idle": True}, state="drained", idle=True)


def test_what_a_server_says_of_itself_does_not_steer_the_terminal() -> None:
    assert "\x1b" not in troubled({**OUT, "why": "status 500 \x1b[2J"})


def test_a_file_that_could_not_be_loaded_is_told() -> None:
    reload = {"file": "turnout.yaml", "ok": False, "at": 1e9}
    assert "turnout.yaml could not be loaded at 2001-09-0" in render({**STATUS_VIEW, "reload": reload}, 1e9)
    assert "could not" not in render({**STATUS_VIEW, "reload": {"file": None, "ok": True, "at": None}}, 1e9)


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (0.1, "0:01"), (59.5, "1:00"), (3599.2, "1:00:00")])
def test_a_countdown_ends_at_zero_and_not_before(seconds: float, shown: str) -> None:
    assert countdown(seconds) == shown


def test_json_is_what_the_api_said() -> None:
    with answering(200, json.dumps(STATUS_VIEW)) as url:
        result = CliRunner().invoke(main, ["status", "--json", "--admin", url])
    assert result.exit_code == 0
    assert json.loads(result.output) == STATUS_VIEW


def test_the_address_can_stand_in_the_environment() -> None:
    with answering(200, json.dumps(STATUS_VIEW)) as url:
        assert CliRunner().invoke(main, ["status"], env={"TURNOUT_ADMIN": url}).exit_code == 0


@pytest.mark.parametrize(
    "admin", ["http://127.0.0.1:1", "unix:/nonexistent/s", "http://nowhere.invalid", "ftp://x", "http://[", "http://x:y"]
)
def test_nobody_there_is_exit_code_4_with_the_next_step(admin: str) -> None:
    result = CliRunner().invoke(main, ["status", "--admin", admin])
    assert result.exit_code == 4
    assert "turnout run" in result.stderr


def test_somebody_else_there_is_exit_code_4() -> None:
    with answering(200, "<h1>hello</h1>") as url:
        result = CliRunner().invoke(main, ["status", "--admin", url])
    assert result.exit_code == 4
    assert "is not Turnout's admin API" in result.stderr


@pytest.mark.parametrize(("status", "said"), [(401, "set TURNOUT_TOKEN"), (500, "answered 500: broken")])
def test_an_error_of_the_api_is_exit_code_1(status: int, said: str) -> None:
    with answering(status, '{"detail": "broken"}') as url:
        result = CliRunner().invoke(main, ["status", "--admin", url])
    assert result.exit_code == 1
    assert said in result.stderr


def test_the_status_of_a_running_turnout_behind_a_unix_socket(tmp_path: Path) -> None:
    admin = f"unix:{tmp_path / 'admin'}"
    with running(*between("http://127.0.0.1:1", "http://127.0.0.1:2", weight=25)[:-1], admin) as turnout:
        assert turnout.admin == admin
        result = CliRunner().invoke(main, ["status", "--admin", admin])
    assert result.exit_code == 0
    assert "old (baseline)   75 %" in result.output
    assert "serving" in result.output
