"""Whether files could be written where a configuration wants them, without writing any.

A folder is asked for a file without a name (`O_TMPFILE`, open(2)): the kernel then answers for permissions, read-only
mounts, quotas and full disks alike, and nothing is left. Where a file system has none, its permissions must do.
"""

from __future__ import annotations

import errno
import os

_TMPFILE = getattr(os, "O_TMPFILE", None)      # Linux
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)


def why_no_folder(path: str) -> str | None:
    """Why files cannot be kept in a folder, which is made if its nearest ancestor allows; None if they can."""
    path = os.path.abspath(path)
    if os.path.lexists(path):
        return f"{path} is not a folder" if not os.path.isdir(path) else _refused(path)
    parent = os.path.dirname(path)
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    wrong = f"{parent} is not a folder" if not os.path.isdir(parent) else _refused(parent)
    return wrong and f"cannot be made: {wrong}"


def why_no_file(path: str) -> str | None:
    """Why a file cannot be appended to; None if it can, or could be made in its folder."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        folder = os.path.dirname(os.path.abspath(path))
        return _refused(folder) if os.path.isdir(folder) else f"the folder {folder} does not exist"
    except OSError as error:
        return "is a named pipe that nobody reads" if error.errno == errno.ENXIO else str(error.strerror)
    os.close(descriptor)
    return None


def _refused(folder: str) -> str | None:
    """Why no file can be made in a folder."""
    if _TMPFILE is not None:
        try:
            os.close(os.open(folder, _TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                return f"{folder}: {error.strerror}"
        else:
            return None
    return None if os.access(folder, os.W_OK | os.X_OK) else f"no permission to write in {folder}"
