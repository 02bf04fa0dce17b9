"""Servers are drained and restored over the API, and the answer shows the version as it is then."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.settings import load_bytes
from tests.support.admin import OPERATOR, SILENT, VIEWER, Answer, Asked, run, settings

A, B = SILENT, "unix:/run/old.sock"
FILE = f"""
listen: 127.0.0.1:0
workers: 2
state_dir: memory
admin: {{listen: "127.0.0.1:0"}}
versions:
  old: {{servers: ["{A}", "{B}"]}}
  new: {{servers: ["{A}"]}}
routes:
  - {{name: shop, split: {{old: 95, new: 5}}}}
"""
OLD, NEW = "/api/v1/versions/old", "/api/v1/versions/new"


def against_two(test: Any) -> None:
    run(test, load_bytes(FILE.encode(), "turnout.yaml", {}))


def drained(answer: Answer) -> dict[str, bool]:
    return {server["address"]: server["drained"] for server in answer.body["version"]["servers"]}


def test_a_server_is_drained_and_the_answer_shows_it() -> None:
    async def test(it: Asked) -> None:
        answer = await it.post(OLD + "/drain", {"server": B, "reason": "kernel"})
        assert (answer.status, answer.body["revision"], answer.body["dry_run"], answer.body["notes"]) == (
            200, 2, False, [])
        assert answer.body["applied"] == {"workers": 2, "of": 2, "replaced": []}
        assert answer.body["server"] == B
        assert drained(answer) == {A: False, B: True}
        assert {server["drained"] for server in (await it.get(OLD)).body["servers"]} == {True, False}
        event = (await it.get("/api/v1/events")).body["events"][-1]
        assert (event["verb"], event["route"], event["reason"]) == ("drain", None, "kernel")
        assert event["after"] == {"version": "old", "server": B, "all": False, "drained": [B]}

    against_two(test)


def test_a_version_is_drained_and_restored_as_a_whole() -> None:
    async def test(it: Asked) -> None:
        gone = await it.post(NEW + "/drain")
        assert gone.body["server"] is None
        assert gone.body["version"]["state"] == "drained"
        assert gone.body["notes"] == [
            "requests of `shop` for `new` go to the baseline until it is restored",
            "a server of `new` is in service for `old`, too: drain it there before you stop it"]
        back = await it.post(NEW + "/restore", {"server": None})
        assert drained(back) == {A: False}
        again = await it.post(NEW + "/restore")
        assert (again.body["revision"], again.body["applied"]) == (3, None)

    against_two(test)


def test_the_same_address_in_another_version_is_another_server() -> None:
    async def test(it: Asked) -> None:
        await it.post(NEW + "/drain", {"server": A})
        assert [server["drained"] for server in (await it.get(OLD)).body["servers"]] == [False, False]

    against_two(test)


def test_a_dry_run_shows_what_would_be_and_changes_nothing() -> None:
    async def test(it: Asked) -> None:
        answer = await it.post(OLD + "/drain?dry_run=true", {"server": B})
        assert (answer.body["dry_run"], answer.body["applied"], drained(answer)) == (True, None, {A: False, B: True})
        assert not any(server["drained"] for server in (await it.get(OLD)).body["servers"])

    against_two(test)


def test_the_last_server_is_a_conflict_that_says_what_to_do_and_force_is_heard() -> None:
    async def test(it: Asked) -> None:
        refused = await it.post(OLD + "/drain")
        assert (refused.status, refused.kind) == (409, "last-server")
        assert "`turnout weight shop old=0 new=100`" in refused.body["detail"]
        forced = await it.post(OLD + "/drain", {"force": True})
        assert drained(forced) == {A: True, B: True}
        assert "are refused until it is restored" in forced.body["notes"][0]

    against_two(test)


def test_neither_weight_nor_rollback_leads_to_what_is_drained() -> None:
    async def test(it: Asked) -> None:
        await it.split({"old": 0, "new": 1})
        await it.post(OLD + "/drain")
        weight = await it.split({"old": 1, "new": 1})
        assert (weight.status, weight.kind) == (409, "version-drained")
        home = await it.post("/api/v1/routes/shop/rollback")
        assert (home.status, home.kind) == (409, "baseline-down")
        assert home.body["servers"] == [f"{A}: drained", f"{B}: drained"]
        assert (await it.post("/api/v1/routes/shop/rollback", {"force": True})).status == 200

    against_two(test)


@pytest.mark.parametrize("verb", ["drain", "restore"])
def test_what_is_not_there_is_not_found_and_a_strange_server_is_a_fault(verb: str) -> None:
    async def test(it: Asked) -> None:
        missing = await it.post(f"/api/v1/versions/odl/{verb}")
        assert (missing.status, missing.kind) == (404, "unknown-version")
        assert "did you mean `old`?" in missing.body["detail"]
        strange = await it.post(f"{OLD}/{verb}", {"server": "http://10.0.0.1", "reason": "x"})
        assert strange.status == 422
        assert strange.faults == {"/server": f"`http://10.0.0.1` is no server of `old`; there are {A}, {B}"}
        for body in ({"server": ""}, {"server": 7}, {"server": "x" * 301}, {"servers": [A]}, {"reason": "a\nb"}):
            assert (await it.post(f"{OLD}/{verb}", body)).status == 422, body

    against_two(test)


def test_restoring_knows_no_force() -> None:
    async def test(it: Asked) -> None:
        assert (await it.post(OLD + "/restore", {"force": True})).faults.keys() == {"/force"}

    against_two(test)


def test_viewers_may_look_and_not_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPERATOR_TOKEN", OPERATOR)
    monkeypatch.setenv("VIEWER_TOKEN", VIEWER)

    async def test(it: Asked) -> None:
        for verb in ("drain", "restore"):
            assert (await it.post(f"{NEW}/{verb}", token=VIEWER)).status == 403
            assert (await it.post(f"{NEW}/{verb}", token=OPERATOR)).status == 200
            assert (await it.post(f"{NEW}/{verb}")).status == 401

    run(test, settings(tokens=True))
