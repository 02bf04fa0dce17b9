from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli.main import main
from proxy.cli.status import render
from proxy.cli.text import countdown
from tests.support.scripted_api import STATUS_VIEW
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
    assert rows[1] == ["shop", "shop.example.com/", "old", "(baseline)", "95", "%", "9,512", "12", "3", "4", "1.2",
                       "ms", "1.50", "s"]
    assert rows[2] == ["new", "5", "%", "0", "0", "0", "0", "-", "-"]
    assert lines[7:10] == [
        "shop: goes back by itself in 9:05, unless: turnout confirm shop",
        "shop: copies of 25 % go to new; how it answers: turnout shadow shop",
        "shop: split by ci 3 min ago: a twentieth\N{REPLACEMENT CHARACTER}[2J",
    ]
    rows = rows[3:]
    assert rows[4] == ["0", "serving", "11", "0", "84", "1,234", "0.4", "ms"]
    assert rows[5] == ["1", "dead", "-", "1", "-", "0", "0.0", "ms"]


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
