from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest

from proxy.ipc.messages import Noticed
from tests.support.admin import Asked, run, settings


async def explain(it: Asked, **body: Any) -> Any:
    answer = await it.post("/api/v1/explain", body)
    assert answer.status == 200, answer
    return answer.body


def test_where_chance_decides_the_odds_are_told_and_no_outcome() -> None:
    async def test(it: Asked) -> None:
        for _ in range(3):
            told = await explain(it, path="/cart?item=1", host="Shop.Example:8080")
            assert (told["route"], told["version"], told["drawn"], told["reason"]) == ("shop", None, True, "split")
            assert told["versions"] == [{"version": "old", "weight": 95.0, "share": 0.95},
                                        {"version": "new", "weight": 5.0, "share": 0.05}]
            assert told["why"][-1] == "so its version is drawn: old 95 %, new 5 %"
            assert told["steps"]["draw"] is None

    run(test, start=False)


def test_what_is_certain_is_told_as_such() -> None:
    async def test(it: Asked) -> None:
        told = await explain(it, path="/api/orders")
        assert (told["route"], told["version"], told["drawn"]) == ("api", "old", False)

    run(test, start=False)


def test_a_client_that_is_known_is_where_its_key_says() -> None:
    async def test(it: Asked) -> None:
        await it.split({"old": 50, "new": 50}, "api")
        cookies = [f"turnout={number:024x}" for number in range(40)]
        told = [await explain(it, path="/api", headers={"Cookie": cookie}) for cookie in cookies]
        assert {view["version"] for view in told} == {"old", "new"}
        assert all(view["reason"] == "sticky" and not view["drawn"] for view in told)
        assert "the client is recognised by cookie turnout, issued by Turnout" in told[0]["why"]
        again = await explain(it, path="/api", headers=[["cookie", "a=1"], ["Cookie", cookies[7]]])
        assert again["version"] == told[7]["version"]
        unknown = await explain(it, path="/api")
        assert (unknown["version"], unknown["drawn"], unknown["steps"]["issues_cookie"]) == (None, True, True)

    run(test)


def test_an_override_is_told_whether_it_counts_or_not() -> None:
    async def test(it: Asked) -> None:
        named = {"headers": {"X-Version": "new"}, "path": "/api"}
        inside = await explain(it, **named, client="10.1.2.3")
        assert (inside["version"], inside["reason"]) == ("new", "override")
        assert inside["why"][-2:] == ["header x-version names version new, and may",
                                      "so version new takes it, whatever the weights"]
        outside = await explain(it, **named, client="192.0.2.1")
        assert (outside["version"], outside["reason"]) == ("old", "sticky")
        assert any("header x-version names new: ignored, the client is not" in step for step in outside["why"])

    run(test, start=False)


def test_a_request_that_no_route_takes_is_explained_too() -> None:
    async def test(it: Asked) -> None:
        told = await explain(it, path="/else", host="other.example", method="POST")
        assert (told["route"], told["version"], told["reason"], told["drawn"]) == (None, None, None, False)
        assert told["why"][-1] == "no route takes POST /else of host other.example: it is answered with 404"

    run(test, start=False)


def test_it_explains_by_what_holds_now() -> None:
    async def test(it: Asked) -> None:
        for new, version in ((0, "old"), (1, "new"), (0, "old")):
            await it.split({"old": 1 - new, "new": new})
            told = await explain(it, path="/", host="shop.example")
            assert (told["version"], told["revision"]) == (version, it.control.commands.state.revision)

    run(test)


@pytest.mark.parametrize(("body", "place"), [
    ({}, "/path"), ({"path": "shop"}, "/path"), ({"path": "/", "headers": {"Host": "a b"}}, "/headers"),
    ({"path": "/", "headers": [["a"]]}, "/headers"), ({"path": "/", "client": "nobody"}, "/client"),
    ({"path": "/", "paht": "/"}, "/paht"),
])
def test_what_is_no_request_is_refused_with_its_place(body: Any, place: str) -> None:
    async def test(it: Asked) -> None:
        answer = await it.post("/api/v1/explain", body)
        assert (answer.status, set(answer.faults)) == (422, {place})

    run(test, start=False)


def test_what_becomes_of_its_copy_is_told_at_the_end() -> None:
    async def test(it: Asked) -> None:
        await it.ask("PATCH", "/api/v1/routes/shop/shadow", {"to": "new", "percent": 12.5})
        host = "shop.example"
        told = await explain(it, path="/cart", host=host)
        assert told["why"][-1] == "a copy of it goes to new in 12.5 % of the cases"
        told = await explain(it, path="/cart", host=host, method="POST")
        assert told["why"][-1] == "no copy of it goes to new: only GET, HEAD are copied"

    run(test)


def down(it: Asked, version: str) -> None:
    """The breaker of this version is open."""
    health, snapshot = it.control.health, it.control.supervisor.snapshot
    health.configure(snapshot)
    health.noticed(Noticed(version, "", True, 1, health.clock() + 60, 1, "9 of 10 attempts failed"))


def test_a_chosen_version_that_is_down_is_told_with_who_is_really_sent_the_request() -> None:
    async def test(it: Asked) -> None:
        down(it, "new")
        told = await explain(it, path="/api", headers={"X-Version": "new"}, client="10.1.2.3")
        assert (told["version"], told["sent_to"]) == ("new", "old")
        assert told["why"][-1] == ("version new is down (9 of 10 attempts failed): what it would get goes to old "
                                   "(when_down: baseline)")
        well = await explain(it, path="/api")
        assert (well["version"], well["sent_to"], len(well["steps"]["detours"])) == ("old", "old", 0)

    run(test, start=False)


def test_odds_come_with_the_version_that_is_down_and_a_baseline_is_tried_all_the_same() -> None:
    async def test(it: Asked) -> None:
        down(it, "old")
        told = await explain(it, path="/", host="shop.example")
        assert (told["drawn"], told["sent_to"]) == (True, None)
        assert told["why"][-1] == ("version old is down (9 of 10 attempts failed): it is tried all the same, since "
                                   "there is nowhere else to go")

    run(test, start=False)


def test_a_version_that_holds_its_requests_is_told_as_such_and_one_that_fails_them_too() -> None:
    file = settings()
    [shop, api] = file.routes

    def told_of(when_down: Literal["hold", "fail"]) -> str:
        said = []

        async def test(it: Asked) -> None:
            down(it, "new")
            body = await explain(it, path="/api", headers={"X-Version": "new"}, client="10.1.2.3")
            assert (body["version"], body["sent_to"]) == ("new", None)
            said.append(body["why"][-1].rpartition(": ")[2])

        run(test, replace(file, routes=(shop, replace(api, when_down=when_down))), start=False)
        return str(said[0])

    assert told_of("hold").startswith("what it would get waits for it")
    assert told_of("fail") == "what it would get is answered with 503"
