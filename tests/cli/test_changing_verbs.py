from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.origins import Origin, answering_then_closing
from tests.support.scripted_api import Answer, changed, refusal, route, scripted, turnout

SHOP = {"GET /api/v1/routes/shop": Answer(route()), "GET /api/v1/routes": Answer({"revision": 84, "routes": [route()]})}
PUT = "PUT /api/v1/routes/shop/split"
ROLLBACK = "POST /api/v1/routes/shop/rollback"
BOTH = {"GET /api/v1/routes": Answer({"revision": 84, "routes": [route("shop"), route("api")]})}


def test_weight_says_what_holds_now_who_applied_it_and_how_to_take_it_back() -> None:
    with scripted({**SHOP, PUT: changed(route(split={"old": 90, "new": 10}))}) as (url, api):
        result = turnout("weight", "shop", "old=90", "new=10", "-m", "a tenth", admin=url)
    assert result.exit_code == 0
    assert api.body() == {"split": {"old": 90, "new": 10}, "reason": "a tenth"}
    assert result.stdout.splitlines() == [
        "shop: old 90 % · new 10 %",
        "Revision 84, applied by 4 of 4 workers in 2.1 ms.",
        "`turnout rollback shop` takes it back.",
    ]


def test_a_change_that_waits_to_be_confirmed_says_until_when_and_how() -> None:
    pending = {"until": 1.0, "seconds_left": 599.2, "back_to": {"split": {"old": 95, "new": 5}, "shadow": None}}
    with scripted({**SHOP, PUT: changed(route(pending=pending))}) as (url, api):
        result = turnout("weight", "shop", "5", "--confirm-within", "10m", admin=url)
    assert api.body() == {"split": {"old": 95, "new": 5}, "confirm_within": "10m"}
    assert "goes back by itself in 10:00 unless you say: turnout confirm shop" in result.stdout


def test_terms_are_passed_on() -> None:
    with scripted({**SHOP, PUT: changed(route(), dry_run=True, applied=None)}) as (url, api):
        result = turnout("weight", "shop", "5%", "--dry-run", "--if-revision", "83", admin=url)
    assert api.last.target.endswith(b"/split?dry_run=true")
    assert api.last.value(b"if-match") == b'"83"'
    assert result.stdout.splitlines() == ["Nothing was changed; it would be:", "shop: old 95 % · new 5 %"]


def test_what_was_so_already_is_told() -> None:
    with scripted({ROLLBACK: changed(route(split={"old": 100, "new": 0}), applied=None)}) as (url, _):
        lines = turnout("rollback", "shop", admin=url).stdout.splitlines()
    assert lines == ["shop: old 100 % · new 0 %", "Revision 84: it was so already."]     # nothing to take back


def test_fewer_workers_than_there_are_is_a_warning() -> None:
    with scripted({ROLLBACK: changed(route(), workers=3)}) as (url, _):
        result = turnout("rollback", "shop", admin=url)
    assert result.exit_code == 0
    assert "warning: 3 of 4 workers have applied it" in result.stderr


def test_a_thousand_routes_do_not_fill_the_screen() -> None:
    many = changed(*(route(f"r{number}") for number in range(1000)), several=True)
    with scripted({"POST /api/v1/rollback": many}) as (url, _):
        lines = turnout("rollback", "--all", admin=url).stdout.splitlines()
    assert len(lines) == 22
    assert lines[20] == "… and 980 more routes (`turnout status`)"


def test_notes_are_shown() -> None:
    reloaded = changed(route(), several=True, notes=["workers: 4 takes effect with `turnout upgrade`\x1b[2J"])
    with scripted({"POST /api/v1/config/reload": reloaded}) as (url, _):
        result = turnout("reload", admin=url)
    assert "note: workers: 4 takes effect with `turnout upgrade`\N{REPLACEMENT CHARACTER}[2J" in result.stdout


@pytest.mark.parametrize("verb", [["weight", "shop", "10"], ["rollback", "shop"], ["undo", "shop"], ["confirm", "shop"],
                                  ["shadow", "shop", "off"]])
def test_json_is_what_the_api_said(verb: list[str]) -> None:
    answer = changed(route())
    paths = {f"POST /api/v1/routes/shop/{name}": answer for name in ("rollback", "undo", "confirm")}
    with scripted({**SHOP, **paths, PUT: answer, "PATCH /api/v1/routes/shop/shadow": answer}) as (url, _):
        result = turnout(*verb, "--json", admin=url)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == answer.body


def test_rollback_passes_on_how() -> None:
    with scripted({ROLLBACK: changed(route())}) as (url, api):
        turnout("rollback", "shop", "--cut", "--force", "--reason", "errors", admin=url)
    assert api.body() == {"in_flight": "cut", "force": True, "reason": "errors"}


def test_rollback_without_a_route_takes_the_only_one() -> None:
    with scripted({**SHOP, ROLLBACK: changed(route())}) as (url, api):
        assert turnout("rollback", admin=url).exit_code == 0
    assert api.last.target == b"/api/v1/routes/shop/rollback"


def test_rollback_without_a_route_moves_nothing_when_there_are_several() -> None:
    with scripted(BOTH) as (url, api):
        result = turnout("rollback", admin=url)
    assert result.exit_code == 2
    assert "name a route (shop, api), or say --all" in result.stderr
    assert [request.method for request in api.asked] == [b"GET"]


def test_rollback_of_everything() -> None:
    with scripted({"POST /api/v1/rollback": changed(route("shop"), route("api"), several=True)}) as (url, _):
        result = turnout("rollback", "--all", admin=url)
    assert result.exit_code == 0
    assert result.stdout.count("old 95 %") == 2


@pytest.mark.parametrize(("typed", "patch"), [
    (["percent=25"], {"percent": "25%"}),
    (["percent=12.5%", "to=new", "methods=GET,HEAD"], {"percent": "12.5%", "to": "new", "methods": ["GET", "HEAD"]}),
    (["off"], {"to": None}),
])
def test_shadow_changes_what_is_named(typed: list[str], patch: dict[str, Any]) -> None:
    shadow = {"to": "new", "percent": 25, "methods": ["GET"]}
    with scripted({"PATCH /api/v1/routes/shop/shadow": changed(route(shadow=shadow))}) as (url, api):
        result = turnout("shadow", "shop", *typed, admin=url)
    assert api.body() == patch
    assert "copies of 25 % to new" in result.stdout


@pytest.mark.parametrize(("arguments", "said"), [
    (["weight", "shop", "new=10"], "Write `new=10%` for shares"),
    (["weight", "shop"], "Missing argument"),
    (["weight", "shop", "10", "--if-revision", "x"], "not a valid integer"),
    (["rollback", "shop", "--all"], "exclude each other"),
    (["shadow", "shop", "precent=25"], "Did you mean `percent`?"),
    (["shadow", "shop", "percent=2", "percent=3"], "named twice"),
    (["explain", "/", "-H", "X"], "is not a header"),
])
def test_what_is_typed_wrongly_is_exit_code_2_and_changes_nothing(arguments: list[str], said: str) -> None:
    with scripted(SHOP) as (url, api):
        result = turnout(*arguments, admin=url)
    assert result.exit_code == 2
    assert said in result.stderr
    assert all(request.method == b"GET" for request in api.asked)


REFUSED: list[tuple[Answer, int, str]] = [
    (refusal(409, "nothing-to-undo", "nothing was changed"), 5, "`turnout events --route shop` shows"),
    (refusal(409, "nothing-pending", "nothing is pending"), 5, "`turnout status` shows what waits"),
    (refusal(409, "baseline-down", "old is down"), 5, "`turnout rollback shop --force`"),
    (refusal(412, "outdated", "shop is at revision 85", current=route()), 5, "again with --if-revision 84"),
    (refusal(412, "outdated", "shop is at revision 85", current=route()), 5, "shop: old 95 % · new 5 %"),
    (refusal(409, "no-upgrade", "was not started by `turnout run`"), 5, "was not started by"),
    (refusal(422, "invalid-change", "split: new is not a version"), 2, "turnout: split: new is not a version"),
    (refusal(401, "", "a token is needed"), 1, "set TURNOUT_TOKEN to a token"),
    (refusal(403, "role-needed", "operator only"), 1, "`role: operator`"),
    (refusal(404, "unknown-route", "no such route"), 1, "Routes are: shop, api."),
    (refusal(421, "", "the Host field must name loopback"), 1, "Unix socket"),
    (refusal(429, "", "too many failures", "Retry-After: 6\r\n"), 1, "Ask again in 6 s"),
    (refusal(500, "", "the log says why"), 1, "answered 500: the log says why"),
    (refusal(503, "not-journaled", "disk full"), 1, "Is the disk of `state_dir` full"),
    (refusal(503, "handing-over", "leaving"), 1, "ask again in a second"),
]


@pytest.mark.parametrize(("answer", "code", "said"), REFUSED, ids=lambda value: str(getattr(value, "status", "")))
def test_a_refusal_is_an_exit_code_and_a_next_step(answer: Answer, code: int, said: str) -> None:
    with scripted({**BOTH, "POST /api/v1/routes/shop/undo": answer}) as (url, _):
        result = turnout("undo", "shop", admin=url)
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stdout == ""


def test_an_unknown_route_is_told_with_the_nearest_name() -> None:
    with scripted(BOTH) as (url, _):
        result = turnout("undo", "shpo", admin=url)
    assert result.exit_code == 1
    assert "Routes are: shop, api. Did you mean `shop`?" in result.stderr


def test_several_problems_are_all_listed_with_their_places() -> None:
    errors = [{"pointer": "/split/x", "detail": "is not a version"}, {"pointer": "/reason", "detail": "is too long"}]
    with scripted({**SHOP, PUT: refusal(422, "invalid-body", "2 things are wrong", errors=errors)}) as (url, _):
        result = turnout("weight", "shop", "10", admin=url)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[1:] == ["  /split/x: is not a version", "  /reason: is too long"]


def test_a_bad_file_is_exit_code_3() -> None:
    errors = [{"detail": "turnout.yaml:3:5: `nwe` is not a version"}, {"detail": "turnout.yaml:4:1: is not known"}]
    answer = refusal(422, "bad-file", "nothing has changed: 2 things are wrong with the file", errors=errors)
    with scripted({"POST /api/v1/config/reload": answer}) as (url, _):
        result = turnout("reload", admin=url)
    assert result.exit_code == 3
    assert "  turnout.yaml:3:5: `nwe` is not a version\n  turnout.yaml:4:1: is" in result.stderr


def test_with_json_the_problem_is_printed_as_it_came() -> None:
    answer = refusal(409, "nothing-to-undo", "nothing was changed")
    with scripted({"POST /api/v1/routes/shop/undo": answer}) as (url, _):
        result = turnout("undo", "shop", "--json", admin=url)
    assert result.exit_code == 5
    assert json.loads(result.stdout) == answer.body


def test_a_token_that_is_refused_is_not_asked_for_again() -> None:
    with scripted({"POST /api/v1/routes/shop/undo": refusal(401, "", "a token is needed")}) as (url, _):
        result = turnout("undo", "shop", admin=url, token="wrong")
    assert "the token in TURNOUT_TOKEN is not known there" in result.stderr
    assert "wrong" not in result.stderr


def test_a_change_whose_answer_is_lost_is_exit_code_4_and_not_called_undone() -> None:
    with Origin(answering_then_closing(b"")) as origin:
        result = turnout("undo", "shop", admin=origin.url)
    assert result.exit_code == 4
    assert "Whether it was done is not known" in result.stderr


def test_upgrade_says_who_has_taken_over() -> None:
    with scripted({"POST /api/v1/upgrade": Answer({"pid": 4711, "took_ms": 812.0})}) as (url, api):
        result = turnout("upgrade", "-m", "0.2.0", admin=url)
    assert api.body() == {"reason": "0.2.0"}
    assert "Process 4711 has taken over after 0.8 s" in result.stdout


def test_a_route_s_name_cannot_leave_its_place_in_the_path() -> None:
    with scripted({}) as (url, api):
        turnout("undo", "../status?x=1#", admin=url)
    assert api.asked[0].target == b"/api/v1/routes/..%2Fstatus%3Fx%3D1%23/undo"
