"""What the book has noted of each server and version, and how that reads.

Invariant: a page's `state` and `panic` are what its entries come to, as of the last `conclude`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from proxy.controlplane.health.values import ProbeResult, ServerHealth, ServerState, VersionHealth
from proxy.core.health.growth import outranks
from proxy.core.health.probing import Probing
from proxy.core.health.standing import Standing, VersionState, is_panic, taking, version_state
from proxy.core.health.values import Health
from proxy.core.route import Version
from proxy.ipc.messages import Noticed

Key = tuple[str, str]
"""A version and the address of one of its servers; an empty address is the version itself."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A server (or, with an empty `server`, a version) went out or came in.

    A server is out from when the first of probes and traffic puts it out until neither does any more. `by`: who of them
    brought the turn; None for a version. `until`: when what traffic put out is tried again, in seconds since the epoch;
    else None.
    """

    version: str
    server: str
    out: bool
    by: Literal["probe", "traffic"] | None
    why: str
    until: float | None = None


@dataclass(slots=True)
class Entry:
    """One server. `judge` and `result`: of its probes. `news`: the newest that a worker said. `back_at`: when it came
    back last. `drained`: by an operator.
    """

    judge: Probing | None = None
    result: ProbeResult | None = None
    news: Noticed | None = None
    back_at: float | None = None
    drained: bool = False

    @property
    def ejected(self) -> bool:
        """Whether traffic has put it out."""
        return self.news is not None and self.news.out

    @property
    def out(self) -> bool:
        """Whether probes have put it out."""
        return self.judge is not None and self.judge.is_out

    @property
    def well(self) -> bool:
        """Whether neither has put it out."""
        return not (self.out or self.ejected)

    def judged_by(self, health: Health, now: float) -> Entry:
        """The same with what is still true when the server is judged in this way from now on."""
        if health.probe is None:
            self.judge = self.result = None
        elif self.judge is None or self.judge.probe != health.probe:
            self.judge, self.result = Probing(health.probe, now), None
        if health.ejection is None:
            self.news = None
        return self

    def why(self, state: ServerState) -> str:
        """Why it is in this state, for people."""
        if state in ("out", "suspect") and self.judge is not None:
            return self.judge.why
        if state in ("ejected", "trial") and self.news is not None:
            return self.news.why
        return "drained by an operator" if state == "drained" else ""


@dataclass(slots=True)
class Page:
    """One version: its servers by address, and the newest that a worker said of it as a whole. `said_down`: whether
    people were told last that it is down.
    """

    version: Version
    entries: dict[str, Entry] = field(default_factory=dict)
    news: Noticed | None = None
    state: VersionState = "up"
    panic: bool = False
    said_down: bool = False

    def conclude(self) -> Turn | None:
        """Draw the conclusions; what there is to say when it went down or came up. Drained by an operator is neither.
        """
        standings = self._standings()
        self.state = version_state(standings, tripped=self._tripped)
        self.panic = is_panic(standings, self.version.health.panic)
        if self.state == "drained" or (self.state == "down") == self.said_down:
            return None
        self.said_down = self.state == "down"
        return Turn(self.version.name, "", self.said_down, None, self._why())

    def adopt(self, news: Noticed) -> bool:
        """Know this, and draw no conclusions; whether it is of something that is here, and is judged by traffic."""
        entry = self.entries.get(news.server)
        if not news.server and self.version.health.breaker is not None:
            self.news = news
        elif entry is not None and self.version.health.ejection is not None:
            entry.news = news
        else:
            return False
        return True

    def servers(self, now: float) -> tuple[ServerHealth, ...]:
        """Its servers, in the order of the file."""
        takes = taking(self._standings(), self.version.health.panic, tripped=self._tripped)
        return tuple(self._server(address, entry, takes_traffic, now)
                     for (address, entry), takes_traffic in zip(self.entries.items(), takes, strict=True))

    def itself(self, now: float) -> VersionHealth:
        """The version as a whole."""
        return VersionHealth(self.version.name, self.state, self._why(), _left_s(self.news, now), self.panic)

    def _server(self, address: str, entry: Entry, takes_traffic: bool, now: float) -> ServerHealth:
        state = self._state(entry, now)
        return ServerHealth(
            self.version.name, address, state, takes_traffic,
            phi=None if entry.judge is None else entry.judge.phi(now), probe=entry.result,
            ejected_until_s=_left_s(entry.news, now), times=entry.news.times if entry.news is not None else 0,
            drained=entry.drained, why=entry.why(state))

    def _state(self, entry: Entry, now: float) -> ServerState:
        if entry.drained:
            return "drained"
        if entry.out:
            return "out"
        if (left_s := _left_s(entry.news, now)) is not None:
            return "ejected" if left_s > 0 else "trial"
        if entry.back_at is not None and now - entry.back_at < self.version.health.slow_start_s:
            return "warming"
        return "suspect" if entry.judge is not None and entry.judge.state == "suspect" else "up"

    def _standings(self) -> list[Standing]:
        return [Standing(entry.drained, entry.well) for entry in self.entries.values()]

    @property
    def _tripped(self) -> bool:
        return self.news is not None and self.news.out

    def _why(self) -> str:
        if self.state == "drained":
            return "every server is drained"
        if self.state == "down":
            return (self.news.why or "its breaker is open") if self.news is not None and self._tripped \
                else "no server is in"
        return "too few servers are well: health is disregarded" if self.panic else ""


def is_newer(news: Noticed, known: Noticed | None) -> bool:
    """Whether workers would take in `news` when they have heard `known`."""
    return known is None or outranks((news.epoch, news.out, news.until, news.times),
                                     (known.epoch, known.out, known.until, known.times))


def _left_s(news: Noticed | None, now: float) -> float | None:
    """In how many seconds something that traffic put out may be tried; None when it is in."""
    return max(0.0, news.until - now) if news is not None and news.out else None
