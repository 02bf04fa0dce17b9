"""What a refused command is answered with: the one table from the commands' errors to statuses."""

from __future__ import annotations

from proxy.admin.problems import Fault, Refused
from proxy.controlplane import errors
from proxy.controlplane.errors import CommandError
from proxy.controlplane.journal.journal import JournalError
from proxy.errors import ConfigError

_STATUSES: dict[type[CommandError], int] = {
    errors.UnknownRoute: 404,
    errors.UnknownVersion: 404,
    errors.InvalidChange: 422,
    errors.Outdated: 412,
    errors.NothingToDo: 409,
    errors.BaselineDown: 409,
    errors.VersionDrained: 409,
    errors.LastServer: 409,
    errors.NotJournaled: 503,
    errors.HandingOver: 503,
    errors.NotApplied: 500,
}


def refused(error: CommandError | ConfigError | JournalError) -> Refused:
    """The refusal that says why the change is not made, or why there is nothing to show."""
    if isinstance(error, ConfigError):
        return _bad_file(error)
    if isinstance(error, JournalError):
        return Refused(503, str(error), kind="no-journal")
    status = next(status for kind, status in _STATUSES.items() if isinstance(error, kind))
    headers = {"Retry-After": "1"} if isinstance(error, errors.HandingOver) else None
    if isinstance(error, errors.InvalidChange):
        faults: list[Fault] = [{"pointer": problem.where, "detail": problem.message} for problem in error.problems]
        detail = str(error.problems[0]) if len(faults) == 1 else f"{len(faults)} things are wrong with the change"
        return Refused(status, detail, kind=error.kind, errors=faults)
    if isinstance(error, errors.BaselineDown):
        return Refused(status, error.detail, kind=error.kind, servers=list(error.servers))
    return Refused(status, error.detail, kind=error.kind, headers=headers)


def _bad_file(error: ConfigError) -> Refused:
    """A file that does not load: its problems have places in the file, which nobody has sent here."""
    faults = [{"detail": str(problem)} for problem in error.problems]
    detail = str(error.problems[0]) if len(faults) == 1 else f"{len(faults)} things are wrong with the file"
    return Refused(422, f"nothing has changed: {detail}", kind="bad-file", errors=faults)
