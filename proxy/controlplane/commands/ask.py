"""What goes into a command besides what it is about, and what comes out: who asks, on what terms; what was reached."""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxy.controlplane.events import Author
from proxy.controlplane.supervisor import Change
from proxy.core.state import State
from proxy.errors import Problem

REASON_LENGTH = 1_000

# C0, DEL, C1; line and paragraph separators; what turns the direction of text (it fakes what a reader sees); surrogates
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Ask:
    """On whose behalf and on what terms a change is asked for.

    `reason`: for the journal, one line of at most 1,000 characters. `if_match`: the revisions of what is to be changed
    that the author has seen; anything else is refused as outdated (None: whatever it is). `dry_run`: say what would
    happen and change nothing. `confirm_within_s`: 0.1 s to 365 days; unless confirmed by then, it is undone.
    """

    author: Author
    reason: str = ""
    if_match: frozenset[int] | None = None
    dry_run: bool = False
    confirm_within_s: float | None = None

    def problems(self, *, confirmable: bool = False) -> list[Problem]:
        """What is wrong with the terms. `confirmable`: whether a time to confirm in means anything here; how long it
        may be is judged with the change.
        """
        problems = []
        if len(self.reason) > REASON_LENGTH:
            problems.append(Problem("/reason", "", f"must not be longer than {REASON_LENGTH} characters"))
        elif bad := _UNFIT.search(self.reason):
            problems.append(Problem("/reason", "", f"must be one line of text: it contains U+{ord(bad[0]):04X}"))
        if self.confirm_within_s is not None and not confirmable:
            problems.append(Problem("/confirm_within", "", "only a split or shadow settings can wait for confirmation"))
        return problems


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command came to.

    `revision`: that holds now (a dry run: that would hold). `change`: how the workers took it; None when they were
    told nothing, because it was a dry run or everything was so already. `took_s`: from being asked to the last
    acknowledgement. `routes`: those concerned. `state`: that holds now (a dry run: that would hold). `notes`: what the
    author should know, such as what waits for `turnout upgrade`.
    """

    revision: int
    change: Change | None
    took_s: float
    routes: tuple[str, ...]
    dry_run: bool
    state: State
    notes: tuple[str, ...] = ()
