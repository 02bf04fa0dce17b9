"""The traffic: users who each have a connection and a cookie jar of their own, as browsers do.

Invariant: a user has at most one request on its way, so what a user sees is in the order in which it was asked for.
The number of users bounds the load, whatever the proxy does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from proxy.cli.demo.backends import GREETINGS
from proxy.cli.demo.plan import ASKS_EVERY_S
from proxy.cli.demo.tally import YOU, Tally
from proxy.clock import monotonic
from proxy.core.split import advance

_VERSION_OF = {greeting: version for version, greeting in GREETINGS.items()}
_PATIENCE = aiohttp.ClientTimeout(total=10.0)
_FINISH_S = 1.0
"""For what is on its way when the traffic ends; answers take milliseconds."""


class Traffic:
    """Every user's requests to the proxy at `url`; what comes back goes into `tally`."""

    def __init__(self, url: str, tally: Tally) -> None:
        self._url = url
        self._tally = tally
        self._ended = asyncio.Event()
        self._users: list[asyncio.Task[None]] = []
        self.your_cookie: str | None = None
        """What the followed user's browser sends, `name=value`, so that the viewer can be that user."""

    def start(self, group: asyncio.TaskGroup) -> None:
        """Let all users begin, spread over their interval."""
        phase = 0.0
        for user in range(len(self._tally.seen)):
            self._users.append(group.create_task(self._use(user, phase * ASKS_EVERY_S), name=f"user-{user}"))
            phase = advance(phase)

    async def end(self) -> None:
        """Send nothing more, and let what is on its way arrive; what does not has failed."""
        self._ended.set()
        _, late = await asyncio.wait(self._users, timeout=_FINISH_S)
        for task in late:
            task.cancel()

    async def _use(self, user: int, delay_s: float) -> None:
        due = monotonic() + delay_s
        jar = aiohttp.CookieJar(unsafe=True)  # that is: cookies of addresses, too, not of names only
        async with aiohttp.ClientSession(cookie_jar=jar, timeout=_PATIENCE) as browser:
            while not await happens(self._ended, due - monotonic()):
                await self._ask(user, browser)
                due = max(due + ASKS_EVERY_S, monotonic())

    async def _ask(self, user: int, browser: aiohttp.ClientSession) -> None:
        tally, step = self._tally, self._tally.step
        try:
            async with browser.get(self._url) as response:
                text = await response.text()
        except asyncio.CancelledError:
            tally.failed("no answer, and the demo is over")
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            tally.failed(f"{type(error).__name__}: {error}".rstrip(": "))
            return
        version = _VERSION_OF.get(text)
        if response.status != 200 or version is None:
            tally.failed(f"status {response.status}: {text[:200]!r}")
            return
        tally.answered(user, version, step, monotonic())
        if user == YOU:
            for cookie in browser.cookie_jar:
                self.your_cookie = f"{cookie.key}={cookie.value}"


@asynccontextmanager
async def traffic(url: str, tally: Tally) -> AsyncIterator[Traffic]:
    """Let users ask at `url` for as long as the block lasts."""
    async with asyncio.TaskGroup() as group:
        users = Traffic(url, tally)
        users.start(group)
        try:
            yield users
        finally:
            await users.end()


async def happens(event: asyncio.Event, within_s: float) -> bool:
    """Wait for the event for at most so many seconds; whether it has happened."""
    if within_s > 0 and not event.is_set():
        try:
            await asyncio.wait_for(event.wait(), within_s)
        except TimeoutError:
            pass
    return event.is_set()
