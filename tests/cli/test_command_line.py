from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy import __version__
from proxy.cli.main import VERBS, main

HEAVY = {"aiohttp", "asyncio", "msgspec", "pydantic", "structlog", "uvloop", "yaml"}


def loaded_by(program: str) -> set[str]:
    code = f"import sys\ntry:\n    {program}\nexcept SystemExit:\n    pass\nprint('LOADED', *sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in run.stdout.partition("LOADED")[2].split()}


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_what_needs_no_verb_imports_no_verb(arguments: list[str]) -> None:
    loaded = loaded_by(f"from proxy.cli.main import main; main({arguments})")
    assert "click" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("verb", [["status"], ["weight", "shop", "10"], ["rollback"], ["explain", "/"], ["events"],
                                  ["config"], ["reload"], ["drain", "old"], ["shadow", "shop"],
                                  ["shadow", "shop", "learn"]],
                         ids=lambda verb: str(verb[0]))
def test_a_verb_asks_without_a_heavy_client(verb: list[str]) -> None:
    loaded = loaded_by(f"from proxy.cli.main import main; main({[*verb, '--admin', 'http://127.0.0.1:1']})")
    assert "click" in loaded
    assert not loaded & HEAVY


def test_the_version_is_the_package_s() -> None:
    assert CliRunner().invoke(main, ["--version"]).output == f"turnout {__version__}\n"


def test_help_lists_every_verb() -> None:
    output = CliRunner().invoke(main, ["--help"]).output
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", output, re.MULTILINE)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    result = CliRunner().invoke(main, [verb, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith("Usage: main " + verb)


def test_an_unknown_verb_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["rum"]).exit_code == 2


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "proxy", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.run(
        [sys.executable, "-P", "-m", "proxy", "run", *arguments],
        cwd=cwd, env={"PYTHONPATH": root}, capture_output=True, text=True, timeout=60, check=False,
    )


def test_run_without_anything_names_the_two_ways(tmp_path: Path) -> None:
    result = run(cwd=tmp_path)
    assert result.returncode == 2
    assert "turnout run -c FILE" in result.stderr
    assert "turnout run --old http" in result.stderr


URLS = ("--old", "http://127.0.0.1:1", "--new", "http://127.0.0.1:2")


@pytest.mark.parametrize(("arguments", "said"), [
    (["--old", "http://127.0.0.1:1"], "--new is missing"),
    (["--new", "http://127.0.0.1:1"], "--old is missing"),
    (["-c", "turnout.yaml", *URLS], "exclude each other"),
    (["-c", "turnout.yaml", "--workers", "2", "--state-dir", "x"], "--workers, --state-dir: with a file"),
])
def test_flags_that_do_not_go_together_are_a_usage_error(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["run", *arguments])
    assert result.exit_code == 2
    assert said in result.output


def test_a_wrong_file_starts_nothing_and_every_problem_is_told(tmp_path: Path) -> None:
    (tmp_path / "turnout.yaml").write_text("listen: nowhere\nversions: {}\nrotues: []\n")
    result = run(cwd=tmp_path)
    assert result.returncode == 3
    said = result.stderr.splitlines()
    assert len(said) == 4
    assert all(line.startswith("turnout.yaml:") for line in said)
    assert "did you mean" in result.stderr


def test_a_wrong_flag_is_named(tmp_path: Path) -> None:
    result = run(*URLS, "--weight", "101", cwd=tmp_path)
    assert result.returncode == 3
    assert result.stderr.startswith("--weight: ")


@pytest.mark.parametrize("which", ["--listen", "--admin"])
def test_a_port_that_is_taken_ends_the_start_with_what_to_do(which: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        others = {"--listen": "127.0.0.1:0", "--admin": "127.0.0.1:0", which: address}
        result = run(*URLS, *(part for pair in others.items() for part in pair), cwd=tmp_path)
    assert result.returncode == 1
    assert f"turnout: cannot listen on {address}: " in result.stderr
    assert "choose another address" in result.stderr
    assert "Traceback" not in result.stderr
