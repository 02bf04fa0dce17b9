"""An image without an engine: runs the steps of a Dockerfile in a folder that stands for `/`.

Unlike in a container, paths are mapped instead of hidden (`/opt` is `ROOT/opt`), and commands of the base other than
Python are the host's. Each stage begins with a Python of its own at `ROOT/usr/local`, without bytecode, as in the
official images; the root of the stage before is moved away, so that nothing is there which is not copied.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.dockerfile import Stage, Step, is_ignored

_NOT_IN_SLIM_IMAGES = (
    "site-packages", "dist-packages", "test", "tests", "__pycache__", "idlelib", "tkinter", "config-3*",
)  # fmt: skip
_SECONDS = 110


@dataclass(slots=True)
class Image:
    """The last stage once it is built. `user` is what processes run as; None where only root may choose."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: int | None = None
    health: Step | None = None
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    def path(self, inside: str) -> Path:
        """Where a path of the image is."""
        return self.root / inside.lstrip("/")

    def mapped(self, word: str) -> str:
        """A word of a command with its path, if it is one."""
        return str(self.path(word)) if re.fullmatch(r"/[\w./-]*", word) else word

    def start(self, words: Sequence[str], **environ: str) -> subprocess.Popen[str]:
        """Start a command as the image's user, with the image's environment and nothing else."""
        return subprocess.Popen(
            [self.mapped(word) for word in words],
            cwd=self.path(self.workdir),
            env={**self._base_environ(), **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
        )

    def run(self, words: Sequence[str], **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        with self.start(words, **environ) as process:
            out, err = process.communicate(timeout=_SECONDS)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def _base_environ(self) -> dict[str, str]:
        path = ":".join(self.mapped(part) for part in self.environ.get("PATH", "/usr/local/bin").split(":"))
        return {**self.environ, "PATH": path, "LD_LIBRARY_PATH": str(self.path("/usr/local/lib"))}

    def step(self, step: Step) -> None:
        """Run a RUN step as the builder does, with the host's way to the package index."""
        assert step.exec_form, f"line {step.line}"
        settings = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
        environ = settings | self._base_environ()
        environ["PATH"] += ":/usr/local/bin:/usr/bin:/bin"
        done = subprocess.run(
            [self.mapped(word) for word in _owned(step.words)],
            cwd=self.path(self.workdir), env=environ, capture_output=True, text=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"line {step.line}: {' '.join(step.words)}\n{done.stdout}\n{done.stderr}"


def _owned(words: tuple[str, ...]) -> tuple[str, ...]:
    """A command that gives files away, as somebody who is not root can run it: to himself."""
    if os.geteuid() == 0 or words[0] != "install":
        return words
    mine = {"-o": str(os.getuid()), "-g": str(os.getgid())}
    return tuple(mine.get(before, word) for before, word in zip(("", *words), words, strict=False))


def build(stages: Sequence[Stage], context: Path, root: Path) -> Image:
    """Run every stage; the last one is left at `root`, the others at `root.NAME`."""
    for stage in stages:
        if root.exists():
            root.rename(f"{root}.{stages[stages.index(stage) - 1].name}")
        image = Image(root)
        _put_python(root / "usr/local")
        for step in stage.steps:
            _take(image, step, context)
    return image


def _take(image: Image, step: Step, context: Path) -> None:
    match step.name:
        case "RUN":
            image.step(step)
        case "COPY":
            _copy(image, step, context)
        case "ENV":
            image.environ |= dict(word.split("=", 1) for word in step.words)
        case "WORKDIR":
            image.workdir = step.words[0]
            image.path(image.workdir).mkdir(parents=True, exist_ok=True)
        case "USER":
            image.user = int(step.words[0].partition(":")[0]) if os.geteuid() == 0 else None
        case "HEALTHCHECK":
            image.health = step
        case "ENTRYPOINT":
            image.entrypoint = step.words
        case "CMD":
            image.command = step.words
        case "LABEL" | "EXPOSE" | "VOLUME" | "STOPSIGNAL":
            pass
        case _:
            raise AssertionError(f"line {step.line}: {step.name} is not known here")


def _copy(image: Image, step: Step, context: Path) -> None:
    *sources, target = step.words
    destination = image.path(target) if target.startswith("/") else image.path(image.workdir) / target
    for source in sources:
        if "from" in step.flags:
            origin, ignore = Path(f"{image.root}.{step.flags['from']}") / source.lstrip("/"), None
        else:
            origin, ignore = context / source, _left_out(context)
        if origin.is_dir():
            shutil.copytree(origin, destination, symlinks=True, ignore=ignore, dirs_exist_ok=True)
            continue
        place = destination / origin.name if target.endswith("/") else destination
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(origin, place)


def _left_out(context: Path):  # type: ignore[no-untyped-def]  # what shutil calls it, it has no name for
    rules = (context / ".dockerignore").read_text()

    def ignored(folder: str, names: list[str]) -> set[str]:
        inside = Path(folder).relative_to(context)
        return {name for name in names if is_ignored(str(inside / name), rules)}

    return ignored


def _put_python(prefix: Path) -> None:
    """A Python of its own, relocated: the one that runs the tests, with pip and without bytecode."""
    base, name = Path(sys.base_prefix), f"python{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copytree(base / "lib" / name, prefix / "lib" / name, symlinks=True,
                    ignore=shutil.ignore_patterns(*_NOT_IN_SLIM_IMAGES, "*.pyc"))  # fmt: skip
    for library in base.glob("lib/libpython*.so*"):
        shutil.copy2(library, prefix / "lib" / library.name, follow_symlinks=False)
    (prefix / "bin").mkdir()
    shutil.copy2((base / "bin" / name).resolve(), prefix / "bin" / name)
    (prefix / "bin" / "python").symlink_to(name)
    pip = importlib.util.find_spec("pip")
    assert pip is not None
    assert pip.origin is not None
    source = Path(pip.origin).parent
    shutil.copytree(source, prefix / "lib" / name / "site-packages" / "pip", ignore=shutil.ignore_patterns("*.pyc"))
