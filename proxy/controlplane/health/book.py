"""The one place that knows how every server is: by probes, by what workers noticed, by what an operator drained.

Invariants: it knows exactly the servers of the snapshot in force; news of others are dropped. What is known of a server
stays when a snapshot changes, as long as its version is judged in the same way.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from proxy.clock import Clock, monotonic
from proxy.controlplane.health.values import ProbeResult, ServerHealth, ServerState, VersionHealth
from proxy.core.health.effective import effective_shares
from proxy.core.health.growth import outranks
from proxy.core.health.probing import Probing
from proxy.core.health.standing import Standing, is_panic, taking, version_state
from proxy.core.health.values import Health
from proxy.core.route import Route, Version
from proxy.core.snapshot import Snapshot
from proxy.ipc.messages import Noticed

Key = tuple[str, str]
"""A version and the address of one of its servers; an empty address is the version itself."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A server (or, with an empty `server`, a version) went out or came in.

    `by`: None for a version. `until`: when what traffic put out is tried again, in seconds since the epoch; else None.
    """

    version: str
    server: str
    out: bool
    by: Literal["probe", "traffic"] | None
    why: str
    until: float | None = None


@dataclass(slots=True)
class _Entry:
    """What is known of one server."""

    judge: Probing | None = None
    result: ProbeResult | None = None
    news: Noticed | None = None
    back_at: float | None = None

    @property
    def ejected(self) -> bool:
        return self.news is not None and self.news.out

    @property
    def out(self) -> bool:
        return self.judge is not None and self.judge.is_out


@dataclass(slots=True)
class _Page:
    """What is known of one version."""

    version: Version
    entries: dict[str, _Entry] = field(default_factory=dict)
    news: Noticed | None = None
    said_down: bool = False


class HealthBook:
    """See the module. `clock`: CLOCK_MONOTONIC, as in `Noticed.until`; `wall`: seconds since the epoch.

    For views: `servers`, `version`, `versions`, `effective`, and the counters `probes` (by version, server, outcome)
    and `ejections` (by version, server), which lose what is configured no more.
    """

    def __init__(self, clock: Clock = monotonic, wall: Clock = time.time) -> None:
        self.probes: Counter[tuple[str, str, str]] = Counter()
        self.ejections: Counter[Key] = Counter()
        self.on_turn: Callable[[Turn], None] = _nobody
        """Told every server and version that goes out or comes in."""
        self.clock = clock
        self.wall = wall
        self._pages: dict[str, _Page] = {}
        self._drained: frozenset[Key] = frozenset()

    # ---- for views

    def servers(self, version: str) -> tuple[ServerHealth, ...]:
        """The servers of a version, in the order of the file; empty for a version that is not configured."""
        page, now = self._pages.get(version), self.clock()
        if page is None:
            return ()
        takes = taking(self._standings(page), page.version.health.panic)
        return tuple(self._server(page, address, entry, takes_traffic, now)
                     for (address, entry), takes_traffic in zip(page.entries.items(), takes, strict=True))

    def version(self, name: str) -> VersionHealth:
        """One version; one that is not configured is simply up."""
        page = self._pages.get(name)
        if page is None:
            return VersionHealth(name, "up")
        standings = self._standings(page)
        news, panic = page.news, is_panic(standings, page.version.health.panic)
        tripped = news is not None and news.out
        until_s = max(0.0, news.until - self.clock()) if news is not None and news.out else None
        state = version_state(standings, tripped=tripped)
        return VersionHealth(name, state, self._why(page, state, panic), until_s, panic)

    def versions(self) -> tuple[VersionHealth, ...]:
        """All versions, in the order of the file."""
        return tuple(map(self.version, self._pages))

    def effective(self, route: Route) -> dict[str, float]:
        """The part (0 to 1) of the route's requests that is really sent to each version of its split, in its order."""
        return effective_shares(route, {name: self.version(name).state for name, _ in route.split})

    # ---- what is configured

    def configure(self, snapshot: Snapshot) -> None:
        """Know the servers of this snapshot, and no others, from now on."""
        now, before = self.clock(), self._pages
        self._drained = snapshot.drained
        self._pages = {version.name: self._page(version, before.get(version.name), now)
                       for version in snapshot.versions}
        for page in self._pages.values():
            self._tell_version(page)
        for probed in [key for key in self.probes if self._entry(key[:2]) is None]:
            del self.probes[probed]
        for ejected in [key for key in self.ejections if self._entry(key) is None]:
            del self.ejections[ejected]

    def judges(self) -> Iterator[tuple[Key, Probing]]:
        """Every server that is to be probed, and who judges it: another object when the way of probing has changed."""
        for name, page in self._pages.items():
            for address, entry in page.entries.items():
                if entry.judge is not None:
                    yield (name, address), entry.judge

    def _page(self, version: Version, before: _Page | None, now: float) -> _Page:
        page = _Page(version)
        if before is not None:
            page.said_down = before.said_down
            page.news = before.news if version.health.breaker is not None else None
        for server in version.servers:
            known = before.entries.get(server.address) if before is not None else None
            page.entries[server.address] = _kept(known or _Entry(), version.health, now)
        return page

    # ---- what is heard

    def probed(self, key: Key, result: ProbeResult, *, paused: bool = False) -> bool:
        """Take in how a probe ended; whether it changed what is out. See `Probing.answered` for `paused`."""
        entry = self._entry(key)
        if entry is None or entry.judge is None:
            return False
        entry.result = result
        self.probes[(*key, result.outcome)] += 1
        turned = entry.judge.answered(self.clock(), result.ok, result.detail, paused=paused)
        if turned:
            self._turned(key, entry, result.detail)
        return turned

    def looked(self) -> bool:
        """Judge everybody's silence by now; whether that changed what is out."""
        now = self.clock()
        silent = [key for key, judge in self.judges() if judge.looked(now)]
        for key in silent:
            if (entry := self._entry(key)) is not None and entry.judge is not None:
                self._turned(key, entry, entry.judge.why)
        return bool(silent)

    def noticed(self, news: Noticed) -> bool:
        """Take in what a worker says; whether it is newer than what is known, so that others have to know it."""
        page = self._pages.get(news.version)
        if page is None:
            return False
        if not news.server:
            return self._noticed_version(page, news)
        entry = page.entries.get(news.server)
        if entry is None or page.version.health.ejection is None or not _is_news(news, entry.news):
            return False
        before, entry.news = entry.ejected, news
        if news.out == before:
            return True
        now = self.clock()
        if news.out:
            self.ejections[news.version, news.server] += 1
        else:
            entry.back_at = now
        until = self.wall() + news.until - now if news.out else None
        self.on_turn(Turn(news.version, news.server, news.out, "traffic", news.why, until))
        self._tell_version(page)
        return True

    # ---- for workers

    def out_by_probes(self) -> tuple[Key, ...]:
        """Every server that is out by what probes say."""
        return tuple(key for key, judge in self.judges() if judge.is_out)

    def newest(self) -> Iterator[Noticed]:
        """The newest that workers have said of each server and version.

        Also of what is back in: who does not know how far its epochs have come would be taken for late.
        """
        for page in self._pages.values():
            for entry in page.entries.values():
                if entry.news is not None:
                    yield entry.news
            if page.news is not None:
                yield page.news

    # ---- inside

    def _noticed_version(self, page: _Page, news: Noticed) -> bool:
        if page.version.health.breaker is None or not _is_news(news, page.news):
            return False
        page.news = news
        self._tell_version(page)
        return True

    def _turned(self, key: Key, entry: _Entry, why: str) -> None:
        if not entry.out:
            entry.back_at = self.clock()
        self.on_turn(Turn(*key, entry.out, "probe", why))
        self._tell_version(self._pages[key[0]])

    def _tell_version(self, page: _Page) -> None:
        """Say when a version went down or came up; what an operator drained is neither."""
        state = version_state(self._standings(page), tripped=page.news is not None and page.news.out)
        if state == "drained" or (state == "down") == page.said_down:
            return
        page.said_down = state == "down"
        self.on_turn(Turn(page.version.name, "", page.said_down, None, self._why(page, state, False)))

    def _standings(self, page: _Page) -> list[Standing]:
        return [Standing((page.version.name, address) in self._drained, not entry.out and not entry.ejected)
                for address, entry in page.entries.items()]

    def _why(self, page: _Page, state: str, panic: bool) -> str:
        if state == "drained":
            return "every server is drained"
        if state == "down":
            news = page.news
            return (news.why or "its breaker is open") if news is not None and news.out else "no server is in"
        return "too few servers are well: health is disregarded" if panic else ""

    def _server(self, page: _Page, address: str, entry: _Entry, takes_traffic: bool, now: float) -> ServerHealth:
        news, judge = entry.news, entry.judge
        drained = (page.version.name, address) in self._drained
        until_s = max(0.0, news.until - now) if news is not None and news.out else None
        state = self._state(page, entry, drained, until_s, now)
        return ServerHealth(
            page.version.name, address, state, takes_traffic,
            phi=None if judge is None else judge.phi(now), probe=entry.result, ejected_until_s=until_s,
            times=news.times if news is not None else 0, drained=drained, why=_why_server(state, entry))

    def _state(self, page: _Page, entry: _Entry, drained: bool, until_s: float | None, now: float) -> ServerState:
        if drained:
            return "drained"
        if entry.out:
            return "out"
        if until_s is not None:
            return "ejected" if until_s > 0 else "trial"
        if entry.back_at is not None and now - entry.back_at < page.version.health.slow_start_s:
            return "warming"
        return "suspect" if entry.judge is not None and entry.judge.state == "suspect" else "up"

    def _entry(self, key: Key) -> _Entry | None:
        page = self._pages.get(key[0])
        return None if page is None else page.entries.get(key[1])


def _kept(entry: _Entry, health: Health, now: float) -> _Entry:
    """What is still true of a server that is judged in this way from now on."""
    if health.probe is None:
        entry.judge = entry.result = None
    elif entry.judge is None or entry.judge.probe != health.probe:
        entry.judge, entry.result = Probing(health.probe, now), None
    if health.ejection is None:
        entry.news = None
    return entry


def _is_news(news: Noticed, known: Noticed | None) -> bool:
    return known is None or outranks((news.epoch, news.out, news.until, news.times),
                                     (known.epoch, known.out, known.until, known.times))


def _why_server(state: ServerState, entry: _Entry) -> str:
    if state in ("out", "suspect") and entry.judge is not None:
        return entry.judge.why
    if state in ("ejected", "trial") and entry.news is not None:
        return entry.news.why
    return "drained by an operator" if state == "drained" else ""


def _nobody(_turn: Turn) -> None:
    """Stand in for whoever wants to know."""
