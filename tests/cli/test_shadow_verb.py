from __future__ import annotations

import json
import re

import pytest

from tests.support.scripted_api import Answer, refusal, route, scripted, turnout
from tests.support.shadow_answers import NOTHING_COMPARED, difference, shadow_report

REPORT = "GET /api/v1/routes/shop/shadow"
DIFFERENCES = "GET /api/v1/routes/shop/shadow/differences"
CLEAR = "DELETE /api/v1/routes/shop/shadow/differences"
RULES = "GET /api/v1/routes/shop/shadow/rules"


def told(*arguments: str, answers: dict[str, Answer]) -> str:
    with scripted(answers) as (url, _):
        result = turnout("shadow", "shop", *arguments, admin=url)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_a_route_alone_is_reported() -> None:
    text = told(answers={REPORT: Answer(shadow_report(difference()))})
    assert text.startswith("shop: copies of 12.5 % of GET, HEAD go to new\n")
    assert "98.75 % match: 960 compared, 948 matched, 12 different; 1,000 copied" in text
    assert "  30 not compared: answer_too_large (answers longer than `compare.max_body`)" in text
    assert re.search(r"clients got +1\.2 ms +9\.0 ms", text)
    assert re.search(r"shadow +2\.5 ms +1\.20 s", text)


def test_a_difference_is_told_with_its_counts_its_noise_when_it_was_seen_and_an_example() -> None:
    lines = told("report", answers={REPORT: Answer(shadow_report(difference()))}).splitlines()
    at = lines.index("DIFFERENCES (1)")
    assert lines[at + 1] == "GET /items/{}  $.price  value"
    assert lines[at + 2].startswith("    12 times, 1.25 %, 0.1 % between two answers of the same version; ")
    assert lines[at + 3] == "    10 → 12  (request 7f3a)"


def test_the_worst_endpoint_comes_first() -> None:
    lines = told(answers={REPORT: Answer(shadow_report())}).splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("ENDPOINT"))
    assert lines[at + 1].split() == ["GET", "/items/{}", "460", "12", "97.39", "%", "30"]
    assert lines[at + 2].split() == ["GET", "/", "500", "0", "100", "%", "0"]


def test_nearly_all_is_never_told_as_all() -> None:
    totals = {**shadow_report()["totals"], "match_rate": 0.9999999}
    assert told(answers={REPORT: Answer(shadow_report(totals=totals))}).count("99.99 % match") == 1


@pytest.mark.parametrize(("view", "says"), [
    (shadow_report(difference()), "report --path '$.price' --samples 5"),
    (shadow_report(), "if no client sees new yet, `turnout weight shop new=1%`"),
    (shadow_report(totals=NOTHING_COMPARED, endpoints=[]), "send requests, then `turnout shadow shop` again"),
    (shadow_report(shadow=None, totals=NOTHING_COMPARED, endpoints=[]), "`turnout shadow shop to=VERSION percent=1`"),
])
def test_a_report_ends_with_the_next_useful_command(view: dict[str, object], says: str) -> None:
    assert says in told(answers={REPORT: Answer(view)}).partition("Next: ")[2]


@pytest.mark.parametrize(("view", "says"), [
    ({"fraction": 0.25}, "of which 25 % are made at present"),
    ({"comparer": {"running": False, "restarts": 0, "since": None, "dropped": 0}}, "nothing compares the answers"),
    ({"comparer": {"running": True, "restarts": 3, "since": 1e9, "dropped": 0}}, "was started anew 3 times"),
    ({"comparer": {"running": True, "restarts": 0, "since": 1e9, "dropped": 1234}}, "1,234 pairs were dropped"),
    ({"dropped_groups": 5}, "5 rare differences were forgotten"),
])
def test_what_makes_a_result_less_than_whole_is_told(view: dict[str, object], says: str) -> None:
    assert says in told(answers={REPORT: Answer(shadow_report(difference(), **view))})


def test_before_anything_was_compared_no_success_is_claimed() -> None:
    text = told(answers={REPORT: Answer(shadow_report(totals={**NOTHING_COMPARED, "copied": 7}, endpoints=[]))})
    assert "Nothing was compared; 7 copied" in text
    assert "No differences" not in text


def test_json_is_what_the_api_said() -> None:
    view = shadow_report(difference())
    assert json.loads(told("--json", answers={REPORT: Answer(view)})) == view


def test_options_narrow_the_differences_down() -> None:
    noise = difference("$.at", verdict="noise", samples=[])
    answers = {REPORT: Answer(shadow_report(difference())),
               DIFFERENCES: Answer({"differences": [noise], "more": 2})}
    with scripted(answers) as (url, api):
        text = turnout("shadow", "shop", "report", "--all", "--path", "$.at", "--samples", "5", admin=url).stdout
    assert api.last.target.endswith(b"/shadow/differences?samples=5&limit=20&path=%24.at&all=true")
    assert "DIFFERENCES (1 of 3)\nGET /items/{}  $.at  value  [noise]\n" in text
    assert "$.price" not in text.partition("DIFFERENCES")[2].partition("Next")[0]


def test_what_a_server_sent_cannot_steer_a_terminal() -> None:
    evil = difference("$.\x1b[2J", samples=[{"at": 1.0, "id": "\x1b", "primary": "\x1b[31m", "shadow": ""}])
    assert "\x1b" not in told(answers={REPORT: Answer(shadow_report(evil))})


def test_learned_rules_can_be_pasted_into_the_file() -> None:
    found = {"ignore": ["$.served_at", "header:x-a", "$['a$b']"], "unordered": ["$.tags"], "control": True,
             "because": {"$.served_at": {"control_rate": 0.98, "compared": 1000}}}
    lines = told("learn", answers={RULES: Answer(found)}).splitlines()
    assert lines[1:] == [
        "compare:", "  ignore:", '    - "$.served_at"    # in 98 % of 1,000', '    - "header:x-a"',
        """    - "$['a$$b']\"""", "  unordered:", '    - "$.tags"',
        "# in force after `turnout reload`; then `turnout shadow shop clear` compares afresh"]


def test_without_a_control_there_is_nothing_to_learn_from_and_how_to_get_one_is_told() -> None:
    nothing = {"ignore": [], "unordered": [], "because": {}, "control": False}
    assert "`control: true`" in told("learn", answers={RULES: Answer(nothing)})
    assert "Nothing to ignore" in told("learn", answers={RULES: Answer({"ignore": [], "because": {}})})


def test_clear_starts_afresh() -> None:
    assert told("clear", answers={CLEAR: Answer({"cleared": True})}) == "The comparison of route shop starts afresh.\n"


def test_a_comparer_that_does_not_answer_is_a_failure_with_its_reason() -> None:
    with scripted({REPORT: refusal(503, "no-comparer", "the comparer did not answer")}) as (url, _):
        result = turnout("shadow", "shop", admin=url)
    assert result.exit_code == 1
    assert "the comparer did not answer" in result.stderr


@pytest.mark.parametrize(("typed", "says"), [
    (["reprot"], "Did you mean `report`?"),
    (["record"], "record needs the path of one file"),
    (["record", "a", "b"], "record needs the path of one file"),
    (["learn", "percent=5"], "`percent=5` has no meaning after learn"),
    (["--sample", "10%"], "--sample goes with record"),
    (["record", "x", "--all"], "--all goes with report"),
    (["learn", "-m", "why"], "--reason goes with a change"),
    (["record", "x", "--sample", "0"], "`0` of the requests are none"),
    (["record", "x", "--for", "10"], "`10` has no unit"),
    (["record", "x", "--max-size", "1KiB"], "less than 64KiB"),
    (["steer"], "is not report, learn"),
])
def test_what_makes_no_sense_is_a_usage_error_and_asks_nobody(typed: list[str], says: str) -> None:
    with scripted({}) as (url, api):
        result = turnout("shadow", "shop", *typed, admin=url)
    assert result.exit_code == 2
    assert says in result.stderr
    assert api.asked == []


def test_turning_copies_on_names_the_report() -> None:
    changed = {"revision": 2, "dry_run": False, "applied": {"workers": 4, "of": 4, "replaced": []}, "took_ms": 1.0,
               "notes": ["methods: a copy of POST does its work a second time"],
               "route": route(shadow={"to": "new", "percent": 1, "methods": ["POST"]})}
    text = told("to=new", "percent=1", "methods=POST", answers={"PATCH /api/v1/routes/shop/shadow": Answer(changed)})
    assert "note: methods: a copy of POST does its work a second time" in text
    assert "`turnout shadow shop` shows how its answers compare; `turnout shadow shop off` ends the copies." in text
