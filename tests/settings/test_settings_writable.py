"""Whether something can be written is found out without writing: root may do nearly everything, so others ask, too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from proxy.settings.writable import why_no_file, why_no_folder

NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can reach, unlike those of pytest."""
    with TemporaryDirectory(prefix="turnout-") as path:
        os.chmod(path, 0o755)
        yield Path(path)


def asked_by_nobody(question: str, path: Path) -> str:
    """What somebody without privileges is told."""
    code = (
        f"import os, sys; from proxy.settings.writable import {question}\n"
        f"if os.geteuid() == 0: os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        f"print({question}(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(path)]
    root = Path(__file__).parents[2]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout.strip()


def test_a_folder_that_is_there_or_can_be_made_is_well_and_is_not_made(folder: Path) -> None:
    assert why_no_folder(str(folder)) is None
    assert why_no_folder(str(folder / "a" / "b")) is None
    assert os.listdir(folder) == []


def test_a_file_in_the_way_of_a_folder_is_named(folder: Path) -> None:
    (folder / "file").touch()
    assert why_no_folder(str(folder / "file")) == f"{folder}/file is not a folder"
    assert why_no_folder(str(folder / "file" / "state")) == f"cannot be made: {folder}/file is not a folder"


def test_a_relative_folder_is_one_of_where_turnout_starts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert why_no_folder("state/of/turnout") is None
    assert why_no_file("access.log") is None


def test_a_log_can_be_appended_to_or_made_in_a_folder_that_is_there(folder: Path) -> None:
    (folder / "access.log").write_text("line\n")
    assert why_no_file(str(folder / "access.log")) is None
    assert (folder / "access.log").read_text() == "line\n"
    assert why_no_file(str(folder / "new.log")) is None
    assert why_no_file(str(folder / "none" / "new.log")) == f"the folder {folder}/none does not exist"
    assert why_no_file(str(folder)) == "Is a directory"


def test_a_pipe_that_nobody_reads_is_no_log_and_holds_nobody_up(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert why_no_file(str(folder / "pipe")) == "is a named pipe that nobody reads"


@pytest.mark.parametrize("question", ["why_no_folder", "why_no_file"])
def test_permissions_are_those_of_who_asks(folder: Path, question: str) -> None:
    (folder / "mine").mkdir(mode=0o500)
    (folder / "mine").chmod(0o555)
    path = folder / "mine" / "thing"
    assert "Permission denied" in asked_by_nobody(question, path)
    (folder / "mine").chmod(0o777)
    assert asked_by_nobody(question, path) == "None"


def test_a_file_of_somebody_else_is_no_log(folder: Path) -> None:
    (folder / "access.log").touch()
    (folder / "access.log").chmod(0o444)
    assert asked_by_nobody("why_no_file", folder / "access.log") == "Permission denied"
