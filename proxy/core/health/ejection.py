"""Whether one server gets requests, as the real traffic of one worker shows it and as other workers say.

Failures in a row put it out; once its time is over it is on trial, and one real request decides. Invariants: without a
rule it is never put out here; `epoch` grows by one whenever this worker puts it out or lets it in, and never falls; the
end of an attempt that was begun before the last such turn changes nothing.

Going from "out" to "trial" is no turn of its own and raises no epoch: it follows from `until`, which all workers know.
All of them then try the server, each with one request, and the first result that is told settles it for all.
"""

from __future__ import annotations

from typing import Literal

from proxy.core.health.growth import away_s, forgiven, outranks
from proxy.core.health.values import Ejection

State = Literal["in", "out", "trial"]

TRIAL_S = 5.0
"""How long a trial may tell nothing before the next request may try: a request that hangs, or an upload that takes its
time, is not to keep a server out that is well again."""


class Ejector:
    """One server. `now`: seconds of a clock that never goes back and that all workers share.

    `state`: "in": it gets requests; "out": none; "trial": one, which gets True from `take_trial`. `until`: when it may
    be tried again, 0 while it is in. `times`: how often in a row it was put out. `failures`: in a row, while it is in.
    All are for reading; `rule` may be replaced at any time, None for: never put out here, but follow the others.

    `begun`, wherever it is asked for: the `epoch` when the attempt was begun; None: taken for one of the present epoch.
    """

    __slots__ = ("_left_alone", "_since", "_trying", "_trying_since", "epoch", "failures", "rule", "state", "times",
                 "until")

    def __init__(self, rule: Ejection | None) -> None:
        self.rule = rule
        self.state: State = "in"
        self.epoch = 0
        self.until = 0.0
        self.times = 0
        self.failures = 0
        self._since = 0.0           # in since then, or: what has been good until then is paid off in `times`
        self._trying = False
        self._trying_since: float | None = None     # as far as `look` has seen
        self._left_alone = False    # a trial of this epoch took so long that another may have begun beside it

    def failed(self, now: float, begun: int | None = None) -> bool:
        """Take in that an attempt failed; whether that put it out.

        While it is out nothing counts, and on trial only after `take_trial`: what ends then was begun before, or in
        spite of it. A failed trial puts it out again at once, for longer.
        """
        if self._is_late(begun):
            return False
        if self.state == "in":
            self.failures += 1
            if self.rule is None or self.failures < self.rule.failures:
                return False
        elif not self._is_tried(begun):
            return False
        self._trying = False
        return self._put_out(now)

    def succeeded(self, now: float, begun: int | None = None) -> bool:
        """Take in that an attempt succeeded; whether that brought it in, which only a trial does."""
        if self._is_late(begun):
            return False
        if self.state == "in":
            self.failures = 0
            return False
        if not self._is_tried(begun):
            return False
        self._turn("in", self.epoch + 1, 0.0, now)
        return True

    def _is_tried(self, begun: int | None) -> bool:
        """Whether what ends now may be a trial. One that was left alone is known by its epoch."""
        return self._trying or (self._left_alone and begun == self.epoch)

    def look(self, now: float) -> bool:
        """Let time pass; whether it is on trial from now on.

        Beside a trial that tells nothing for `TRIAL_S` another may begin; whichever ends first decides.
        """
        if self.state == "in":
            self._forget(now)
        elif self._trying:
            if self._trying_since is None:
                self._trying_since = now
            elif now - self._trying_since >= TRIAL_S:
                self._trying, self._left_alone = False, True
        if self.state != "out" or now < self.until:
            return False
        self.state = "trial"
        return True

    def hasten(self, now: float) -> None:
        """Take in that something else says it is well again: if it is out, it may be tried from now on."""
        if self.state == "out":
            self.until = min(self.until, now)

    @property
    def has_trial_left(self) -> bool:
        """Whether `take_trial` would give True."""
        return self.state == "trial" and not self._trying

    def take_trial(self) -> bool:
        """Claim the one request that tries it; False when somebody has it, or it is not on trial.

        Who gets True owes `failed`, `succeeded` or `give_up_trial`: until then nobody else tries it here.
        """
        if not self.has_trial_left:
            return False
        self._trying, self._trying_since = True, None
        return True

    def give_up_trial(self, begun: int | None = None) -> None:
        """Take in that the trial ended without telling anything, since the client left, say; the next may claim it."""
        if not self._is_late(begun):
            self._trying = False

    def adopt(self, out: bool, epoch: int, until: float, times: int, now: float) -> bool:
        """Take in what another worker says, in the terms of `ipc.messages.Noticed`; whether `state` changed.

        The higher epoch holds; with equal ones: out before in, then the later `until`. So all that have heard the same
        news know the same, whatever the order.
        """
        until = until if out else 0.0
        if not outranks((epoch, out, until, times), (self.epoch, self.state != "in", self.until, self.times)):
            return False
        before = self.state
        after: State = "in" if not out else "trial" if until <= now else "out"
        going_on = after == "trial" and epoch == self.epoch
        trials = (self._trying, self._left_alone) if going_on else (False, False)
        self.times = times
        self._turn(after, epoch, until, now)
        self._trying, self._left_alone = trials
        return after != before

    def _is_late(self, begun: int | None) -> bool:
        return begun is not None and begun < self.epoch

    def _put_out(self, now: float) -> bool:
        if self.rule is None:
            return False
        self._forget(now)
        self.times += 1
        self._turn("out", self.epoch + 1, now + away_s(self.rule.first_s, self.rule.most_s, self.times), now)
        return True

    def _forget(self, now: float) -> None:
        if self.times and self.state == "in":
            rule = self.rule or Ejection()
            self.times, self._since = forgiven(self.times, self._since, now, rule.first_s, rule.most_s)

    def _turn(self, state: State, epoch: int, until: float, now: float) -> None:
        self.state, self.epoch, self.until = state, epoch, until
        self._since, self.failures, self._trying, self._left_alone = now, 0, False, False
