"""What the users saw, counted: nothing here waits or asks for the time.

A request belongs to the step in which it was sent. A step begins before its weights are applied, so what it counts may
include a few requests by the weights before, and never one by weights that are yet to come.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from proxy.cli.demo.plan import NEW, OLD, USERS

YOU = 0
"""The user that the demo follows by name."""
_RECENT_S = 2.0


@dataclass(slots=True)
class StepTally:
    """The answers to the requests of one step, by version; `you` is the version that the followed user last got."""

    weight: int
    answers: dict[str, int] = field(default_factory=lambda: {OLD: 0, NEW: 0})
    you: str | None = None

    @property
    def requests(self) -> int:
        """How many requests of this step were answered."""
        return sum(self.answers.values())

    def share(self, version: str) -> float | None:
        """Return the percentage of this step's answers that came from `version`; None before the first."""
        return 100 * self.answers[version] / self.requests if self.requests else None


class Tally:
    """Counts of one performance."""

    def __init__(self, users: int = USERS) -> None:
        self.seen: list[str | None] = [None] * users
        """The version that each user got last."""
        self.steps: list[StepTally] = []
        self.forward = 0
        """Moves of users from the old version to the new one."""
        self.back = 0
        self.you_asked = 0
        self.your_way: list[str] = []
        """The versions that the followed user got, one after the other, without repetition."""
        self.failures = 0
        self.first_failure: str | None = None
        self._recent: deque[tuple[float, str]] = deque()

    @property
    def step(self) -> int:
        """The number of the present step."""
        return len(self.steps) - 1

    @property
    def requests(self) -> int:
        """How many requests were answered or failed."""
        return sum(step.requests for step in self.steps) + self.failures

    def begin(self, weight: int) -> None:
        """Begin the step in which the new version gets `weight` percent."""
        self.steps.append(StepTally(weight))

    def answered(self, user: int, version: str, step: int, at_s: float) -> None:
        """Count an answer of `version` that came at `at_s` to a request that `user` sent in `step`."""
        self.steps[step].answers[version] += 1
        before, self.seen[user] = self.seen[user], version
        if before not in (None, version):
            if version == NEW:
                self.forward += 1
            else:
                self.back += 1
        if user == YOU:
            self.you_asked += 1
            self.steps[step].you = version
            if before != version:
                self.your_way.append(version)
        self._recent.append((at_s, version))

    def failed(self, reason: str) -> None:
        """Count a request without a proper answer."""
        self.failures += 1
        self.first_failure = self.first_failure or reason

    def rates(self, now_s: float, began_s: float) -> dict[str, float]:
        """Return the answers per second of each version over the last two seconds, or since `began_s`."""
        recent = self._recent
        while recent and recent[0][0] < now_s - _RECENT_S:
            recent.popleft()
        over_s = max(0.1, min(_RECENT_S, now_s - began_s))
        rates = {OLD: 0.0, NEW: 0.0}
        for _, version in recent:
            rates[version] += 1 / over_s
        return rates
