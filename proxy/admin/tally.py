"""What happened since this process began, counted for /metrics: events by verb."""

from __future__ import annotations

from collections import Counter

from proxy.controlplane.feed import EventFeed


class Tally:
    """`run` is its task; `counts` is by verb; verbs come from the program: a few dozen at most."""

    def __init__(self, feed: EventFeed) -> None:
        self._feed = feed
        self._subscription = feed.subscribe()
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Count until the feed ends. After a flood that nobody could follow it goes on with what comes next."""
        while True:
            async for event in self._subscription:
                self.counts[event.verb] += 1
            if not self._subscription.lagged:
                return
            self._subscription = self._feed.subscribe()

    def close(self) -> None:
        """End it."""
        self._subscription.close()
