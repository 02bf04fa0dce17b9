"""Servers that can be told to fail, stopped, killed and started again at the same address, and what each of them got.

Whoever starts one ends it: use as a context manager. What it got is known also of one that was killed.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks import proc
from benchmarks.loads import fickle_service
from benchmarks.processes import StartError, settle

STANDS_WITHIN_S = 5.0
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Got:
    """A request as a server got it. `sent` (by the client, 0 where it did not say) and `came` in ns."""

    method: str
    id: str
    sent: int
    came: int


def parse_noted(text: str) -> list[Got]:
    """What a server has noted. A last line that was cut off by its death is left out."""
    whole = text[:text.rfind("\n") + 1]
    return [Got(method, number, int(sent), int(came))
            for method, number, sent, came in (line.split(" ") for line in whole.splitlines())]


def got_twice(everything: Iterable[Got], method: str = "POST") -> list[str]:
    """The ids of the requests of this method that came more than once, to whichever server."""
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for each in everything:
        if each.method == method and each.id in seen:
            twice[each.id] = None
        seen.add(each.id)
    return list(twice)


class Fickle:
    """One server, in a process of its own. `name` is in its good answers; its address stays the same for ever."""

    def __init__(self, name: str, folder: Path, cores: Sequence[int] | None = None) -> None:
        self.name = name
        self.port = 0
        self._cores = cores if cores is not None else sorted(os.sched_getaffinity(0))
        self._noted = folder / f"got-{name}-{next(_numbers)}"
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def address(self) -> str:
        """As the file names it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of its process; it must have one."""
        return self._running().pid

    @property
    def is_up(self) -> bool:
        """Whether it has a process."""
        return self._process is not None

    def start(self) -> None:
        """Begin, or begin again: well. Raises StartError. Does nothing where it runs."""
        if self._process is not None:
            return
        command = [sys.executable, fickle_service.__file__,
                   json.dumps({"name": self.name, "port": self.port, "noted": str(self._noted)})]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                         start_new_session=True, preexec_fn=settle(self._cores))
        said = self._hear().split()
        if said[:1] != ["ready"]:
            self.kill()
            raise StartError(f"the server {self.name} did not start")
        self.port = int(said[1])

    def behave(self, words: str) -> None:
        """Behave so from now on; returns when it does. It must neither be stopped nor dead."""
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(f"{words}\n")
        process.stdin.flush()
        if self._hear() != "so be it\n":
            raise StartError(f"the server {self.name} cannot be told to {words!r}")

    def stop(self) -> None:
        """SIGSTOP, and its effect: the kernel goes on accepting for it, and it does nothing."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        give_up = time.monotonic() + STANDS_WITHIN_S
        while not proc.stands_still(process.pid):
            if time.monotonic() > give_up:
                raise StartError(f"the server {self.name} cannot be stopped")
            time.sleep(0.001)

    def go_on(self) -> None:
        """SIGCONT."""
        self._running().send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and its end. Does nothing where it is dead."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process = None

    def fail(self, how: str) -> None:
        """`kill`, `stop`, or what it is told to do."""
        match how:
            case "kill":
                self.kill()
            case "stop":
                self.stop()
            case words:
                self.behave(words)

    def heal(self) -> None:
        """Whatever was done to it: it runs and behaves well."""
        if self._process is None:
            self.start()
            return
        self.go_on()
        self.behave("well")

    def got(self) -> list[Got]:
        """Every request it got so far, also in former lives, in their order."""
        return parse_noted(self._noted.read_text())

    def noted_size(self) -> int:
        """Grows with every request."""
        return self._noted.stat().st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise StartError(f"the server {self.name} is dead")
        return self._process

    def _hear(self) -> str:
        process = self._running()
        assert process.stdout is not None
        return process.stdout.readline()
