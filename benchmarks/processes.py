"""Programs that a run starts: each pinned to a core, each ended by its process id, also when the run is interrupted.

Invariant: whatever `start` began is stopped by `close`; a process whose parent dies is told so by the kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from benchmarks import proc

PR_SET_PDEATHSIG = 1
STOP_WITHIN_S = 5.0
LIBC = ctypes.CDLL(None, use_errno=True)


class StartError(Exception):
    """A program did not come up; the message carries the end of what it wrote."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Where things run: the proxy on one core, load and backend on another; the same one if there is no second."""

    proxy: int
    load: int

    @property
    def shared(self) -> bool:
        return self.proxy == self.load


def choose_cores(usable: Iterable[int]) -> Cores:
    """The first two usable cores (proxy, load); on a machine with one core both are that one."""
    cores = sorted(usable)
    return Cores(proxy=cores[0], load=cores[1] if len(cores) > 1 else cores[0])


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Program:
    """A started program and where it writes its errors."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def tail(self) -> str:
        """The last lines of its log, long ones cut."""
        return "\n".join(line[:300] for line in self.log.read_text(errors="replace").splitlines()[-8:])

    def stop(self) -> None:
        """SIGTERM, then after five seconds SIGKILL, to exactly the processes of its tree and its session.

        The session, because a worker may outlive its supervisor and a supervisor be succeeded by another one.
        """
        family = self._family()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                family += self._family()
                self.process.kill()
                self.process.wait()
        for member in family:
            if member.pid != self.pid and proc.is_same(member):
                kill(member.pid)

    def _family(self) -> list[proc.Process]:
        return proc.tree(self.pid) + proc.session(self.pid)


def kill(pid: int) -> None:
    """SIGKILL; nothing happens to one that is gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def settle(cores: Sequence[int]) -> Callable[[], None]:
    """What a child does before it becomes the program: go to its cores, and end when the run does."""

    def in_child() -> None:
        os.sched_setaffinity(0, cores)
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return in_child


@dataclass(slots=True)
class Programs:
    """All programs of a run. Use as a context manager: leaving it stops them, the last one first."""

    folder: Path
    running: list[Program] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str], cores: Sequence[int],
              environ: Mapping[str, str] | None = None) -> Program:
        """Start `command` on `cores`, in a session of its own: Ctrl-C reaches only the run, which then stops it."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as sink:
            process = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd=self.folder,
                env={**os.environ, **(environ or {})}, start_new_session=True, preexec_fn=settle(cores))
        program = Program(name, process, log)
        self.running.append(program)
        return program

    def stop(self, program: Program) -> None:
        """End one program before the others."""
        program.stop()
        self.running.remove(program)

    def close(self) -> None:
        for program in reversed(self.running):
            program.stop()
        self.running.clear()

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def wait_until_it_answers(program: Program, ask: Callable[[], bool], within_s: float = 15.0) -> None:
    """Poll `ask` (OSError counts as no) until it says yes. Raises StartError when the program ends or time runs out."""
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        if program.process.poll() is not None:
            raise StartError(f"{program.name} ended with {program.process.returncode}:\n{program.tail()}")
        try:
            if ask():
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise StartError(f"{program.name} did not answer within {within_s:g} s:\n{program.tail()}")
