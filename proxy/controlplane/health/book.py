"""The one place that knows how every server is: by probes, by what workers noticed, by what an operator drained.

Invariants: it knows exactly the servers of the snapshot in force; news of others are dropped. What is known of a server
stays when a snapshot changes, as long as its version is judged in the same way. What a predecessor knew is known from
the first snapshot on, and is no turn: it was told when it happened.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from proxy.clock import Clock, monotonic
from proxy.controlplane.health.pages import Entry, Key, Page, Turn, is_newer
from proxy.controlplane.health.values import ProbeResult, ServerHealth, VersionHealth
from proxy.core.health.effective import effective_shares
from proxy.core.health.probing import Probing
from proxy.core.route import Route, Version
from proxy.core.snapshot import Snapshot
from proxy.ipc.messages import Noticed


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
        self._pages: dict[str, Page] = {}
        self._adopted: tuple[Noticed, ...] = ()

    # ---- for views

    def servers(self, version: str) -> tuple[ServerHealth, ...]:
        """The servers of a version, in the order of the file; empty for a version that is not configured."""
        page = self._pages.get(version)
        return page.servers(self.clock()) if page is not None else ()

    def version(self, name: str) -> VersionHealth:
        """One version; one that is not configured is simply up."""
        page = self._pages.get(name)
        return page.itself(self.clock()) if page is not None else VersionHealth(name, "up")

    def versions(self) -> tuple[VersionHealth, ...]:
        """All versions, in the order of the file."""
        return tuple(map(self.version, self._pages))

    def effective(self, route: Route) -> dict[str, float]:
        """The part (0 to 1) of the route's requests that is really sent to each version of its split, in its order."""
        states = {name: self._pages[name].state for name, _ in route.split if name in self._pages}
        return effective_shares(route, states)

    # ---- what is configured

    def adopt(self, news: Iterable[Noticed]) -> None:
        """Go on from what a predecessor's workers have noticed. Only before the first `configure`.

        Of what that snapshot does not have, or does not judge by traffic, nothing is kept.
        """
        self._adopted = tuple(news)

    def configure(self, snapshot: Snapshot) -> None:
        """Know the servers of this snapshot, and no others, from now on."""
        now, before = self.clock(), self._pages
        self._pages = {version.name: _turned_over(before.get(version.name), version, snapshot.drained, now)
                       for version in snapshot.versions}
        self._take_over()
        for page in self._pages.values():
            self._conclude(page)
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
            self._turned_by_probes(key, entry)
            self._conclude(self._pages[key[0]])
        return turned

    def looked(self) -> bool:
        """Judge everybody's silence by now; whether that changed what is out."""
        now = self.clock()
        silent = [key for key, judge in self.judges() if judge.looked(now)]
        for version, server in silent:
            self._turned_by_probes((version, server), self._pages[version].entries[server])
        for version in dict.fromkeys(version for version, _ in silent):  # once, however many of its servers turned
            self._conclude(self._pages[version])
        return bool(silent)

    def noticed(self, news: Noticed) -> bool:
        """Take in what a worker says; whether it is newer than what is known, so that others have to know it."""
        page = self._pages.get(news.version)
        if page is None:
            return False
        return self._noticed_server(page, news) if news.server else self._noticed_version(page, news)

    # ---- for workers, and for a successor

    def out_by_probes(self) -> tuple[Key, ...]:
        """Every server that is out by what probes say."""
        return tuple(key for key, judge in self.judges() if judge.is_out)

    def out_by_traffic(self) -> tuple[Noticed, ...]:
        """The newest of every server and version that traffic has put out. All workers of a successor are new: of what
        is in they have no epoch yet, either.
        """
        return tuple(news for news in self.newest() if news.out)

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

    def _take_over(self) -> None:
        adopted, self._adopted = self._adopted, ()
        here = [news.version for news in adopted
                if news.version in self._pages and self._pages[news.version].adopt(news)]
        for version in dict.fromkeys(here):
            self._pages[version].conclude()  # no turn: whoever knew this first has told what follows from it

    def _noticed_server(self, page: Page, news: Noticed) -> bool:
        entry = page.entries.get(news.server)
        if entry is None or page.version.health.ejection is None or not is_newer(news, entry.news):
            return False
        was_out, was_well, epoch = entry.ejected, entry.well, entry.news.epoch if entry.news is not None else 0
        entry.news = news
        if news.out and (not was_out or news.epoch > epoch):  # what two workers do at once counts once
            self.ejections[news.version, news.server] += 1
        if was_out and not news.out:
            entry.back_at = self.clock()
        if entry.well != was_well:
            until = self.wall() + news.until - self.clock() if news.out else None
            self.on_turn(Turn(news.version, news.server, news.out, "traffic", news.why, until))
            self._conclude(page)
        return True

    def _noticed_version(self, page: Page, news: Noticed) -> bool:
        if page.version.health.breaker is None or not is_newer(news, page.news):
            return False
        page.news = news
        self._conclude(page)
        return True

    def _turned_by_probes(self, key: Key, entry: Entry) -> None:
        if not entry.out:
            entry.back_at = self.clock()
            if entry.news is not None and entry.ejected:  # workers need not wait out its time, and do not
                entry.news = replace(entry.news, until=min(entry.news.until, entry.back_at))
        if not entry.ejected:                               # else it was out, and still is
            self.on_turn(Turn(*key, entry.out, "probe", entry.judge.why if entry.judge is not None else ""))

    def _conclude(self, page: Page) -> None:
        if (turn := page.conclude()) is not None:
            self.on_turn(turn)

    def _entry(self, key: Key) -> Entry | None:
        page = self._pages.get(key[0])
        return None if page is None else page.entries.get(key[1])


def _turned_over(before: Page | None, version: Version, drained: frozenset[Key], now: float) -> Page:
    """A new page for a version, with what is still true of the one before."""
    page = Page(version)
    if before is not None:
        page.said_down = before.said_down
        page.news = before.news if version.health.breaker is not None else None
    for address in (server.address for server in version.servers):
        known = before.entries.get(address) if before is not None else None
        entry = (known or Entry()).judged_by(version.health, now)
        entry.drained = (version.name, address) in drained
        page.entries[address] = entry
    return page


def _nobody(_turn: Turn) -> None:
    """Stand in for whoever wants to know."""
