from __future__ import annotations

import asyncio

from proxy.controlplane.events import TURNOUT, Event
from proxy.controlplane.feed import EventFeed
from tests.support.commanding import scenario


def event(number: int) -> Event:
    return Event(0.0, TURNOUT, "split", number, id=number)


@scenario
async def test_every_subscriber_gets_every_event_in_order() -> None:
    feed = EventFeed()
    one, other = feed.subscribe(), feed.subscribe()
    for number in range(5):
        feed.publish(event(number))
    feed.close()
    assert [found.id async for found in one] == [found.id async for found in other] == [0, 1, 2, 3, 4]


@scenario
async def test_a_subscriber_that_waits_is_woken_by_an_event_and_by_the_end() -> None:
    feed = EventFeed()
    subscription = feed.subscribe()
    waiting = asyncio.create_task(anext(subscription))
    await asyncio.sleep(0)
    feed.publish(event(7))
    assert (await waiting).id == 7
    ending = asyncio.create_task(anext(subscription, None))
    await asyncio.sleep(0)
    feed.close()
    assert await ending is None


@scenario
async def test_a_subscriber_that_lags_is_given_up_and_the_others_are_not() -> None:
    feed = EventFeed(size=3)
    slow, quick = feed.subscribe(), feed.subscribe()
    for number in range(4):
        feed.publish(event(number))
        assert (await anext(quick)).id == number
    assert (slow.lagged, slow.closed, feed.dropped, len(feed)) == (True, True, 1, 1)
    assert [found async for found in slow] == []
    assert not quick.closed


@scenario
async def test_a_subscription_that_was_closed_gets_nothing_more() -> None:
    feed = EventFeed()
    subscription = feed.subscribe()
    subscription.close()
    subscription.close()
    feed.publish(event(1))
    assert [found async for found in subscription] == []
    assert (len(feed), feed.dropped, subscription.lagged) == (0, 0, False)
