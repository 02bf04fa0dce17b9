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
from tests.support.turnout import between, running

VIEW: dict[str, Any] = {
    "turnout": "9.9", "revision": 84, "uptime_s": 7300.0, "ready": False, "reasons": ["worker 1 is starting"],
    "listen": ["127.0.0.1:8080"], "connections": 1234, "restarts": 1,
    "versions": {"old": {"servers": ["http://127.0.0.1:1"]}, "new": {"servers": ["http://127.0.0.1:2"]}},
    "routes": [{
        "name": "shop", "host": "shop.example.com", "path": "/", "methods": [], "baseline": "old", "sticky": None,
        "split": {"old": 95, "new": 5}, "shares": {"old": 0.95, "new": 0.05},
        "totals": {
            "old": {"requests": 9512, "codes": {"200": 9500, "500": 10, "503": 2}, "retries": 3, "in_flight": 4,
                    "p50_s": 0.0012, "p99_s": 1.5},
            "new": {"requests": 0, "codes": {}, "retries": 0, "in_flight": 0, "p50_s": None, "p99_s": None},
        },
    }],
    "workers": [
        {"index": 0, "pid": 11, "state": "serving", "restarts": 0, "last_end": None, "revision": 84,
         "connections": 1234, "event_loop_lag_s": 0.0004},
        {"index": 1, "pid": None, "state": "dead", "restarts": 1, "last_end": "signal 9", "revision": None,
         "connections": 0, "event_loop_lag_s": 0.0},
    ],
}


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
    lines = render(VIEW, 0.0).splitlines()
    assert lines[0] == "Turnout 9.9 · NOT READY · revision 84 · up 2 h · 1,234 connections on 127.0.0.1:8080"
    assert lines[1] == "  worker 1 is starting"
    rows = [line.split() for line in lines[2:] if line]
    assert rows[1] == ["shop", "shop.example.com/", "old", "(baseline)", "95", "%", "9,512", "12", "3", "4", "1.2",
                       "ms", "1.50", "s"]
    assert rows[2] == ["new", "5", "%", "0", "0", "0", "0", "-", "-"]
    assert rows[4] == ["0", "serving", "11", "0", "84", "1,234", "0.4", "ms"]
    assert rows[5] == ["1", "dead", "-", "1", "-", "0", "0.0", "ms"]


def test_json_is_what_the_api_said() -> None:
    with answering(200, json.dumps(VIEW)) as url:
        result = CliRunner().invoke(main, ["status", "--json", "--admin", url])
    assert result.exit_code == 0
    assert json.loads(result.output) == VIEW


def test_the_address_can_stand_in_the_environment() -> None:
    with answering(200, json.dumps(VIEW)) as url:
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
