"""Events as they happen, for everybody who listens: the API's stream, and later automation.

Invariant: publishing never waits. A subscriber has a bounded queue, and loses its subscription when it is full: the
journal has all events, so it can come back and ask for what it missed.
"""

from __future__ import annotations

import asyncio
from collections import deque

from proxy.controlplane.events import Event

QUEUE = 1_000
"""Events that a subscriber may be behind: minutes of an incident, some hundred kilobytes."""


class Subscription:
    """One listener's view: `async for event in subscription`, until it is closed by either side.

    `lagged` is True when the feed closed it because its queue was full; what is still queued is thrown away then.
    """

    def __init__(self, feed: EventFeed, size: int) -> None:
        self._feed = feed
        self._size = size
        self._queue: deque[Event] = deque()
        self._wake = asyncio.Event()
        self.closed = False
        self.lagged = False

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not self._queue:
            if self.closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._queue.popleft()

    def close(self) -> None:
        """End the subscription, also while somebody waits for its next event. Any number of times."""
        self.closed = True
        self._feed.forget(self)
        self._wake.set()

    def offer(self, event: Event) -> None:
        """Queue an event, or give the subscriber up (for the feed)."""
        if len(self._queue) < self._size:
            self._queue.append(event)
            self._wake.set()
            return
        self.lagged = True
        self._queue.clear()
        self.close()


class EventFeed:
    """Where events are published. `dropped` counts the subscribers that were given up because they lagged."""

    def __init__(self, size: int = QUEUE) -> None:
        self._size = size
        self._subscriptions: set[Subscription] = set()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._subscriptions)

    def subscribe(self) -> Subscription:
        """Listen from now on; the subscriber closes it."""
        subscription = Subscription(self, self._size)
        self._subscriptions.add(subscription)
        return subscription

    def publish(self, event: Event) -> None:
        """Give the event to every subscriber, in the order of ids."""
        for subscription in tuple(self._subscriptions):
            subscription.offer(event)
            self.dropped += subscription.lagged

    def forget(self, subscription: Subscription) -> None:
        """Publish nothing more to it (for the subscription)."""
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every subscription, once what is queued was read."""
        for subscription in tuple(self._subscriptions):
            subscription.close()
