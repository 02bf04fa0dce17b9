"""Workers that outlived their supervisor: how a new one finds them, takes over their sockets and sends them home.

An orphan is a worker process (its command line says so) of this user, in this network, on one of our addresses, whose
parent is no longer the supervisor that started it. Each is asked for its sockets where `ipc.heirloom` says. One that
does not answer is stuck: connections that the kernel sends to it would hang for ever, so it is ended.

Invariant: a worker whose supervisor lives is never touched.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec
import structlog

from proxy.clock import monotonic
from proxy.controlplane.workers.listeners import Bound
from proxy.ipc import heirloom
from proxy.ipc.heirloom import Ask

log = structlog.get_logger("orphans")

ANSWER_S = 1.0
"""How long a start waits for the answer of an orphan; one that is well needs milliseconds."""
_LOOK_EVERY_S = 0.01
_ENDED_WITHIN_S = 1.0
_PROC = Path("/proc")
_MODULE = b"proxy.dataplane"


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker process without its supervisor. `here`: whether it surely is in our network, None if nobody can say."""

    pid: int
    here: bool | None


class Orphan:
    """One orphan that answered; `line` leads to it and ends when it does."""

    def __init__(self, pid: int, line: socket.socket, revision: int) -> None:
        self.pid = pid
        self.revision = revision
        self.line = line
        self.is_quiet = asyncio.Event()
        self.is_gone = asyncio.Event()

    def ask(self, wish: Ask) -> None:
        """Tell it something; nothing happens when it is gone."""
        try:
            heirloom.send(self.line, wish)
        except OSError:
            pass  # the line ends, and whoever watches it sees that

    def hear(self) -> None:
        """Take in what it says."""
        try:
            told = heirloom.receive_tell(self.line)
        except BlockingIOError:
            return
        except (OSError, msgspec.DecodeError):
            told = None
        if told is None:
            self._is_over()
            return
        for sock in told[1]:
            sock.close()
        if told[0].tell == "quiet":
            self.is_quiet.set()

    def _is_over(self) -> None:
        asyncio.get_running_loop().remove_reader(self.line)
        self.line.close()
        self.is_quiet.set()
        self.is_gone.set()


class Orphans:
    """All orphans on our addresses: a `Predecessor`. `sockets` are copies of theirs, for `open_listeners`."""

    def __init__(self, members: Sequence[Orphan] = (), sockets: Sequence[Bound] = ()) -> None:
        self.members = tuple(members)
        self.sockets = tuple(sockets)
        self._told = False

    @property
    def left_alone(self) -> bool:
        """Whether there are any, and nobody has told them to leave."""
        return bool(self.members) and not self._told

    @property
    def has_gone(self) -> bool:
        """Whether each has ended."""
        return all(orphan.is_gone.is_set() for orphan in self.members)

    def leave(self, within_s: float) -> None:
        """Tell each to accept nothing new and to finish within so many seconds."""
        if self._told:
            return
        self._told = True
        loop = asyncio.get_running_loop()
        for orphan in self.members:
            loop.add_reader(orphan.line, orphan.hear)
            orphan.ask(Ask("leave", within_s))

    async def quiet(self) -> None:
        """Wait until no request can begin at any of them. Only after `leave`."""
        for orphan in self.members:
            await orphan.is_quiet.wait()

    async def gone(self) -> None:
        """Wait until each has ended. Only after `leave`."""
        for orphan in self.members:
            await orphan.is_gone.wait()

    def cut_off(self, pairs: Iterable[tuple[str, str]]) -> None:
        """End what runs for these (route, version) pairs."""
        for orphan in self.members:
            orphan.ask(Ask("cut", pairs=tuple(pairs)))

    def kill(self, reason: str, *, unless_quiet: bool = False) -> None:
        """End those that are still there, or of these only those that may still begin a request."""
        for orphan in self.members:
            if not (orphan.is_gone.is_set() or (unless_quiet and orphan.is_quiet.is_set())):
                log.error("orphan ended", pid=orphan.pid, because=reason)
                _end(orphan.pid)

    def forget(self) -> None:
        """Let them be: they serve on until their own time is up."""
        loop = asyncio.get_running_loop()
        for orphan in self.members:
            if orphan.line.fileno() >= 0:
                loop.remove_reader(orphan.line)
                orphan.line.close()


def find_orphans(addresses: Iterable[str], within_s: float = ANSWER_S, *, supervisor: int = 0) -> Orphans:
    """Return the workers that serve these addresses without a supervisor, with copies of their sockets.

    Those of the `supervisor` with this process id are ours wherever they serve: the addresses may have been changed.
    Takes milliseconds, or `within_s` seconds when one of them does not answer; that one is ended. It blocks: there is
    nothing else to do before the sockets are there.
    """
    wanted = frozenset(address.encode() for address in addresses)
    if sys.platform != "linux" or not wanted:
        return Orphans()
    deadline = monotonic() + within_s
    found: dict[int, Orphan] = {}
    sockets: list[Bound] = []
    while silent := [lost for lost in _lost_workers(wanted, supervisor) if lost.pid not in found]:
        if monotonic() > deadline:
            _end_stuck(silent)
            break
        answers = list(_ask_all(silent, deadline))
        for orphan, lent in answers:
            found[orphan.pid] = orphan
            sockets += lent
        if len(answers) < len(silent):
            time.sleep(_LOOK_EVERY_S)
    return Orphans(tuple(found.values()), sockets)


def _lost_workers(wanted: frozenset[bytes], supervisor: int) -> list[Lost]:
    """Look through /proc; a process that ends meanwhile, or is somebody else's, is none of ours."""
    lost = [Lost(int(folder.name), _is_here(folder)) for folder in _PROC.glob("[0-9]*")
            if _is_lost(folder, wanted, supervisor)]
    return [each for each in lost if each.here is not False]


def _is_lost(folder: Path, wanted: frozenset[bytes] | None = None, supervisor: int = 0) -> bool:
    """Whether this process is a worker (of one of the `wanted` addresses, or of `supervisor`) of ours without one."""
    try:
        words = (folder / "cmdline").read_bytes().split(b"\0")
        if _MODULE not in words:
            return False
        started_by = _supervisor_in(words)
        if wanted is not None and started_by != supervisor and not wanted & set(_addresses_in(words)):
            return False
        return folder.stat().st_uid == os.geteuid() and _parent_of(folder) != started_by
    except (OSError, ValueError):
        return False


def _addresses_in(words: Sequence[bytes]) -> Iterator[bytes]:
    for option, value in pairwise(words):
        if option == b"--listen":
            yield value.partition(b"=")[2]


def _supervisor_in(words: Sequence[bytes]) -> int:
    return int(words[words.index(b"--supervisor") + 1])


def _parent_of(folder: Path) -> int:
    return int(_stat_of(folder)[1])


def _has_ended(pid: int) -> bool:
    """Whether it holds nothing any more, though its parent may not have looked after it yet."""
    try:
        return _stat_of(_PROC / str(pid))[0] in "ZX"
    except OSError:
        return True


def _stat_of(folder: Path) -> list[str]:
    """State, parent and so on (proc_pid_stat(5), from the third field on). Raises OSError."""
    # The name of the program stands in brackets and may hold anything, brackets too.
    return (folder / "stat").read_text().rpartition(")")[2].split()


def _is_here(folder: Path) -> bool | None:
    """Whether the process is in our network namespace: the same address in another one is another address."""
    try:
        return (folder / "ns/net").readlink() == Path("/proc/self/ns/net").readlink()
    except OSError:
        return None


def _ask_all(lost: Iterable[Lost], deadline: float) -> Iterator[tuple[Orphan, list[Bound]]]:
    """Ask all at once, then take what they answer in time: one that is stuck does not hold up the others."""
    lines = {line.fileno(): (each.pid, line) for each in lost if (line := _line_to(each.pid)) is not None}
    poll = select.poll()
    for descriptor in lines:
        poll.register(descriptor, select.POLLIN)
    while lines and (remaining_s := deadline - monotonic()) > 0:
        for descriptor, _ in poll.poll(1000 * remaining_s):
            poll.unregister(descriptor)
            pid, line = lines.pop(descriptor)
            if (answered := _answer_of(pid, line)) is not None:
                yield answered
    for _, line in lines.values():
        line.close()


def _line_to(pid: int) -> socket.socket | None:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.setblocking(False)
    try:
        line.connect(heirloom.meeting_place(pid, heirloom.token_of(pid)))
        if heirloom.peer_of(line) == (pid, os.geteuid()):
            heirloom.send(line, Ask("estate"))
            return line
    except OSError:  # it has not noticed yet that it is alone, or is gone
        pass
    line.close()
    return None


def _answer_of(pid: int, line: socket.socket) -> tuple[Orphan, list[Bound]] | None:
    try:
        told = heirloom.receive_tell(line)
    except (OSError, msgspec.DecodeError):
        told = None
    if told is None:
        line.close()
        return None
    tell, sockets = told
    return Orphan(pid, line, tell.revision), list(zip(tell.addresses, sockets, strict=False))


def _end_stuck(stuck: Iterable[Lost]) -> None:
    ours = [lost.pid for lost in stuck if lost.here]
    for pid in ours:
        log.error("orphan ended", pid=pid, because="it does not answer")
        _end(pid)
    deadline = monotonic() + _ENDED_WITHIN_S
    while not all(map(_has_ended, ours)) and monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)  # until then the address is theirs


def _end(pid: int) -> None:
    """End an orphan (SIGKILL); nothing happens when it is gone, also when its id is another process's meanwhile."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except OSError:  # a kernel before 5.3, or a filter of system calls
        if _is_lost(_PROC / str(pid)):
            os.kill(pid, signal.SIGKILL)
        return
    try:
        if _is_lost(_PROC / str(pid)):  # who is held by a descriptor does not give its id to another one
            signal.pidfd_send_signal(process, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(process)
