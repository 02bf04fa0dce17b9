"""`state_dir` itself: made for its owner only, held by one supervisor at a time, with a mark of how far the journal is.

The hold is an flock, which belongs to the open file description: a successor that inherits the descriptor holds it too,
and the kernel lets go of it when the last of them has ended, however it ended.

The mark tells a lost tail. SQLite cannot: a write-ahead log that is gone or cut short is, for it, one that was never
written. The mark is put after each commit and not synced, so after a power cut it may say less than the database,
never more; what cannot be read of it is taken for no mark.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from proxy.controlplane.errors import StartError
from proxy.controlplane.journal.errors import StateError

DATABASE = "journal.db"
_LOCK = "lock"
_MARK = "journal.mark"
_LINE = re.compile(rb"([0-9]{20}) ([0-9]{20})\n")
_LINE_BYTES = 42
_PID = re.compile(rb"[0-9]{1,10}\n")


def make_folder(folder: Path) -> None:
    """Create the folder when it is missing, for its owner only; parents as the umask says. Raises StateError."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise unusable(folder, error) from error


def unusable(folder: Path, error: OSError) -> StateError:
    """The refusal of a folder that cannot be made, read or written."""
    where = f" ({error.filename})" if error.filename not in (None, str(folder), folder) else ""
    return StateError(
        f"cannot keep state in {folder}: {error.strerror}{where}; let the user that runs Turnout "
        "write there and see that the disk has room, or choose another `state_dir`, or `memory` to keep none"
    )


class Hold:
    """The hold on a folder: nobody else gets it while `descriptor`, or a copy in another process, is open."""

    __slots__ = ("descriptor",)

    def __init__(self, folder: Path, inherited: int | None = None) -> None:
        """Take it, or go on with the descriptor `inherited` from a predecessor, which this object owns from then on.

        Raises StartError when another process holds the folder, StateError when its lock file cannot be written.
        """
        try:
            self.descriptor = _open(folder / _LOCK) if inherited is None else _known(folder / _LOCK, inherited)
        except OSError as error:
            raise unusable(folder, error) from error
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.claim()
        except OSError as error:
            refusal = _held(folder, self.descriptor) if isinstance(error, BlockingIOError) else unusable(folder, error)
            self.close()
            raise refusal from error

    def claim(self, pid: int | None = None) -> None:
        """Write this process down as the holder, as well as it goes: the hold does not depend on it.

        A predecessor does it again when its successor has failed. `pid`: that of somebody else.
        """
        line = b"%d\n" % (pid or os.getpid())
        try:
            os.pwrite(self.descriptor, line, 0)  # over what is there, for which there is room on a full disk, too
            os.ftruncate(self.descriptor, len(line))
        except OSError:
            pass

    def close(self) -> None:
        """Let go of the folder, unless a successor has a copy of the descriptor."""
        os.close(self.descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _known(path: Path, inherited: int) -> int:
    """The inherited descriptor, if it is that of the lock file that is there now."""
    if not os.path.samestat(os.stat(path), os.fstat(inherited)):
        os.close(inherited)
        raise StartError(
            f"{path} was replaced, or `state_dir` changed, while Turnout was running: stop it, then start it"
        )
    os.set_inheritable(inherited, False)
    return inherited


def _held(folder: Path, descriptor: int) -> StartError:
    line = os.pread(descriptor, 16, 0)
    holder = f"process {int(line)}" if _PID.fullmatch(line) else "another process"
    return StartError(
        f"{folder} is in use by {holder}: stop that Turnout first, or replace it in place with `turnout upgrade`, "
        "or give this one a `state_dir` of its own"
    )


def last_holder(state_dir: str | None) -> int:
    """The process id of the supervisor that held the folder last, or holds it; 0 when that is not known."""
    try:
        line = b"" if state_dir is None else (Path(state_dir) / _LOCK).read_bytes()
    except OSError:
        return 0
    return int(line) if _PID.fullmatch(line) else 0


class Mark:
    """How far the journal is known to have been: the last revision and event id that were acknowledged."""

    __slots__ = ("_descriptor", "path")

    def __init__(self, folder: Path) -> None:
        """Open it, made when it is missing. Raises OSError."""
        self.path = folder / _MARK
        self._descriptor = _open(self.path)

    def read(self) -> tuple[int, int]:
        """Revision and event id; zeros when there is none."""
        found = _LINE.fullmatch(os.pread(self._descriptor, _LINE_BYTES + 1, 0))
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def put(self, revision: int, last_id: int) -> None:
        """Write both down, as well as it goes: the change they belong to is already durable without."""
        try:
            os.pwrite(self._descriptor, b"%020d %020d\n" % (revision, last_id), 0)
        except OSError:
            pass                           # an older mark only says less

    def close(self) -> None:
        """Close the file; it stays."""
        os.close(self._descriptor)
