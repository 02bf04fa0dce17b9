"""A file checked for somebody else: what the one who sends it must not learn from the answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.settings.inspection import Inspection, inspect_bytes
from tests.support.front import GOOD


def inspect(text: str) -> Inspection:
    return inspect_bytes(text.encode(), "config")


def told(found: Inspection) -> str:
    return repr(found)


def test_a_file_that_loads_is_found_good() -> None:
    assert inspect(GOOD) == Inspection((), (), ())


def test_every_problem_is_told_with_its_place() -> None:
    found = inspect(GOOD.replace("new: 5", "nev: 5").replace("name: shop", "nmae: shop"))
    assert [problem.where for problem in found.problems] == ["config:6:5", "config:6:5", "config:7:22"]
    assert "did you mean `new`?" in found.problems[-1].message


@pytest.mark.parametrize("line", [
    "listen: ${SECRET}", "workers: ${SECRET}", "secret: ${SECRET}", "access_log: ${SECRET}",
    "listen: [\"${SECRET}:1\"]",
    "trusted_proxies: [\"${SECRET}\"]", "timeouts: {drain: \"${SECRET}\"}", "limits: {head: \"a${SECRET}b\"}",
    "state_dir: ${SECRET}", "watch: ${SECRET:-5x}",
])
def test_no_answer_depends_on_what_a_variable_holds(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []
    for value in ("127.0.0.1:8080", "hunter2-hunter2-hunter2", "4"):
        monkeypatch.setenv("SECRET", value)
        answers.append(inspect(f"{line}\n{GOOD}"))
    monkeypatch.delenv("SECRET")
    answers.append(inspect(f"{line}\n{GOOD}"))
    assert len(set(map(told, answers))) == 1
    assert answers[0].unread == ("${SECRET}",)
    assert not answers[0].problems


def test_whether_two_names_hold_the_same_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "shop")
    second = "  - {name: \"${SECRET}\", match: {path: /a}, split: {old: 1}}\n"
    assert not inspect(GOOD + second).problems


def test_what_is_wrong_beside_a_variable_is_told_all_the_same() -> None:
    found = inspect(f"listen: ${{LISTEN}}\nwrokers: 4\n{GOOD}")
    assert [problem.where for problem in found.problems] == ["config:2:1"]


def test_nothing_is_concluded_from_health_and_load_that_variables_hold() -> None:
    found = inspect("""\
limits: {client_rate: "${RATE}", client_burst: 5}
versions:
  old: {servers: [http://127.0.0.1:9001], probe: "${PROBE}", eject: {for: "${FOR}", at_most: 50ms}}
  new: {servers: [http://127.0.0.1:9002], queue: "${QUEUE}", breaker: "${BREAKER}"}
routes:
  - {name: shop, split: {old: 1, new: 1}, when_down: hold, rescue: "${RESCUE}", retry: {on: ["${CAUSE}"]}}
""")
    assert found.problems == found.warnings == ()


def test_no_file_is_opened_and_none_is_known_to_be_there(tmp_path: Path) -> None:
    there = tmp_path / "token"
    there.write_text("a-token-of-sixteen-and-more\n")
    answers = []
    for path in (there, tmp_path / "missing"):
        admin = f"admin: {{tokens: [{{name: ci, role: operator, token_file: {path}}}]}}\n"
        answers.append(inspect(admin + GOOD))
    assert [answer.problems for answer in answers] == [(), ()]
    assert [answer.warnings for answer in answers] == [(), ()]
    assert answers[0].unread == (str(there),)


def test_a_token_s_variable_is_not_read_and_two_that_share_one_are_found() -> None:
    tokens = ("admin: {tokens: [{name: a, role: operator, token_env: A_TOKEN}, "
              "{name: b, role: viewer, token_env: %s}]}\n")
    assert not inspect(tokens % "B_TOKEN" + GOOD).problems
    assert inspect(tokens % "B_TOKEN" + GOOD).unread == ("${A_TOKEN}", "${B_TOKEN}")
    assert "same token" in inspect(tokens % "A_TOKEN" + GOOD).problems[0].message


@pytest.mark.parametrize("text", ["", "[1]", "a: [", "\x00", "a: &a [*a]\n", "versions: ${\n"])
def test_what_is_no_configuration_is_a_problem_and_no_failure(text: str) -> None:
    assert inspect(text).problems
