"""The health of one server as probes show it: a state machine over time, answers and silence.

    unknown ── good ──► up ◄── heard again ──  suspect
       │                │ └── φ ≥ phi_warn ──►   │
       └── bad ─────────┴──────────►  out  ◄──────┘
                                       └── `rise` good answers ──► up

"bad" is `fall` bad answers in a row, or φ ≥ phi_out, or as many probes as that without a good answer for as long as
they may take. Unknown and suspect servers count as in.

Invariant: a pause of our own makes nobody suspect. What ended badly during one is not counted, the marks of when a
server was heard are moved on by it, and no time between answers that contains one is learnt from.
"""

from __future__ import annotations

from typing import Literal

from proxy.core.health.phi import Arrivals, phi
from proxy.core.health.values import Probe

ProbeState = Literal["unknown", "up", "suspect", "out"]

MIN_SPREAD = 0.1
"""Least standard deviation, as a part of the interval: probes are never so regular that less would mean anything."""
JITTER = 0.1
"""By so much of the interval a probe may be early, so that servers are not all asked at once; it is never late, so that
`fall` intervals and a time-out are a promise."""


def pause_s(interval_s: float, chance: float) -> float:
    """Seconds from the beginning of one probe to that of the next. `chance`: in [0, 1)."""
    return interval_s * (1.0 - JITTER * chance)


class Probing:
    """One server. `now`: seconds of a clock that never goes back.

    `state` and `why` (for people: why it is in its state) are for reading.
    """

    __slots__ = ("_arrivals", "_asked", "_asked_at", "_bad", "_good", "_heard_at", "_learns", "_unanswered_since",
                 "probe", "state", "why")

    def __init__(self, probe: Probe, now: float) -> None:
        self.probe = probe
        self.state: ProbeState = "unknown"
        self.why = "not probed yet"
        self._arrivals = Arrivals(probe.interval_s)
        self._good = self._bad = 0
        self._heard_at = now              # the last good answer
        self._learns = False              # whether nothing but silence lies between that and the next one
        self._asked = 0                   # probes since the last good answer
        self._asked_at = self._unanswered_since = now

    @property
    def is_out(self) -> bool:
        """Whether it is to get no traffic."""
        return self.state == "out"

    def asked(self, now: float) -> None:
        """Take in that a probe is sent."""
        if not self._asked:
            self._unanswered_since = now
        self._asked += 1
        self._asked_at = now

    def unasked(self) -> None:
        """Take back the last `asked`: the probe could not be made."""
        self._asked -= 1

    def answered(self, now: float, ok: bool, why: str = "", *, paused: bool = False) -> bool:
        """Take in how a probe ended; whether that put it out or brought it in.

        `why`: what was wrong, for people. `paused`: our own process stood still while it was under way, and may be the
        cause of what went wrong.
        """
        if ok:
            return self._answered_well(now, paused)
        if paused:
            self._learns = False
            return False
        self._good, self._learns = 0, False
        self._bad += 1
        if self._bad < self.probe.fall or self.is_out:
            if self.is_out:
                self.why = why
            return False
        return self._put_out(why if self._bad == 1 else f"{why}; {self._bad} bad answers in a row")

    def looked(self, now: float) -> bool:
        """Judge the silence by now; whether that put it out."""
        if self.is_out or now - self._heard_at < self.probe.interval_s:
            return False
        suspicion, probe = self.phi(now), self.probe
        if probe.phi_out is not None and suspicion >= probe.phi_out:
            return self._put_out(f"silent for {now - self._heard_at:.3g} s, φ {suspicion:.3g}")
        if self._is_overdue(now):
            return self._put_out(f"no good answer to {self._asked} probes in {now - self._unanswered_since:.3g} s")
        if probe.phi_warn is not None and suspicion >= probe.phi_warn and self.state == "up":
            self.state, self.why = "suspect", f"silent for {now - self._heard_at:.3g} s"
        return False

    def phi(self, now: float) -> float:
        """How unusual it is that nothing good was heard for so long; see `core.health.phi`.

        An answer may take up to the time-out of a probe, so so much more silence than usual is not unusual.
        """
        probe, arrivals = self.probe, self._arrivals
        spread_s = max(arrivals.sd_s, MIN_SPREAD * probe.interval_s)
        return phi(now - self._heard_at, arrivals.mean_s + probe.timeout_s, spread_s)

    def paused(self, now: float, by_s: float) -> None:
        """Take in that our own process stood still for `by_s` seconds until now: nobody could be heard in them.

        What has been heard or asked since is not moved into the future.
        """
        self._heard_at = min(now, self._heard_at + by_s)
        self._asked_at = min(now, self._asked_at + by_s)
        self._unanswered_since = min(now, self._unanswered_since + by_s)
        self._learns = False

    def _answered_well(self, now: float, paused: bool) -> bool:
        if self._learns and not paused and not self.is_out:
            self._arrivals.add(now - self._heard_at)
        self._learns, self._heard_at = not paused, now
        self._asked = self._bad = 0
        self._good += 1
        if self.is_out and self._good < self.probe.rise:
            return False
        came_in = self.is_out
        self.state, self.why = "up", ""
        return came_in

    def _is_overdue(self, now: float) -> bool:
        """Whether it had as many probes as may fail, and as much time as those may take.

        Late probes of ours are no fault of the server's: the last one must have had its time, too.
        """
        probe = self.probe
        allowed_s = (probe.fall - 1) * probe.interval_s + probe.timeout_s
        return (self._asked >= probe.fall and now - self._unanswered_since > allowed_s
                and now - self._asked_at > probe.timeout_s)

    def _put_out(self, why: str) -> bool:
        self.state, self.why = "out", why
        self._good, self._learns = 0, False
        return True
