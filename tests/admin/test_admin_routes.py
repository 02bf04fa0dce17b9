from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from proxy.admin.problems import pointer
from tests.support.admin import Asked, run
from tests.support.exploring import examples


def test_a_change_answers_with_what_it_came_to() -> None:
    async def test(it: Asked) -> None:
        answer = await it.split({"old": 75, "new": 25})
        assert answer.status == 200
        view = answer.body
        assert (view["revision"], view["dry_run"], view["notes"]) == (2, False, [])
        assert view["applied"] == {"workers": 2, "of": 2, "replaced": []}
        assert 0 < view["took_ms"] < 1000
        assert view["route"]["shares"] == {"old": 0.75, "new": 0.25}
        assert answer.headers["ETag"] == '"2"'
        assert it.control.supervisor.snapshot.routes[0].split == (("old", 75.0), ("new", 25.0))

    run(test)


def test_rollback_goes_home_and_undo_forward_again() -> None:
    async def test(it: Asked) -> None:
        await it.split({"old": 20, "new": 80})
        home = await it.post("/api/v1/routes/shop/rollback", {"reason": "errors", "in_flight": "cut"})
        assert home.body["route"]["split"] == {"old": 100.0, "new": 0.0}
        assert home.body["route"]["generation"] == 1
        back = await it.post("/api/v1/routes/shop/undo")
        assert back.body["route"]["split"] == {"old": 20.0, "new": 80.0}
        again = await it.post("/api/v1/routes/shop/undo")
        assert again.body["route"]["split"] == {"old": 100.0, "new": 0.0}

    run(test)


def test_every_route_goes_home_at_once() -> None:
    async def test(it: Asked) -> None:
        await it.split({"old": 20, "new": 80}, "api")
        answer = await it.post("/api/v1/rollback", {"reason": "all of it"})
        assert [route["shares"]["old"] for route in answer.body["routes"]] == [1.0, 1.0]
        assert answer.headers["ETag"] == f'"{answer.body["revision"]}"'

    run(test)


def test_a_change_waits_to_be_confirmed_and_says_how_long() -> None:
    async def test(it: Asked) -> None:
        pending = (await it.split({"old": 50, "new": 50}, confirm_within="10m")).body["route"]["pending"]
        assert 590 < pending["seconds_left"] <= 600
        assert pending["back_to"]["split"] == {"old": 95.0, "new": 5.0}
        assert (await it.get("/api/v1/status")).body["routes"][0]["pending"]["until"] == pending["until"]
        kept = await it.post("/api/v1/routes/shop/confirm", {"reason": "fine"})
        assert kept.body["route"]["pending"] is None
        assert kept.body["route"]["split"] == {"old": 50.0, "new": 50.0}
        again = await it.post("/api/v1/routes/shop/confirm")
        assert (again.status, again.kind) == (409, "nothing-pending")

    run(test)


def test_nothing_to_undo_is_a_conflict_that_says_so() -> None:
    async def test(it: Asked) -> None:
        answer = await it.post("/api/v1/routes/api/undo")
        assert (answer.status, answer.kind) == (409, "nothing-to-undo")

    run(test)


def test_a_shadow_is_turned_on_changed_and_off() -> None:
    async def test(it: Asked) -> None:
        path = "/api/v1/routes/shop/shadow"
        on = await it.ask("PATCH", path, {"to": "new", "percent": "12.5%"})
        assert on.body["route"]["shadow"] == {"to": "new", "percent": 12.5, "methods": ["GET", "HEAD"]}
        more = await it.ask("PATCH", path, {"percent": 25, "methods": ["GET"]})
        assert more.body["route"]["shadow"] == {"to": "new", "percent": 25.0, "methods": ["GET"]}
        assert (await it.ask("PATCH", path, {"to": None})).body["route"]["shadow"] is None
        unknown = await it.ask("PATCH", path, {"to": "nev", "percent": 5})
        assert (unknown.status, set(unknown.faults)) == (422, {"/to"})

    run(test)


def test_a_dry_run_says_what_would_be_and_changes_nothing() -> None:
    async def test(it: Asked) -> None:
        answer = await it.ask("PUT", "/api/v1/routes/shop/split?dry_run=true", {"split": {"new": 1}})
        assert (answer.body["dry_run"], answer.body["applied"]) == (True, None)
        assert answer.body["route"]["split"] == {"old": 0.0, "new": 1.0}
        assert (await it.get("/api/v1/routes/shop")).body["split"] == {"old": 95.0, "new": 5.0}
        assert (await it.get("/api/v1/events")).body["events"] == []

    run(test)


@pytest.mark.parametrize(("query", "place"), [
    ("dry_run=1", "dry_run"), ("dry_run=", "dry_run"), ("dry_run=True", "dry_run"), ("dryrun=true", "dryrun"),
    ("dry_run=true&dry_run=false", "dry_run"), ("force=true", "force"),
])
def test_a_query_is_understood_or_refused_so_that_no_dry_run_becomes_a_change(query: str, place: str) -> None:
    async def test(it: Asked) -> None:
        answer = await it.ask("PUT", f"/api/v1/routes/shop/split?{query}", {"split": {"new": 1}})
        assert (answer.status, set(answer.faults)) == (400, {place})
        assert it.control.commands.state.revision == 1

    run(test)


def test_what_the_command_finds_wrong_comes_with_places_as_what_the_body_has_wrong() -> None:
    async def test(it: Asked) -> None:
        answer = await it.split({"old": 1, "nev": 1, "olt": 2})
        assert (answer.status, set(answer.faults)) == (422, {"/split/nev", "/split/olt"})
        assert "did you mean `new`?" in answer.faults["/split/nev"]
        assert set((await it.split({"old": 0, "new": 0})).faults) == {"/split"}

    run(test)


@pytest.mark.parametrize("name", ["nothing", "sho", "%2e%2e", "a%2fb", "%00", "%ff", "x" * 500, "shop%20"])
def test_a_route_that_is_not_there_is_a_404_for_every_verb(name: str) -> None:
    async def test(it: Asked) -> None:
        path = f"{it.base}/api/v1/routes/{name}"
        for method, verb, body in (("GET", "", None), ("PUT", "/split", {"split": {"old": 1}}),
                                   ("POST", "/rollback", {}), ("POST", "/undo", {}), ("POST", "/confirm", {}),
                                   ("PATCH", "/shadow", {"to": None})):
            async with it.session.request(method, URL(path + verb, encoded=True), json=body) as response:
                assert response.status == 404
                assert response.content_type == "application/problem+json"

    run(test)


def test_routes_are_listed_with_the_revision_of_all() -> None:
    async def test(it: Asked) -> None:
        await it.split({"old": 50, "new": 50})
        answer = await it.get("/api/v1/routes")
        assert answer.headers["ETag"] == '"2"'
        assert [(route["name"], route["revision"]) for route in answer.body["routes"]] == [("shop", 2), ("api", 1)]
        one = await it.get("/api/v1/routes/api")
        assert (one.headers["ETag"], one.body) == ('"1"', answer.body["routes"][1])
        for path, tag in (("/api/v1/routes", '"2"'), ("/api/v1/routes/api", '"1"')):
            assert (await it.get(path, If_None_Match=tag)).status == 304
            assert (await it.get(path, If_None_Match='"99"')).status == 200

    run(test)


def test_who_has_seen_something_else_changes_nothing_and_gets_what_is_there_now() -> None:
    async def test(it: Asked) -> None:
        await it.split({"old": 50, "new": 50})
        for tag in ('"1"', 'W/"2"', '"seven"', '"1", "3"'):
            answer = await it.ask("PUT", "/api/v1/routes/shop/split", {"split": {"new": 1}}, If_Match=tag)
            assert (answer.status, answer.kind, answer.headers["ETag"]) == (412, "outdated", '"2"')
            assert answer.body["current"] == (await it.get("/api/v1/routes/shop")).body
        for tag in ('"2"', '"1", "2"'):
            answer = await it.ask("PUT", "/api/v1/routes/shop/split?dry_run=true", {"split": {"new": 1}}, If_Match=tag)
            assert answer.status == 200
        assert (await it.ask("PUT", "/api/v1/routes/shop/split", {"split": {"new": 1}}, If_Match="*")).status == 200
        assert (await it.post("/api/v1/routes/shop/undo", If_Match="2")).status == 400

    run(test)


@pytest.mark.parametrize("verb", ["rollback", "undo", "confirm"])
def test_every_change_honours_what_its_author_has_seen(verb: str) -> None:
    async def test(it: Asked) -> None:
        await it.split({"old": 50, "new": 50}, confirm_within="1m")
        assert (await it.post(f"/api/v1/routes/shop/{verb}", If_Match='"1"')).status == 412
        assert (await it.post(f"/api/v1/routes/shop/{verb}", If_Match='"2"')).status == 200

    run(test)


def test_a_rollback_of_all_is_bound_to_the_revision_of_all() -> None:
    async def test(it: Asked) -> None:
        await it.split({"old": 50, "new": 50})
        answer = await it.post("/api/v1/rollback", If_Match='"1"')
        assert (answer.status, answer.body["current"]["revision"], answer.headers["ETag"]) == (412, 2, '"2"')
        assert len(answer.body["current"]["routes"]) == 2
        assert (await it.post("/api/v1/rollback", If_Match='"2"')).status == 200

    run(test)


def test_of_two_operators_who_race_one_is_first_and_the_other_is_told() -> None:
    async def test(it: Asked) -> None:
        path = "/api/v1/routes/shop"
        for _ in range(10):
            seen = await it.get(path)
            tag, split = seen.headers["ETag"], seen.body["split"]
            both = await asyncio.gather(*(
                it.ask("PUT", path + "/split", {"split": {"old": 1, "new": split["new"] + add}}, If_Match=tag)
                for add in (1, 2)))
            assert sorted(answer.status for answer in both) == [200, 412]
            lost = next(answer for answer in both if answer.status == 412)
            won = next(answer for answer in both if answer.status == 200)
            assert lost.body["current"] == won.body["route"]

    run(test)


def test_a_worker_that_does_not_acknowledge_is_replaced_and_the_answer_says_so() -> None:
    async def test(it: Asked) -> None:
        applied = (await it.split({"old": 50, "new": 50})).body["applied"]
        assert applied == {"workers": 0, "of": 2, "replaced": [0, 1]}

    run(test, script="deaf-after-first")


def test_changes_without_a_body_are_fine_and_bodies_where_none_is_taken_are_not() -> None:
    async def test(it: Asked) -> None:
        path, json = "/api/v1/routes/shop/rollback", "application/json"
        assert (await it.ask("POST", path)).status == 200
        assert (await it.ask("POST", path, raw=b"", Content_Type=json)).status == 200
        assert (await it.ask("GET", "/api/v1/routes", raw=b"{}", Content_Type=json)).status == 400

    run(test)


@pytest.mark.parametrize("size", [64 * 1024 + 1, 900 * 1024])
def test_a_body_that_no_change_needs_is_refused(size: int) -> None:
    async def test(it: Asked) -> None:
        raw = b'{"reason": "' + b"x" * (size - 14) + b'"}'
        assert (await it.ask("POST", "/api/v1/rollback", raw=raw, Content_Type="application/json")).status == 413
        assert it.control.commands.state.revision == 1

    run(test)


def test_a_body_is_taken_as_it_is_and_not_unpacked() -> None:
    async def test(it: Asked) -> None:
        answer = await it.ask("POST", "/api/v1/rollback", raw=b"\x1f\x8b", Content_Type="application/json",
                              Content_Encoding="gzip")
        assert answer.status == 415

    run(test)


def test_a_change_outlives_a_restart(tmp_path: Path) -> None:
    async def change(it: Asked) -> None:
        assert (await it.split({"old": 50, "new": 50})).status == 200

    async def look(it: Asked) -> None:
        answer = await it.get("/api/v1/routes/shop")
        assert answer.body["split"] == {"old": 50.0, "new": 50.0}
        assert answer.headers["ETag"] == '"2"'

    run(change, state_dir=tmp_path)
    run(look, state_dir=tmp_path)


@given(st.lists(st.text(max_size=5) | st.integers(0, 9), max_size=4))
@examples(50)
def test_a_pointer_leads_back_to_its_place(path: list[str | int]) -> None:
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer(path).split("/")[1:]]
    assert steps == list(map(str, path))
