"""The exit codes of every verb, for scripts, and which answer of the admin API means which."""

from __future__ import annotations

FAILED = 1
USAGE = 2
CONFIG = 3
UNREACHABLE = 4
CONFLICT = 5

_OF_STATUS = {409: CONFLICT, 412: CONFLICT, 422: USAGE}


def of_status(status: int, invalid: int = USAGE) -> int:
    """Return the exit code for an HTTP status of 400 or more; `invalid` stands for 422, a body that cannot be.

    What a person typed is usage; what stands in the file is configuration.
    """
    return invalid if status == 422 else _OF_STATUS.get(status, FAILED)
