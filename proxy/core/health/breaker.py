"""Whether a whole version gets requests, as the real traffic of one worker shows it and as other workers say.

Too many failures among enough attempts open it; once its time is over a few requests try it, and all of them must
succeed. Invariants: without a rule it is never opened here; `epoch` grows by one whenever this worker opens or closes
it, and never falls; while it is not closed, only trials say anything.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from proxy.core.health.ejection import TRIAL_S
from proxy.core.health.growth import away_s, forgiven, outranks
from proxy.core.health.values import Breaker

State = Literal["closed", "open", "trial"]

MOST_OPEN_S = 30.0
"""Each opening that follows closely on another one lasts twice as long, up to this (or `Breaker.open_s` where that is
longer): each one begins with failed trials, and a version that stays broken should cost few of them."""
BUCKETS = 10
"""Parts of the window: what is older than the window is gone at most a tenth of it too early."""


class VersionBreaker:
    """One version. `now`: seconds of a clock that never goes back and that all workers share.

    `state`: "closed": it gets requests; "open": none; "trial": those that get True from `take_trial`. `until`: when it
    may be tried again, 0 while it is closed. `times`: how often in a row it was opened. All are for reading; `rule` may
    be replaced at any time, None for: never opened here, but follow the others.
    """

    __slots__ = ("_left_alone", "_quiet_since", "_since", "_trials_good", "_trials_out", "_window", "epoch", "rule",
                 "state", "times", "until")

    def __init__(self, rule: Breaker | None) -> None:
        self.rule = rule
        self.state: State = "closed"
        self.epoch = 0
        self.until = 0.0
        self.times = 0
        self._since = 0.0
        self._window = Window()
        self._trials_out = 0
        self._trials_good = 0
        self._left_alone = 0        # trials that took so long that others were begun beside them
        self._quiet_since: float | None = None      # trials are out and none has ended since, as far as `look` has seen

    def count(self, now: float, attempts: int, failures: int) -> bool:
        """Take in that so many attempts ended since the call before, so many of them failed; whether that opened it.

        A failure is also an answer with a status from 500 to 599.
        """
        rule = self.rule
        if rule is None or self.state != "closed":
            return False
        attempts, failures = self._window.add(now, rule.window_s, attempts, failures)
        if attempts < rule.requests or failures <= rule.share * attempts:
            return False
        return self._open(now, rule)

    def look(self, now: float) -> bool:
        """Let time pass; whether it is on trial from now on. When trials tell nothing for `TRIAL_S`, others may
        begin beside them.
        """
        if self.state == "closed":
            self._forget(now)
        elif self._trials_out:
            if self._quiet_since is None:
                self._quiet_since = now
            elif now - self._quiet_since >= TRIAL_S:
                self._left_alone += self._trials_out
                self._trials_out, self._quiet_since = 0, None
        if self.state != "open" or now < self.until:
            return False
        self.state = "trial"
        return True

    @property
    def has_trial_left(self) -> bool:
        """Whether `take_trial` would give True."""
        return self.state == "trial" and self._trials_out + self._trials_good < self._trials()

    def take_trial(self) -> bool:
        """Claim one of the requests that try it; False when there are enough, or it is not on trial.

        Who gets True owes `trial_ended`. Each worker makes trials of its own; the first to be through with them tells
        the others.
        """
        if not self.has_trial_left:
            return False
        self._trials_out += 1
        return True

    def trial_ended(self, now: float, ok: bool | None, begun: int | None = None) -> bool:
        """Take in how a trial ended, None for: it told nothing; whether that opened or closed it.

        `begun`: the `epoch` when it was claimed; a trial of an earlier one says nothing any more. None: of this one.
        """
        if self.state != "trial" or not (self._trials_out or self._left_alone) \
                or (begun is not None and begun < self.epoch):
            return False
        if self._trials_out:                # perhaps it was one that was left alone: then there is one trial more
            self._trials_out -= 1
        else:
            self._left_alone -= 1
        self._quiet_since = None
        if ok is False and self.rule is not None:
            return self._open(now, self.rule)
        if ok:
            self._trials_good += 1
        if self._trials_good < self._trials():
            return False
        self._turn("closed", self.epoch + 1, 0.0, now)
        return True

    def adopt(self, out: bool, epoch: int, until: float, times: int, now: float) -> bool:
        """Take in what another worker says, in the terms of `ipc.messages.Noticed`; whether `state` changed.

        The higher epoch holds; with equal ones: open before closed, then the later `until`.
        """
        until = until if out else 0.0
        if not outranks((epoch, out, until, times), (self.epoch, self.state != "closed", self.until, self.times)):
            return False
        before = self.state
        after: State = "closed" if not out else "trial" if until <= now else "open"
        self.times = times
        if before == after == "trial" and epoch == self.epoch:
            self.until = until              # the same trial phase: what it has shown so far still holds
        else:
            self._turn(after, epoch, until, now)
        return after != before

    def _trials(self) -> int:
        return 1 if self.rule is None else max(1, self.rule.trials)

    def _open(self, now: float, rule: Breaker) -> bool:
        self._forget(now)
        self.times += 1
        self._turn("open", self.epoch + 1, now + away_s(rule.open_s, _most_s(rule), self.times), now)
        return True

    def _forget(self, now: float) -> None:
        if self.times and self.state == "closed":
            rule = self.rule or Breaker()
            self.times, self._since = forgiven(self.times, self._since, now, rule.open_s, _most_s(rule))

    def _turn(self, state: State, epoch: int, until: float, now: float) -> None:
        self.state, self.epoch, self.until, self._since = state, epoch, until, now
        self._trials_out = self._trials_good = self._left_alone = 0
        self._quiet_since = None
        self._window.clear()


class Window:
    """How many attempts ended, and how many of them failed, in the last `window_s` seconds, by tenths of it."""

    __slots__ = ("_attempts", "_failures", "_parts", "_window_s")

    def __init__(self) -> None:
        self._parts: deque[list[int]] = deque()     # [number of the tenth, attempts, failures], oldest first
        self._attempts = self._failures = 0
        self._window_s = 0.0

    def add(self, now: float, window_s: float, attempts: int, failures: int) -> tuple[int, int]:
        """Count these and forget what is too old; returns the attempts and failures of the window."""
        if window_s != self._window_s:
            self.clear()                            # a new rule: parts of another length cannot be told apart
            self._window_s = window_s
        part = int(now / window_s * BUCKETS)
        while self._parts and self._parts[0][0] <= part - BUCKETS:
            _, gone, gone_failures = self._parts.popleft()
            self._attempts -= gone
            self._failures -= gone_failures
        if not self._parts or self._parts[-1][0] != part:
            self._parts.append([part, 0, 0])
        self._parts[-1][1] += attempts
        self._parts[-1][2] += failures
        self._attempts += attempts
        self._failures += failures
        return self._attempts, self._failures

    def clear(self) -> None:
        """Forget everything."""
        self._parts.clear()
        self._attempts = self._failures = 0


def _most_s(rule: Breaker) -> float:
    return max(MOST_OPEN_S, rule.open_s)
