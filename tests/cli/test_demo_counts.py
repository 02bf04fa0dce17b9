"""What the demo counts, and how it counts what should not happen: real servers that answer wrongly or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import ClientSession, web

from proxy.cli.demo.backends import GREETINGS, backends
from proxy.cli.demo.picture import your_story
from proxy.cli.demo.stage import Outcome
from proxy.cli.demo.style import Style
from proxy.cli.demo.summary import as_text
from proxy.cli.demo.tally import YOU, Tally
from proxy.cli.demo.users import happens, traffic

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


async def users_of(handler: Handler, until: asyncio.Event) -> Tally:
    """Three users ask a server that answers by `handler`, until the event."""
    tally = Tally(users=3)
    tally.begin(0)
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with traffic(f"http://127.0.0.1:{runner.addresses[0][1]}/", tally):
            assert await happens(until, 30.0)
    finally:
        await runner.cleanup()
    return tally


def test_an_answer_that_is_no_versions_own_is_a_failure() -> None:
    async def story() -> Tally:
        asked = asyncio.Event()

        async def broken(_request: web.BaseRequest) -> web.Response:
            asked.set()
            return web.Response(status=502, text="no server answers")

        return await users_of(broken, asked)

    tally = asyncio.run(story())
    assert tally.failures > 0
    assert tally.first_failure == "status 502: 'no server answers'"
    assert not Outcome(tally).ok
    assert "status 502" in as_text(Outcome(tally), Style(colour=False))


def test_a_request_that_is_never_answered_is_a_failure_when_the_demo_ends() -> None:
    async def story() -> Tally:
        asked, never = asyncio.Event(), asyncio.Event()

        async def silent(_request: web.BaseRequest) -> web.Response:
            asked.set()
            await never.wait()
            return web.Response()

        return await users_of(silent, asked)

    tally = asyncio.run(story())
    assert tally.failures > 0
    assert tally.first_failure is not None
    assert "no answer" in tally.first_failure


def test_the_two_versions_give_answers_that_are_told_apart() -> None:
    async def story() -> list[str]:
        async with backends() as versions, ClientSession() as client:
            return [await (await client.get(url)).text() for url in (versions.old, versions.new)]

    old, new = asyncio.run(story())
    assert old != new
    assert {"old": old, "new": new} == GREETINGS


def test_the_followed_users_way_has_a_station_per_version_not_per_request() -> None:
    tally = Tally(users=2)
    tally.begin(25)
    for version in ("old", "old", "new", "new"):
        tally.answered(YOU, version, step=0, at_s=1.0)
    assert tally.your_way == ["old", "new"]
    assert (tally.forward, tally.back) == (1, 0)
    assert your_story(tally) == "4 requests with one cookie: moved to new once, and stays there"


def test_a_user_who_gets_the_old_version_again_was_moved_back_and_the_demo_is_not_ok() -> None:
    tally = Tally(users=2)
    tally.begin(5)
    for version in ("old", "new", "old"):
        tally.answered(YOU, version, step=0, at_s=1.0)
    assert (tally.forward, tally.back) == (1, 1)
    assert not Outcome(tally).ok
    assert your_story(tally) == "3 requests with one cookie: moved old -> new -> old"


def test_a_request_belongs_to_the_step_in_which_it_was_sent() -> None:
    tally = Tally(users=2)
    tally.begin(0)
    tally.begin(5)
    tally.answered(1, "old", step=0, at_s=1.0)
    assert [step.requests for step in tally.steps] == [1, 0]
    assert tally.steps[1].share("new") is None


def test_rates_are_those_of_the_last_two_seconds() -> None:
    tally = Tally(users=2)
    tally.begin(0)
    for at_s in (0.5, 9.0, 9.5, 10.0):
        tally.answered(0, "old", step=0, at_s=at_s)
    assert tally.rates(10.0, began_s=0.0) == {"old": pytest.approx(1.5), "new": 0.0}
    assert tally.rates(20.0, began_s=0.0) == {"old": 0.0, "new": 0.0}
