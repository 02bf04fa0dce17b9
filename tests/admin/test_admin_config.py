from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.settings import load_bytes
from tests.support.admin import OPERATOR, TOKENS, VIEWER, Asked, run, settings
from tests.support.front import GOOD


async def validate(it: Asked, text: str, media: str = "application/yaml") -> Any:
    answer = await it.ask("POST", "/api/v1/config/validate", raw=text.encode(), Content_Type=media)
    assert answer.status == 200, answer
    return answer.body


def test_the_configuration_in_force_is_shown_with_what_was_changed_since() -> None:
    async def test(it: Asked) -> None:
        await it.split({"old": 50, "new": 50})
        answer = await it.get("/api/v1/config")
        assert (answer.body["revision"], answer.body["file"], answer.headers["ETag"]) == (2, "turnout.yaml", '"2"')
        assert answer.body["config"]["routes"][0]["split"] == {"old": 95, "new": 5}
        assert answer.body["courses"] == {"shop": {"split": {"old": 50.0, "new": 50.0}, "shadow": None}}
        assert answer.body["drained"] == {}

    run(test)


def test_what_is_drained_is_shown_too() -> None:
    async def test(it: Asked) -> None:
        await it.post("/api/v1/versions/new/drain", {"force": True})
        answer = await it.get("/api/v1/config")
        servers = [server.address for server in it.control.commands.settings.versions[1].servers]
        assert answer.body["drained"] == {"new": servers}
        text = (await it.get("/api/v1/config", Accept="application/yaml")).body
        assert f"# drained of version new: {servers[0]}\n" in text
        assert yaml.safe_load(text) == answer.body["config"]

    run(test)


def test_nobody_learns_a_secret_from_it() -> None:
    more = "secret: this-is-the-secret-of-sessions-0123456789\n"

    async def test(it: Asked) -> None:
        it.token = VIEWER
        for accept in ("application/json", "application/yaml"):
            text = str((await it.get("/api/v1/config", Accept=accept)).body)
            for token in it.control.commands.settings.admin.tokens:
                assert token.digest.hex() not in text
            assert "this-is-the-secret" not in text
            assert OPERATOR not in text
            assert "ann" in text

    run(test, settings(tokens=True, more=more))


def test_as_yaml_it_is_a_file_that_loads_to_the_same() -> None:
    async def test(it: Asked) -> None:
        answer = await it.get("/api/v1/config", Accept="application/yaml")
        assert answer.headers["Content-Type"].startswith("application/yaml")
        again = load_bytes(answer.body.encode(), "turnout.yaml", {})
        assert (again.routes, again.versions, again.policy) == (
            it.control.commands.settings.routes, it.control.commands.settings.versions,
            it.control.commands.settings.policy)
        assert yaml.safe_load(answer.body) == (await it.get("/api/v1/config")).body["config"]

    run(test)


def test_a_good_file_is_valid_however_it_is_sent() -> None:
    async def test(it: Asked) -> None:
        for media in ("application/yaml", "text/plain", "text/plain; charset=utf-8"):
            assert await validate(it, GOOD, media) == {"valid": True, "problems": [], "warnings": [], "unread": []}
        answer = await it.post("/api/v1/config/validate", {"config": GOOD})
        assert answer.body["valid"] is True

    run(test, start=False)


def test_every_problem_of_a_file_is_told_with_line_and_column_and_nothing_changes() -> None:
    async def test(it: Asked) -> None:
        found = await validate(it, GOOD.replace("new: 5", "nev: 5") + "wrokers: 4\nworkers: 0\n")
        assert found["valid"] is False
        assert [(problem["line"], problem["column"], problem["path"]) for problem in found["problems"]] == [
            (7, 22, "routes[0].split.nev"), (8, 1, "wrokers"), (9, 10, "workers")]
        assert "did you mean `new`?" in found["problems"][0]["detail"]
        assert it.control.commands.state.revision == 1

    run(test, start=False)


def test_nobody_reads_the_environment_or_a_file_through_a_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An operator's token moves traffic; it is no key to the machine's other secrets."""
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2-hunter2")
    (tmp_path / "token").write_text("a-token-of-sixteen-and-more")

    async def test(it: Asked) -> None:
        for key in ("listen", "workers", "state_dir"):
            found = await validate(it, f"{key}: ${{DATABASE_PASSWORD}}\n{GOOD}")
            assert "hunter2" not in str(found)
            assert found["unread"] == ["${DATABASE_PASSWORD}"]
        answers = [await validate(it, f"admin: {{tokens: [{{name: a, role: operator, token_file: {path}}}]}}\n{GOOD}")
                   for path in (tmp_path / "token", tmp_path / "no-token")]
        assert [(answer["valid"], answer["warnings"]) for answer in answers] == [(True, []), (True, [])]

    run(test, start=False)


@pytest.mark.parametrize(("raw", "media", "status"), [
    (b"", "application/yaml", 422), (b"{}", "application/json", 422), (b'{"config": 5}', "application/json", 422),
    (b"{", "application/json", 400), (b"a: 1", "application/x-www-form-urlencoded", 415), (b"a: 1", "", 415),
    (b"x" * (1024 * 1024 + 1), "application/yaml", 413), (b"\xff\xfe", "text/plain", 200), (b"\x00", "text/plain", 200),
    (b"[" * 100_000, "application/yaml", 200), (b"a: &a [*a]", "application/yaml", 200),
])
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_what_cannot_be_a_file_is_refused_or_has_problems(raw: bytes, media: str, status: int) -> None:
    async def test(it: Asked) -> None:
        answer = await it.ask("POST", "/api/v1/config/validate", raw=raw, Content_Type=media)
        assert answer.status == status, answer
        assert status != 200 or answer.body["valid"] is False

    run(test, start=False)


def test_the_file_is_read_anew_when_it_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "turnout.yaml"

    async def test(it: Asked) -> None:
        same = await it.post("/api/v1/config/reload")
        assert (same.status, same.body["revision"], same.body["applied"]) == (200, 1, None)
        file.write_text(file.read_text().replace("new: 5", "new: 15"))
        dry = await it.post("/api/v1/config/reload?dry_run=true")
        assert (dry.body["dry_run"], dry.body["routes"][0]["split"]["new"]) == (True, 15)
        assert (await it.get("/api/v1/routes/shop")).body["split"]["new"] == 5
        answer = await it.post("/api/v1/config/reload", {"reason": "release"}, If_Match='"1"')
        assert (answer.body["revision"], answer.body["applied"]["workers"]) == (2, 2)
        assert answer.body["routes"][0]["split"]["new"] == 15
        assert answer.headers["ETag"] == '"2"'
        assert (await it.post("/api/v1/config/reload", If_Match='"1"')).status == 412

    run(test, settings(file=file))


def test_a_bad_file_changes_nothing_and_every_problem_is_in_the_answer(tmp_path: Path) -> None:
    file = tmp_path / "turnout.yaml"

    async def test(it: Asked) -> None:
        file.write_text("listen: nowhere\nroutes: 5\n")
        answer = await it.post("/api/v1/config/reload")
        assert (answer.status, answer.kind) == (422, "bad-file")
        assert any(f"{file}:1:9" in fault["detail"] for fault in answer.body["errors"])
        status = (await it.get("/api/v1/status")).body
        assert (status["revision"], status["reload"]["ok"]) == (1, False)

    run(test, settings(file=file))


def test_a_route_that_comes_with_the_file_can_be_moved_at_once(tmp_path: Path) -> None:
    file = tmp_path / "turnout.yaml"

    async def test(it: Asked) -> None:
        file.write_text(file.read_text() + "  - {name: more, match: {path: /more}, split: {old: 1, new: 0}}\n")
        assert [route["name"] for route in (await it.post("/api/v1/config/reload")).body["routes"]] == [
            "shop", "api", "more"]
        assert (await it.split({"old": 1, "new": 1}, "more")).body["route"]["shares"]["new"] == 0.5
        file.write_text(file.read_text().rpartition("  - {name: more")[0])
        assert len((await it.post("/api/v1/config/reload")).body["routes"]) == 2
        assert (await it.split({"old": 1, "new": 1}, "more")).status == 404
        assert (await it.get("/api/v1/status")).status == 200

    run(test, settings(file=file))


def test_without_a_file_there_is_nothing_to_read() -> None:
    assert set(TOKENS) == {"OPERATOR_TOKEN", "VIEWER_TOKEN"}

    async def test(it: Asked) -> None:
        answer = await it.post("/api/v1/config/reload")
        assert answer.status in (409, 422)

    run(test)
