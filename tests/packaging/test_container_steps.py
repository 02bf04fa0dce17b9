"""What the Dockerfile says, done: its steps run in a folder of their own, and what comes of them serves and stops.

No engine runs here, so this is not a container: paths are mapped (tests/support/image.py). That a read-only root file
system does is shown by the installation being somebody else's and nothing of it having changed afterwards.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.support.dockerfile import read
from tests.support.image import Image, build
from tests.support.origins import Origin, answering, ok
from tests.support.turnout import Turnout

ROOT = Path(__file__).parents[2]
STAGES = read(ROOT / "Dockerfile")
PYTHON = f"python:{sys.version_info.major}.{sys.version_info.minor}-"
STATE = "/var/lib/turnout"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike those of pytest."""
    path = Path(mkdtemp(prefix="turnout-image-"))
    path.chmod(0o755)
    yield path
    for below in path.rglob("*"):
        if below.is_dir() and not below.is_symlink():
            below.chmod(0o755)
    shutil.rmtree(path)


def contents(root: Path) -> dict[str, tuple[int, int]]:
    """Every file but the state's: when it changed last, and its size."""
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_size)
        for path in root.rglob("*")
        if not path.is_relative_to(root / STATE.lstrip("/"))
    }


def make_read_only(image: Image) -> None:
    """Root's files cannot be changed by another user anyway; who is not root gives up the right to change his own."""
    for path in image.root.rglob("*"):
        mode = path.lstat().st_mode
        if image.user is None and not stat.S_ISLNK(mode) and not path.is_relative_to(image.path(STATE)):
            path.chmod(mode & ~0o222)
        assert stat.S_ISLNK(mode) or not mode & 0o022, f"others may write {path}"


@pytest.mark.skipif(not STAGES[0].base.startswith(PYTHON), reason="the image is built on another version of Python")
@pytest.mark.timeout(300)
def test_the_steps_of_the_dockerfile_make_an_image_that_serves(folder: Path) -> None:
    image = build(STAGES, ROOT, folder / "root")
    assert not (folder / "root/src").exists(), "the sources stay in the stage that builds"
    shutil.rmtree(folder / "root.build")
    make_read_only(image)
    before = contents(image.root)
    only_turnout_and_what_it_needs_is_there(image)
    the_commands_work(image)
    it_runs_is_healthy_and_stops(image)
    assert contents(image.root) == before, "somebody wrote outside of the volume"
    assert os.listdir(image.path(STATE)), "the journal is in the volume"


def only_turnout_and_what_it_needs_is_there(image: Image) -> None:
    installed = {path.name.partition("-")[0] for path in image.path("/opt/turnout/lib").rglob("*.dist-info")}
    assert "turnout" in installed
    assert not installed & {"pip", "hatchling", "pytest"}
    sources = [path for path in image.path("/opt/turnout/lib").rglob("*.py") if "/proxy/" in str(path)]
    assert sources
    tag = sys.implementation.cache_tag
    assert [path for path in sources if not (path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc").exists()] == []


def the_commands_work(image: Image) -> None:
    turnout = image.entrypoint
    code = "import proxy, os; print(proxy.__file__, os.getuid())"
    where, user = image.run(["/opt/turnout/bin/python", "-c", code]).stdout.split()
    assert Path(where).is_relative_to(image.path("/opt/turnout"))
    assert user != "0"
    version = image.run([*turnout, "--version"])
    assert version.stdout.startswith("turnout "), version.stderr
    check = image.run([*turnout, "check", "-c", image.command[-1]])
    assert check.returncode == 0, check.stderr
    assert "admin     127.0.0.1:9900 (this machine only, no token asked for)" in check.stdout
    assert "warning" not in check.stdout


def it_runs_is_healthy_and_stops(image: Image) -> None:
    config = image.path(image.command[-1])
    shipped, changed = config.read_bytes(), config.lstat()
    text = shipped.decode().replace("0.0.0.0:8080", "127.0.0.1:0").replace("127.0.0.1:9900", "127.0.0.1:0")
    ours = image.path(STATE) / "turnout.yaml"      # ports that are free here, and the volume where it is mapped to
    ours.write_text(text.replace(STATE, str(image.path(STATE))))
    assert (config.read_bytes(), config.lstat()) == (shipped, changed)
    assert image.health is not None
    with Origin(answering(ok(b"from the container"))) as origin:
        command = [*image.entrypoint, *image.command[:-1], f"{STATE}/turnout.yaml"]
        turnout = Turnout(image.start(command, TURNOUT_OLD=origin.url))
        try:
            assert turnout.ask() == (200, b"from the container")
            healthy = image.run(image.health.words, TURNOUT_ADMIN=turnout.admin)
            assert healthy.returncode == 0, healthy.stderr
            turnout.tell(signal.SIGTERM)
            assert turnout.wait() == 0, turnout.output
            assert image.run(image.health.words, TURNOUT_ADMIN=turnout.admin).returncode == 1
        finally:
            turnout.process.kill()
            turnout.wait()
            for pipe in (turnout.process.stdout, turnout.process.stderr):
                assert pipe is not None
                pipe.close()
