"""The Dockerfile as text: what can be known of it without an engine. What its steps do is in test_container_steps."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest

from proxy.settings import load_file
from tests.support.dockerfile import EXEC_FORM, Stage, is_ignored, read

ROOT = Path(__file__).parents[2]
IGNORE = (ROOT / ".dockerignore").read_text()
STAGES = read(ROOT / "Dockerfile")
FINAL = STAGES[-1]


def only(stage: Stage, name: str) -> tuple[str, ...]:
    """The words of the only step of this name."""
    (step,) = stage.of(name)
    return step.words


def test_every_command_is_in_exec_form_so_that_no_shell_is_needed() -> None:
    commands = [step for stage in STAGES for step in stage.steps if step.name in EXEC_FORM]
    assert [step.line for step in commands if not step.exec_form] == []


def test_it_has_a_stage_that_builds_and_one_that_runs_on_the_same_base_pinned_by_tag() -> None:
    assert [stage.name for stage in STAGES] == ["build", ""]
    assert STAGES[0].base == FINAL.base
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", FINAL.base)


def test_every_file_it_copies_is_there_and_reaches_the_builder() -> None:
    for stage in STAGES:
        for step in stage.of("COPY"):
            for source in step.words[:-1] if "from" not in step.flags else ():
                assert (ROOT / source).exists(), f"line {step.line}: {source}"
                assert not is_ignored(source, IGNORE), f"line {step.line}: {source} is in .dockerignore"


def test_what_it_copies_from_another_stage_is_made_there() -> None:
    for step in FINAL.of("COPY"):
        if "from" in step.flags:
            made = {word for other in STAGES[0].of("RUN") for word in other.words}
            assert set(step.words[:-1]) <= made


@pytest.mark.parametrize(
    "path",
    [".git/config", ".venv/bin/python", "tests/conftest.py", "config/full.yaml", ".env", "proxy/__pycache__/a.pyc",
     "proxy/core/__pycache__/route.cpython-311.pyc", "benchmarks/report.py", ".turnout/journal.db"],
)  # fmt: skip
def test_nothing_else_reaches_the_builder(path: str) -> None:
    assert is_ignored(path, IGNORE)


def test_it_runs_as_a_number_that_is_not_root() -> None:
    (user,) = only(FINAL, "USER")
    assert re.fullmatch(r"([1-9][0-9]+):\1", user)
    owner = next(step.words for step in FINAL.of("RUN") if step.words[0] == "install")
    assert owner[owner.index("-o") + 1] == owner[owner.index("-g") + 1] == user.partition(":")[0]
    assert FINAL.steps.index(FINAL.of("USER")[0]) > FINAL.steps.index(FINAL.of("RUN")[-1]), "steps need root"


def test_it_stops_and_is_asked_for_its_health_as_documented() -> None:
    assert only(FINAL, "STOPSIGNAL") == ("SIGTERM",)
    (health,) = FINAL.of("HEALTHCHECK")
    assert health.words == ("/opt/turnout/bin/turnout", "healthcheck")
    assert float(health.flags["timeout"].removesuffix("s")) > 2, "healthcheck itself gives up after 2 s"
    assert only(FINAL, "ENTRYPOINT") == ("/opt/turnout/bin/turnout",)
    assert only(FINAL, "CMD")[0] == "run"


def test_only_pinned_packages_get_in() -> None:
    for stage in STAGES:
        for step in stage.of("RUN"):
            if "pip" in step.words and "install" in step.words:
                assert "--require-hashes" in step.words or {"--no-deps", "--no-index"} <= set(step.words)


def test_what_builds_the_wheel_is_pinned_as_for_development_and_complete() -> None:
    def pins(path: Path) -> dict[str, str]:
        blocks = re.findall(r"^([a-z0-9-]+)(==.*?)(?=^[a-z#]|\Z)", path.read_text(), re.MULTILINE | re.DOTALL)
        return {name: re.sub(r"\s+", " ", pin) for name, pin in blocks}

    build, development = pins(ROOT / "config/container/requirements-build.txt"), pins(ROOT / "requirements-dev.txt")
    assert build == {name: development[name] for name in build}
    needed = {"hatchling", *(importlib.metadata.requires("hatchling") or ())}
    names = {re.split(r"[><=!~ ;]", text)[0] for text in needed if "python_version <" not in text}
    assert names == set(build)


def test_the_shipped_configuration_is_right_and_fits_the_image() -> None:
    settings = load_file(ROOT / "config/container/turnout.yaml", {})
    assert settings.warnings == ()
    assert settings.state_dir == only(FINAL, "VOLUME")[0] == only(FINAL, "WORKDIR")[0]
    ports = {str(listen.port) for listen in (*settings.listen, settings.admin.listen)}
    assert ports == set(only(FINAL, "EXPOSE"))
    assert only(FINAL, "CMD")[-1] in {step.words[-1] for step in FINAL.of("COPY")}
    assert settings.policy.timeouts.drain == 30, "the Dockerfile says so"


def test_its_variables_are_those_that_the_comment_names() -> None:
    environ = {"TURNOUT_OLD": "http://a:1", "TURNOUT_NEW": "unix:/n"}
    settings = load_file(ROOT / "config/container/turnout.yaml", environ)
    assert [version.servers[0].address for version in settings.versions] == ["http://a:1", "unix:/n"]


def test_nothing_is_written_beside_the_code() -> None:
    assert FINAL.environ["PYTHONDONTWRITEBYTECODE"] == "1"
    assert any("compileall" in step.words for step in FINAL.of("RUN"))
