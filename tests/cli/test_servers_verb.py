from __future__ import annotations

import json
import time

from tests.support.scripted_api import Answer, refusal, scripted, server, turnout, version

ALL, NEW = "GET /api/v1/versions", "GET /api/v1/versions/new"


def test_every_server_has_a_row_with_its_state_and_last_probe() -> None:
    probe = {"ok": True, "at": time.time(), "took_ms": 4.1, "detail": "200"}
    view = {"revision": 84, "versions": [
        version("old", server("http://10.0.0.1:80", phi=0.02, in_flight=1234, probe=probe)),
        version("new", server("http://10.0.0.2:80"))]}
    with scripted({ALL: Answer(view)}) as (url, _):
        lines = turnout("servers", admin=url).stdout.splitlines()
        assert json.loads(turnout("servers", "--json", admin=url).stdout) == view
    assert lines[0].split() == ["VERSION", "SERVER", "STATE", "Φ", "IN", "FLIGHT", "PROBE", "WHY"]
    assert lines[1].split() == ["old", "http://10.0.0.1:80", "up", "0.0", "1,234", "ok", "4.1", "ms"]
    assert lines[2].split() == ["new", "http://10.0.0.2:80", "up", "-", "0", "-"]
    assert len(lines) == 3


def test_one_version_is_asked_for_by_its_name_and_said_to_be_down() -> None:
    probe = {"ok": False, "at": 1e9, "took_ms": 500.0, "detail": "no answer within 0.5 s"}
    out = server(state="out", why="no answer within 0.5 s", probe=probe)
    view = version("new", out, state="down", why="no server is in")
    with scripted({NEW: Answer(view)}) as (url, api):
        shown = turnout("servers", "new", admin=url).stdout
        turnout("servers", "a/b", admin=url)
        assert b"/api/v1/versions/a%2Fb" in [asked.target for asked in api.asked]
    assert "failed 500.0 ms, " in shown  # and how long ago
    assert "no answer within 0.5 s" in shown
    assert shown.splitlines()[-1] == "new is down: no server is in"


def test_an_unknown_version_is_a_failure_that_names_the_others() -> None:
    known = {"revision": 1, "versions": [version("old", server()), version("new", server())]}
    unknown = refusal(404, "unknown-version", "no version is called `nev`")
    with scripted({"GET /api/v1/versions/nev": unknown, ALL: Answer(known)}) as (url, _):
        result = turnout("servers", "nev", admin=url)
    assert result.exit_code != 0
    assert "Versions are: old, new." in result.stderr
