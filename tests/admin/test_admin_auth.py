"""Each rule of who may do what, with the attack that it is there for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from proxy.admin.failures import BURST
from tests.support.admin import OPERATOR, VIEWER, Answer, Asked, asked, run, settings

CHANGES = [
    ("PUT", "/api/v1/routes/shop/split", {"split": {"old": 1}}), ("POST", "/api/v1/routes/shop/rollback", {}),
    ("POST", "/api/v1/rollback", {}), ("POST", "/api/v1/routes/shop/undo", {}),
    ("POST", "/api/v1/routes/shop/confirm", {}), ("PATCH", "/api/v1/routes/shop/shadow", {"to": None}),
    ("POST", "/api/v1/config/reload", {}), ("POST", "/api/v1/upgrade", {}), ("POST", "/api/v1/config/validate", {}),
]
READS = ["/api/v1/status", "/api/v1/routes", "/api/v1/routes/shop", "/api/v1/events", "/api/v1/config", "/metrics",
         "/api/v1/openapi.json", "/api/v1/versions", "/api/v1/versions/old"]


def nothing_changed(it: Asked) -> bool:
    return it.control.commands.state.revision == 1


def test_without_a_token_there_is_nothing_but_probes() -> None:
    async def test(it: Asked) -> None:
        for path in READS + ["/api/v1/events/stream"]:
            answer = await it.get(path)
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="turnout"')
        for method, path, body in CHANGES:
            assert (await it.ask(method, path, body)).status == 401
        assert (await it.get("/livez")).status == 200
        assert (await it.get("/readyz")).status == 200
        assert nothing_changed(it)

    run(test, settings(tokens=True))


def test_a_viewer_reads_and_explains_and_changes_nothing() -> None:
    async def test(it: Asked) -> None:
        it.token = VIEWER
        for path in READS:
            assert (await it.get(path)).status == 200
        assert (await it.post("/api/v1/explain", {"path": "/"})).status == 200
        for method, path, body in CHANGES:
            answer = await it.ask(method, path, body)
            assert (answer.status, answer.kind) == (403, "role-needed")
            assert "`vic` has the role `viewer`: this needs `operator`" in answer.body["detail"]
        assert nothing_changed(it)

    run(test, settings(tokens=True))


def test_an_operator_changes_under_the_name_of_the_token() -> None:
    async def test(it: Asked) -> None:
        it.token = OPERATOR
        assert (await it.split({"old": 50, "new": 50}, reason="try")).status == 200
        event = (await it.get("/api/v1/events?newest=true&limit=1")).body["events"][0]
        assert (event["author"], event["origin"], event["verb"]) == ("ann", "127.0.0.1", "split")

    run(test, settings(tokens=True))


def test_who_needs_no_token_is_called_loopback() -> None:
    async def test(it: Asked) -> None:
        await it.split({"old": 50, "new": 50})
        event = (await it.get("/api/v1/events?newest=true&limit=1")).body["events"][0]
        assert (event["author"], event["origin"]) == ("loopback", "127.0.0.1")

    run(test)


@pytest.mark.parametrize("authorization", [
    "Bearer wrong", "Bearer", "Basic b3BlcmF0b3I6", "Bearer  ", f"Bearer {OPERATOR[:-1]}", f"Bearer {OPERATOR}x",
    f"Bearer {OPERATOR} {OPERATOR}", OPERATOR, f"Token {OPERATOR}", "Bearer " + "x" * 8000,
])
def test_nothing_else_than_a_token_is_one(authorization: str) -> None:
    async def test(it: Asked) -> None:
        assert (await it.get("/api/v1/status", Authorization=authorization)).status == 401

    run(test, settings(tokens=True), start=False)


def test_a_token_in_the_address_is_no_token() -> None:
    async def test(it: Asked) -> None:
        assert (await it.get(f"/api/v1/status?token={OPERATOR}&access_token={OPERATOR}")).status == 401

    run(test, settings(tokens=True), start=False)


def test_guessing_is_slowed_down_and_the_right_token_gets_through_all_the_same() -> None:
    async def test(it: Asked) -> None:
        guesses = [await it.ask("GET", "/api/v1/status", token=f"guess-{number}") for number in range(BURST + 5)]
        assert [guess.status for guess in guesses] == [401] * BURST + [429] * 5
        assert 1 <= int(guesses[-1].headers["Retry-After"]) <= 6
        assert (await it.ask("GET", "/api/v1/status", token=OPERATOR)).status == 200
        assert (await it.ask("GET", "/api/v1/status", token="one-more-guess")).status == 429
        assert (await it.get("/api/v1/status")).status == 401      # nothing was guessed

    run(test, settings(tokens=True), start=False)


def test_guesses_are_one_event_a_minute_without_what_was_guessed_and_a_number_in_the_metrics() -> None:
    async def test(it: Asked) -> None:
        for number in range(BURST + 5):
            await it.ask("GET", "/api/v1/status", token=f"guessed-secret-{number}")
        it.token = OPERATOR
        events = await _events(it, "login-failed")
        assert [(event["author"], event["origin"]) for event in events] == [("unknown", "127.0.0.1")]
        assert "guessed-secret" not in str(events)
        metrics = (await it.get("/metrics")).body
        assert f" {BURST + 5}" in next(line for line in metrics.splitlines() if "login_failures_total" in line
                                       and not line.startswith("#"))

    run(test, settings(tokens=True))


async def _events(it: Asked, verb: str) -> list[dict[str, Any]]:
    """The events of this verb, as soon as there is one."""
    for _ in range(500):
        page = (await it.get("/api/v1/events?limit=1000")).body["events"]
        if found := [event for event in page if event["verb"] == verb]:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"no event {verb}")


def test_a_web_page_that_resolves_its_name_to_loopback_gets_nothing() -> None:
    async def test(it: Asked) -> None:
        for path in ("/livez", "/api/v1/status", "/metrics"):
            answer = await it.get(path, Host="evil.example:9900")
            assert answer.status == 421
            assert "revision" not in answer.body
        assert (await it.post("/api/v1/rollback", {}, Host="evil.example")).status == 421
        assert (await it.get("/livez", Host="localhost:9900")).status == 200
        assert nothing_changed(it)

    run(test)


def test_with_tokens_any_name_will_do_since_no_page_has_the_token() -> None:
    async def test(it: Asked) -> None:
        assert (await it.get("/livez", Host="pod.example")).status == 200
        assert (await it.ask("GET", "/api/v1/status", token=VIEWER, Host="turnout.internal")).status == 200

    run(test, settings(tokens=True), start=False)


FOREIGN: list[dict[str, Any]] = [
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:3000"},
    {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"},
]


@pytest.mark.parametrize("fields", FOREIGN)
@pytest.mark.parametrize("tokens", [False, True])
def test_a_page_of_another_origin_changes_nothing(fields: dict[str, Any], tokens: bool) -> None:
    async def test(it: Asked) -> None:
        it.token = OPERATOR if tokens else None
        for method, path, body in CHANGES:
            answer = await it.ask(method, path, body, **fields)
            assert (answer.status, answer.kind) == (403, "foreign-origin")
        assert nothing_changed(it)

    run(test, settings(tokens=tokens))


def test_a_page_of_its_own_may_change_something() -> None:
    async def test(it: Asked) -> None:
        answer = await it.post("/api/v1/rollback", {}, Origin=it.base, Sec_Fetch_Site="same-origin")
        assert answer.status == 200

    run(test)


FORMS = [
    ("application/x-www-form-urlencoded", b"reason=x"), ("text/plain", b'{"reason": "x"}'),
    ("multipart/form-data; boundary=x", b"--x--"), ("application/x-www-form-urlencoded", b""), ("text/plain", b""),
    ("", b"{}"), ("application/json; charset=utf-16", b"{}"), ("application/jsonp", b"{}"),
    ("text/plain, application/json", b"{}"),
]


@pytest.mark.parametrize(("media", "raw"), FORMS)
def test_a_web_form_changes_nothing_also_without_the_fields_that_tell_on_it(media: str, raw: bytes) -> None:
    async def test(it: Asked) -> None:
        for path in ("rollback", "routes/shop/rollback", "routes/shop/undo", "config/reload", "upgrade"):
            answer = await it.ask("POST", f"/api/v1/{path}", raw=raw, Content_Type=media)
            assert answer.status == 415, answer
        assert nothing_changed(it)

    run(test)


def test_json_is_json_whatever_its_letters_and_its_charset() -> None:
    async def test(it: Asked) -> None:
        for media in ("application/json", "Application/JSON", "application/json; charset=utf-8",
                      'application/json;charset="UTF-8"'):
            assert (await it.ask("POST", "/api/v1/rollback?dry_run=true", raw=b"{}", Content_Type=media)).status == 200
        assert (await it.ask("POST", "/api/v1/rollback?dry_run=true", raw=b"")).status == 200

    run(test)


def test_no_answer_lets_a_page_of_another_origin_read_it() -> None:
    async def test(it: Asked) -> None:
        for method, path in (("GET", "/api/v1/status"), ("OPTIONS", "/api/v1/rollback")):
            answer = await it.ask(method, path, Origin="http://evil.example",
                                  Access_Control_Request_Method="POST")
            assert not [name for name in answer.headers if name.lower().startswith("access-control")]

    run(test)


def test_a_token_that_a_reload_takes_away_is_no_token_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "turnout.yaml"
    monkeypatch.setenv("OPERATOR_TOKEN", OPERATOR)
    monkeypatch.setenv("VIEWER_TOKEN", "another-token-0123456789")

    async def test(it: Asked) -> None:
        assert (await it.ask("GET", "/api/v1/status", token=VIEWER)).status == 200
        assert (await it.ask("POST", "/api/v1/config/reload", token=OPERATOR)).status == 200
        assert (await it.ask("GET", "/api/v1/status", token=VIEWER)).status == 401
        assert (await it.ask("GET", "/api/v1/status", token="another-token-0123456789")).status == 200

    run(test, settings(tokens=True, file=file))


def test_an_address_that_others_can_reach_is_not_opened_by_a_reload_that_leaves_no_token(tmp_path: Path) -> None:
    """The file may then name a loopback address, but the socket stays where it was bound."""
    file = tmp_path / "turnout.yaml"

    async def test(it: Asked) -> None:
        it.base = f"http://127.0.0.1:{it.base.rpartition(':')[2]}"
        it.token = OPERATOR
        assert (await it.get("/api/v1/status")).status == 200
        settings(file=file)
        reloaded = await it.post("/api/v1/config/reload")
        assert reloaded.body["notes"] == ["`admin.listen` takes effect with `turnout upgrade`"]
        for it.token in (None, OPERATOR):
            answer = await it.get("/api/v1/status")
            assert (answer.status, answer.kind) == (403, "no-tokens")
            assert (await it.post("/api/v1/rollback", {})).status == 403
        assert (await it.get("/livez")).status == 200

    run(test, settings(tokens=True, admin="0.0.0.0:0", file=file))


def test_two_host_fields_are_one_too_many() -> None:
    async def main() -> None:
        async with asked(start=False) as it:
            host, _, port = it.base.removeprefix("http://").rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
            assert b" 400 " in await reader.readline()
            writer.close()

    asyncio.run(main())


def test_a_refusal_tells_nothing_of_what_is_there() -> None:
    async def test(it: Asked) -> None:
        answers: list[Answer] = [await it.get(f"/api/v1/routes/{name}") for name in ("shop", "nothing")]
        assert answers[0].body == answers[1].body
        assert answers[0].status == 401

    run(test, settings(tokens=True), start=False)
