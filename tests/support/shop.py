"""A worker between two versions whose servers do as they are told, and what it tells the other workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from proxy.core.health.values import Health
from proxy.core.overload.values import Load
from proxy.core.retry import Retry
from proxy.core.route import Match, Route, Version
from proxy.core.snapshot import Snapshot
from proxy.ipc.messages import Noticed
from tests.support.story import Story, WatchedWorker
from tests.support.unsteady import Mood, Unsteady
from tests.support.wire import Address
from tests.support.worker import a_snapshot, server_at

EVERYTHING = Retry(on=("connect", "reset", "timeout", "502", "503", "504"), backoff_s=0.001, most_backoff_s=0.002,
                   body=65536, floor=1000.0)
"""Another attempt after whatever may be followed by one, almost at once."""
NOTHING = Retry(on=())
PLENTY = Retry(floor=1000.0)
"""The rule by default, and as many as there are."""

Place = Unsteady | Address
_HEALTH, _LOAD = Health(), Load()


def servers(story: Story, *moods: Mood | Callable[[bytes], Mood], name: bytes = b"old") -> list[Unsteady]:
    """A server for each mood, which end with the story."""
    return [story.join(Unsteady(mood, b"%b-%d" % (name, number))) for number, mood in enumerate(moods)]


def shop_snapshot(old: Sequence[Place], new: Sequence[Place] = (), *, weight: float = 100.0, health: Health = _HEALTH,
                  load: Load = _LOAD, baseline: Load = _LOAD, drained: Sequence[tuple[str, Place]] = (),
                  retry: Retry = PLENTY, revision: int = 1, timeouts: dict[str, Any] | None = None,
                  limits: dict[str, Any] | None = None, **route: Any) -> Snapshot:
    """One route, `all`. `weight`: the percentage of `new`, the candidate, if it has servers. `load`: of the candidate,
    or of `old` where that is alone; `baseline`: of `old` otherwise. `route`: what else its rules are."""
    versions = [Version("old", tuple(map(server_at, old)), health, baseline if new else load)]
    split: tuple[tuple[str, float], ...] = (("old", 100.0),)
    if new:
        versions.append(Version("new", tuple(map(server_at, new)), health, load))
        split = (("old", 100.0 - weight), ("new", weight))
    snapshot = a_snapshot(versions=tuple(versions), routes=(Route("all", Match(), split, "old", retry=retry, **route),),
                          revision=revision, timeouts=timeouts, limits=limits)
    return replace(snapshot, drained=frozenset((name, server_at(place).address) for name, place in drained))


class Shop:
    """A worker that serves such a snapshot. `news`: what it has told."""

    def __init__(self, story: Story, old: Sequence[Place], new: Sequence[Place] = (), **rules: Any) -> None:
        self.story = story
        self._places = old, new
        self._rules = rules
        self._revision = 1
        self.worker: WatchedWorker = story.serving(shop_snapshot(old, new, **rules))
        self.news: list[Noticed] = []
        self.worker.call(lambda worker: setattr(worker, "tell", self.news.append))

    def change(self, **rules: Any) -> None:
        """Serve by other rules from now on; those that are not named stay."""
        self.worker.apply(self.snapshot(**rules))

    def snapshot(self, **rules: Any) -> Snapshot:
        """What it is to serve by from now on; rules that are not named stay."""
        self._rules |= rules
        self._revision += 1
        return shop_snapshot(*self._places, revision=self._revision, **self._rules)

    def cut(self, *versions: str, **rules: Any) -> None:
        """The same, and end what these versions are working on."""
        snapshot, pairs = self.snapshot(**rules), [("all", version) for version in versions]
        self.worker.call(lambda worker: worker.apply(snapshot, pairs))
        self.worker.sites.append(self.worker.worker.site)

    def hear(self, news: Noticed, *, for_s: float = 0.0) -> None:
        """Another worker has noticed this. `for_s`: how long it is out from now on."""
        self.worker.call(lambda worker: worker.hear(
            Noticed(news.version, news.server, news.out, news.epoch, worker.clock() + for_s, news.times, news.why)))

    def hear_probes(self, *out: tuple[str, Place]) -> None:
        """These are out by what probes say."""
        self.worker.call(lambda worker: worker.hear_probes([(name, server_at(place).address) for name, place in out]))

    def told(self) -> list[tuple[str, bool, int]]:
        """Of whom it was told that they are out, or in, and in which epoch; a version as a whole is named `*`."""
        return [(news.server or "*", news.out, news.epoch) for news in self.news]
