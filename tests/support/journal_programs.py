"""Programs that tests of the journal run as processes of their own, to kill them, or to take their disk away.

Each writes what it has reached as lines to its standard output, unbuffered: a line is an acknowledgement.
"""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from proxy.controlplane.journal.errors import StateError
from proxy.controlplane.journal.journal import Journal, JournalError
from proxy.controlplane.journal.schema import MIGRATIONS, migrate
from tests.support.journal_story import event, first_state, with_split

ROUTES = 5
KEEP = 20
STEPS = 400
LITTLE = 200_000
ENOUGH = 600_000


def say(line: object) -> None:
    os.write(1, f"{line}\n".encode())


def write(folder: str) -> None:
    """Change one route after the other, until killed; say each revision once it is acknowledged."""
    say("start")
    journal = Journal.open(folder, keep=KEEP)
    state = journal.state or first_state(ROUTES)
    while True:
        state = with_split(state, f"route-{state.revision % ROUTES}", state.revision % 100)
        journal.append([event(state.revision)], state)
        say(state.revision)


def many_migrations() -> list[Callable[[sqlite3.Connection], None]]:
    """Versions of a far future, each of them a table more and a row in it."""

    def step(number: int) -> Callable[[sqlite3.Connection], None]:
        def make(database: sqlite3.Connection) -> None:
            database.execute(f"CREATE TABLE step_{number} (x)")
            database.execute(f"INSERT INTO step_{number} VALUES (1)")

        return make

    return [*MIGRATIONS, *(step(number) for number in range(STEPS))]


def upgrade(folder: str) -> None:
    """Migrate step by step; say each version."""
    database = sqlite3.connect(Path(folder) / "journal.db", isolation_level=None)
    database.execute("PRAGMA synchronous = FULL")
    steps = many_migrations()
    say("start")
    for version in range(len(steps)):
        migrate(database, steps[: version + 1])
        say(version + 1)


def succeed(folder: str, descriptor: str) -> None:
    """Take the journal over from the process that left the descriptor; change it, and hold it until stdin ends."""
    journal = Journal.open(folder, keep=KEEP, lock_fd=int(descriptor))
    assert journal.state is not None
    state = with_split(journal.state, "route-0", 77.0)
    journal.append([event(state.revision, verb="upgrade")], state)
    say(state.revision)
    sys.stdin.read()
    journal.close()


def until_refused(journal: Journal) -> str:
    """Write until the disk takes no more; returns the refusal."""
    state = journal.state
    assert state is not None
    while True:
        state = with_split(state, f"route-{state.revision % ROUTES}", state.revision % 100)
        before, newest = journal.state, journal.last_id
        try:
            journal.append([event(state.revision, reason="x" * 3000)], state)
        except JournalError as error:
            assert journal.state is before
            assert journal.last_id == newest
            assert [entry.id for entry in journal.events(newest_first=True, limit=1)] == [newest]
            return str(error)


def live_through(folder: Path, leave: Callable[[int], None]) -> None:
    """A journal whose disk fills up, is relieved, and fills up again; then a restart without room, and one with."""
    journal = Journal.open(str(folder), keep=1_000_000)
    journal.append([event(1)], first_state(ROUTES))
    leave(LITTLE)
    for _ in range(3):
        say(until_refused(journal))
    leave(ENOUGH)
    assert journal.state is not None
    state = with_split(journal.state, "route-0", 33.0)
    journal.append([event(state.revision)], state)
    leave(LITTLE)
    say(until_refused(journal))
    reached, newest = journal.state, journal.last_id
    journal.close()
    leave(0)
    try:
        journal = Journal.open(str(folder), keep=1_000_000)
        assert (journal.state, journal.last_id) == (reached, newest)
        journal.close()
        say("opened without room")
    except StateError as refusal:
        say(refusal)
    leave(ENOUGH)
    journal = Journal.open(str(folder), keep=1_000_000)
    assert (journal.state, journal.last_id) == (reached, newest)
    journal.append([event(1)], None)
    journal.close()
    say("done")


def full_disk(folder: str) -> None:
    """On a file system of its own, of 1 MiB; run in a mount namespace."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    ballast = Path(folder) / "ballast"

    def leave(size: int) -> None:
        ballast.write_bytes(b"")
        free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
        ballast.write_bytes(bytes(max(0, free - size)))

    live_through(Path(folder) / "state", leave)


def file_size_limit(folder: str) -> None:
    """Where no file may grow beyond a limit."""

    def leave(size: int) -> None:
        # Soft: it can be raised again. Python ignores SIGXFSZ, so a write fails with EFBIG.
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    live_through(Path(folder) / "state", leave)


PROGRAMS: dict[str, Callable[..., None]] = {
    program.__name__: program for program in (write, upgrade, succeed, full_disk, file_size_limit)
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
