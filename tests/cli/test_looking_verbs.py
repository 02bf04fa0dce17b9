from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.support.scripted_api import Answer, scripted, turnout

EXPLAIN = "POST /api/v1/explain"


def explained(**more: Any) -> Answer:
    odds = [{"version": "old", "weight": 90, "share": 0.9}, {"version": "new", "weight": 10, "share": 0.1}]
    return Answer({"route": "shop", "version": "new", "reason": "sticky", "drawn": False, "why": ["one", "two\x1b"],
                   "versions": odds, "steps": {}, "revision": 84, **more})


def test_explain_sends_the_request_as_it_was_described() -> None:
    with scripted({EXPLAIN: explained()}) as (url, api):
        turnout("explain", "/cart?x=1", "--method", "POST", "--host", "shop.example.com", "-H", "X-A:  1 ", "-H",
                "X-B:", "--cookie", "a=1", "--cookie", "b=2", "--client", "10.0.0.7", admin=url)
    assert api.body() == {
        "path": "/cart?x=1", "method": "POST", "host": "shop.example.com", "client": "10.0.0.7",
        "headers": [["X-A", "1"], ["X-B", ""], ["Cookie", "a=1; b=2"]],
    }


@pytest.mark.parametrize("body", [
    {}, {"why": 7}, {"why": [{}], "route": "a"}, {"why": [], "route": "a", "version": None}])
def test_an_answer_of_somebody_else_is_no_traceback(body: object) -> None:
    with scripted({EXPLAIN: Answer(body), "GET /api/v1/config": Answer(body), "GET /api/v1/status": Answer(body),
                   "GET /api/v1/events": Answer(body), "GET /api/v1/routes/shop": Answer(body)}) as (url, _):
        for verb in (["explain", "/"], ["config"], ["status"], ["events"], ["weight", "shop", "5"]):
            result = turnout(*verb, admin=url)
            assert result.exit_code == 4, result.output
            assert "is not Turnout's admin API, or that of another version" in result.stderr


def test_a_refusal_of_somebody_else_is_no_traceback_either() -> None:
    problem = {"type": "urn:x:outdated", "detail": {}, "errors": "?", "current": [1]}
    with scripted({EXPLAIN: Answer(problem, status=412)}) as (url, _):
        assert turnout("explain", "/", admin=url).exit_code == 4


def test_json_for_programs_does_not_steer_a_terminal_and_says_the_same() -> None:
    hostile = "\x1b[2J\x7f\x9b\u202e\ud800\U000e0001ä"
    with scripted({EXPLAIN: explained(why=[hostile])}) as (url, _):
        out = turnout("explain", "/", "--json", admin=url).stdout
    assert all(letter.isprintable() or letter == "\n" for letter in out)
    assert "ä" in out
    assert json.loads(out)["why"] == [hostile]


def test_explain_takes_a_whole_url() -> None:
    with scripted({EXPLAIN: explained()}) as (url, api):
        turnout("explain", "http://shop.example.com:8080/cart?x=1#there", admin=url)
        assert api.body() == {"path": "/cart?x=1", "host": "shop.example.com:8080"}
        turnout("explain", "http://shop.example.com", admin=url)
        assert api.body() == {"path": "/", "host": "shop.example.com"}


def test_explain_tells_the_steps_and_then_the_end() -> None:
    with scripted({EXPLAIN: explained()}) as (url, _):
        lines = turnout("explain", "/", admin=url).stdout.splitlines()
    assert lines == ["1. one", "2. two\N{REPLACEMENT CHARACTER}", "→ route shop, version new (revision 84)"]


def test_explain_tells_the_odds_where_chance_decides() -> None:
    with scripted({EXPLAIN: explained(version=None, drawn=True)}) as (url, _):
        assert "version by chance: old 90 % · new 10 %" in turnout("explain", "/", admin=url).stdout


def test_a_request_that_no_route_takes_is_explained_too() -> None:
    with scripted({EXPLAIN: explained(route=None, version=None, why=["no route takes it"])}) as (url, _):
        result = turnout("explain", "/", admin=url)
    assert result.exit_code == 0
    assert result.stdout == "1. no route takes it\n"


CONFIG = {
    "revision": 84, "file": "turnout.yaml", "config": {"listen": ["127.0.0.1:8080"], "access_log": "off"},
    "courses": {"shop": {"split": {"old": 90.0, "new": 10.0}, "shadow": {"to": "new", "percent": 25.0, "methods": []}}},
    "drained": {"new": ["http://127.0.0.1:9002", "unix:/run/new.sock"]},
}


def test_the_configuration_is_a_file_again() -> None:
    with scripted({"GET /api/v1/config": Answer(CONFIG)}) as (url, _):
        text = turnout("config", admin=url).stdout
        assert json.loads(turnout("config", "--json", admin=url).stdout) == CONFIG
    assert yaml.safe_load(text) == CONFIG["config"]
    assert text.startswith("# Turnout's configuration in force, revision 84, from turnout.yaml\n")
    assert "# route shop was changed at run time: split {old: 90, new: 10}; shadow 25 % to new" in text
    assert "# drained of version new: http://127.0.0.1:9002, unix:/run/new.sock (turnout restore new)" in text
