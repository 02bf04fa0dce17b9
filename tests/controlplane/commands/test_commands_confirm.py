from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.controlplane.commands.confirm import ConfirmTimer
from proxy.controlplane.commands.transactions import Plan, Transactions
from proxy.controlplane.events import TURNOUT, Event
from proxy.core import changes
from proxy.core.merge import merged
from tests.support.commanding import Backends, Time, backends, by_ann, compiled, desk, scenario
from tests.support.deadline import until


@pytest.fixture
def servers() -> Iterator[Backends]:
    with backends() as made:
        yield made


@scenario
async def test_a_change_that_nobody_confirms_is_undone_by_turnout_itself(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        outcome = await it.commands.split("shop", {"new": 1}, by_ann(within_s=600.0))
        pending = outcome.state.routes["shop"].pending
        assert pending is not None
        assert pending.until == it.time() + 600
        it.time.now += 599.9
        await it.commands.timer.revert_due()
        assert it.split() == {"old": 0, "new": 1}
        it.time.now += 0.1
        await it.commands.timer.revert_due()
        assert it.split() == {"old": 95, "new": 5}
        event = it.events()[-1]
        assert (event.verb, event.author, event.revision) == ("revert", TURNOUT, 3)
        assert event.reason == "not confirmed in time"


@scenario
async def test_the_timer_wakes_by_itself(servers: Backends) -> None:
    time = Time(1_700_000_000.0)
    async with desk(servers.settings(), time=time) as it:
        subscription = it.commands.feed.subscribe()
        await it.commands.split("shop", {"new": 1}, by_ann(within_s=0.1))
        assert (await anext(subscription)).verb == "split"
        time.now += 0.2
        assert (await anext(subscription)).verb == "revert"


@scenario
async def test_a_confirmed_change_lasts_and_so_does_one_that_another_confirmed(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        await it.commands.split("shop", {"new": 1}, by_ann(within_s=10.0))
        await it.commands.confirm("shop", by_ann("looks good"))
        await it.commands.split("cart", {"new": 1}, by_ann(within_s=10.0))
        await it.commands.split("cart", {"old": 1, "new": 1}, by_ann())
        it.time.now += 1000
        await it.commands.timer.revert_due()
        assert (it.split("shop"), it.split("cart")) == ({"old": 0, "new": 1}, {"old": 1, "new": 1})
        assert it.events("confirm")[0].reason == "looks good"


@scenario
async def test_what_became_due_while_turnout_was_away_is_reverted_when_it_starts(
    servers: Backends, tmp_path: Path
) -> None:
    settings, time = servers.settings(), Time()
    async with desk(settings, tmp_path, time=time) as it:
        await it.commands.split("shop", {"new": 1}, by_ann(within_s=60.0))
        await it.commands.split("cart", {"new": 1}, by_ann(within_s=600.0))
    time.now += 60
    async with desk(settings, tmp_path, time=time) as it:
        assert (it.split("shop"), it.split("cart")) == ({"old": 95, "new": 5}, {"old": 0, "new": 1})
        assert [(event.route, event.author) for event in it.events("revert")] == [("shop", TURNOUT)]
        time.now += 540
        await it.commands.timer.revert_due()
        assert it.split("cart") == {"old": 50, "new": 50}


@scenario
async def test_it_does_not_go_back_to_a_version_that_is_down_says_so_once_and_tries_again(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        await it.commands.split("shop", {"new": 1}, by_ann(within_s=10.0))
        servers.take_down("old")
        it.time.now += 10
        for _ in range(3):
            await it.commands.timer.revert_due()
            it.time.now += 5
        await it.commands.flush()
        held, = it.events("revert-held")
        assert it.split() == {"old": 0, "new": 1}
        assert (held.author, held.route) == (TURNOUT, "shop")
        assert "`shop` would go to `old`, where no server accepts a connection" in held.reason
        assert held.before == {"split": {"old": 0, "new": 1}, "shadow": None}
        assert held.after == {"split": {"old": 95, "new": 5}, "shadow": None}
        servers.bring_up("old")
        await it.commands.timer.revert_due()
        assert it.split() == {"old": 95, "new": 5}


@scenario
async def test_one_way_back_that_is_blocked_does_not_block_another(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        await it.commands.split("shop", {"new": 1}, by_ann(within_s=1.0))
        await it.commands.split("cart", {"old": 1}, by_ann(within_s=2.0))
        servers.take_down("old")
        it.time.now += 10
        await it.commands.timer.revert_due()
        assert (it.split("shop"), it.split("cart")) == ({"old": 0, "new": 1}, {"old": 50, "new": 50})


@scenario
async def test_what_cannot_be_journaled_is_reverted_once_it_can(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        await it.commands.split("shop", {"new": 1}, by_ann(within_s=1.0))
        await it.commands.pause("a successor takes over")
        it.time.now += 10
        await it.commands.timer.revert_due()
        assert it.split() == {"old": 0, "new": 1}
        it.commands.resume()
        it.time.now += 5
        await it.commands.timer.revert_due()
        assert it.split() == {"old": 95, "new": 5}
        assert it.events("revert-held") == []


@scenario
async def test_rolling_back_leaves_nothing_to_revert(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        await it.commands.split("shop", {"new": 1}, by_ann(within_s=1.0))
        await it.commands.rollback("shop", by_ann())
        it.time.now += 10
        await it.commands.timer.revert_due()
        assert it.split() == {"old": 1, "new": 0}
        await until(lambda: len(it.events()) == 2, "split and rollback")


@scenario
async def test_a_route_that_leaves_while_another_is_reverted_does_not_end_the_timer(servers: Backends) -> None:
    settings, time, recorded = servers.settings(), Time(), list[Event]()
    shop, cart = settings.routes
    async with desk(settings, time=time) as it:
        state = changes.split(it.commands.state, shop, {"new": 1}, time(), 1.0).state
        state = changes.split(state, cart, {"old": 1}, time(), 2.0).state
        it.journal.append([], state)
        transactions = Transactions(settings, state, it.journal, it.supervisor, compiled, time, time)
        timer, gate = ConfirmTimer(transactions, recorded.append), asyncio.Event()

        async def cart_leaves() -> Plan:
            await gate.wait()
            step = merged([shop], settings.versions, state, transactions.routes)
            return Plan(step, ("cart",), replace(settings, routes=(shop,)))

        leaving = asyncio.create_task(transactions.run(cart_leaves, by_ann()))
        await asyncio.sleep(0)
        time.now += 10
        reverting = asyncio.create_task(timer.revert_due())
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(leaving, reverting)
        assert transactions.state.routes.keys() == {"shop"}
        assert dict(transactions.state.routes["shop"].course.split) == {"old": 95, "new": 5}
        await transactions.close()
