"""What is known of servers and versions, as values for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from proxy.core.health.standing import VersionState

Outcome = Literal["ok", "status", "body", "timeout", "refused", "error"]
"""How a probe ended. `status` and `body`: an answer, but not the expected one. `error`: anything else, a reset, say."""

ServerState = Literal["up", "suspect", "out", "ejected", "trial", "warming", "drained"]
"""One word for a server; where several hold, the first of: drained (by an operator), out (by probes), ejected (by
traffic), trial (its ejection is over, one request is the probation), warming (just back), suspect (silent), up."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How a probe ended, and when: `at`, in seconds since the epoch. `took_s`: since it began. `detail`: for people."""

    outcome: Outcome
    at: float
    took_s: float
    detail: str

    @property
    def ok(self) -> bool:
        """Whether it was a good answer."""
        return self.outcome == "ok"


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """One server of one version.

    `address` as in `Server.address`. `takes_traffic`: as requests see it, panic and an open breaker included. `phi`:
    the suspicion now, and `probe` how the last one ended; None without probes, or before the first. `ejected_until_s`:
    in how many seconds it may be tried again (0: now), None when traffic has not put it out; `times`: how often in a
    row that happened. `why`: why it is not simply up, for people; empty when it is.
    """

    version: str
    address: str
    state: ServerState
    takes_traffic: bool
    phi: float | None = None
    probe: ProbeResult | None = None
    ejected_until_s: float | None = None
    times: int = 0
    drained: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class VersionHealth:
    """One version. `why`: why it is not up, or that it is in panic; empty otherwise. `until_s`: in how many seconds an
    open breaker lets it be tried (0: now); None while its breaker is closed. `panic`: whether health is disregarded
    because too few servers are well.
    """

    name: str
    state: VersionState
    why: str = ""
    until_s: float | None = None
    panic: bool = False
