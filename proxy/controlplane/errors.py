"""What the supervisor refuses, as types: what keeps it from starting, and why a change is not made.

Invariant: a CommandError means that nothing has moved, in no worker, not in memory and not in the journal; the one
exception says so in its name. `kind` is for programs and never changes; `detail` tells a person what to do.
"""
# ruff: noqa: N818  (the names of refusals are the operator's words, as in the API's problem types)

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from proxy.errors import Problem, TurnoutError


class StartError(TurnoutError):
    """Turnout cannot start; the message says what is wrong and what to do about it. Exit code 1."""


class CommandError(TurnoutError):
    """A change that is not made."""

    kind: ClassVar[str] = "refused"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class UnknownRoute(CommandError):
    """No route has this name (404)."""

    kind = "unknown-route"


class UnknownVersion(CommandError):
    """No version has this name (404)."""

    kind = "unknown-version"


class InvalidChange(CommandError):
    """What was asked for is wrong in itself (422): every problem at once, `where` is a JSON pointer into the body."""

    kind = "invalid-change"

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = list(problems)


class Outdated(CommandError):
    """Somebody else was faster (412): what was to be changed is at `revision` now, and not at the one asked for."""

    kind = "outdated"

    def __init__(self, what: str, revision: int) -> None:
        super().__init__(f"{what} is at revision {revision} now: look at it again before you change it")
        self.revision = revision


class NothingToDo(CommandError):
    """There is nothing to undo, to confirm or to reload (409)."""


class NothingToUndo(NothingToDo):
    """The route is as the file says, and nothing was changed before."""

    kind = "nothing-to-undo"


class NothingPending(NothingToDo):
    """No change of the route waits to be confirmed."""

    kind = "nothing-pending"


class NothingToReload(NothingToDo):
    """Turnout was started without a file."""

    kind = "nothing-to-reload"


class BaselineDown(CommandError):
    """The version to go home to accepts no connection on any server (409). `servers`: the addresses that were tried."""

    kind = "baseline-down"

    def __init__(self, detail: str, servers: Sequence[str]) -> None:
        super().__init__(detail)
        self.servers = tuple(servers)


class VersionDrained(CommandError):
    """Traffic would be moved to a version of which every server is drained (409)."""

    kind = "version-drained"


class LastServer(CommandError):
    """Without this server, or version, requests would have nowhere to go (409)."""

    kind = "last-server"


class NotJournaled(CommandError):
    """The journal cannot take the change, so it is not made (503)."""

    kind = "not-journaled"


class HandingOver(CommandError):
    """This process is leaving or handing over to its successor (503): ask again in a second."""

    kind = "handing-over"


class NotApplied(CommandError):
    """A fault of ours after the change was journaled (500): it holds for every worker that starts from now on.

    The present ones may serve by the revision before until the next change, which brings them everything.
    """

    kind = "not-applied"
