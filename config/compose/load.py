"""Users for docker-compose.yml: each has a browser's cookies, asks now and then, and is never in a hurry.

    python load.py http://turnout:8080 --users 40 --rate 40

The rate is bounded whatever the answers take: a user who waits for one sends none. Once a second it says what came
back, and touches a file that `--check` looks at: exit 0 if something came in the last ten seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from pathlib import Path

import aiohttp

MAX_RATE = 200.0     # requests per second: to be looked at, not to measure anything
BEAT = Path("/tmp/load.beat")  # noqa: S108 a tmpfs of this container alone


async def user(url: str, pause_s: float, seen: Counter[str]) -> None:
    """One user, for ever."""
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        while True:
            await asyncio.sleep(random.expovariate(1 / pause_s))
            try:
                async with session.get(url) as response:
                    await response.read()
                    seen[f"{response.headers.get('X-Version', 'turnout')} {response.status}"] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                seen[type(error).__name__] += 1


async def every_second(seen: Counter[str], beat: Path) -> None:
    """Say what came back, as long as it lasts."""
    while True:
        await asyncio.sleep(1)
        tell(seen, beat)
        seen.clear()


def tell(seen: Counter[str], beat: Path) -> None:
    """Say what came back within the last second; for `--check`, that something did."""
    if seen:
        beat.touch()
    print(", ".join(f"{what}: {count}" for what, count in sorted(seen.items())) or "nothing", flush=True)


async def run(url: str, users: int, rate: float, beat: Path) -> None:
    """All users, until one of them meets what nobody expected."""
    seen: Counter[str] = Counter()
    async with asyncio.TaskGroup() as group:
        group.create_task(every_second(seen, beat), name="tell")
        for number in range(users):
            group.create_task(user(url, users / rate, seen), name=f"user {number}")


def main() -> int:
    """Send, or check that somebody sends; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?")
    parser.add_argument("--users", type=int, default=40)
    parser.add_argument("--rate", type=float, default=40.0, help="requests per second, all users together")
    parser.add_argument("--beat", type=Path, default=BEAT)
    parser.add_argument("--check", action="store_true")
    told = parser.parse_args()
    if told.check:
        return 0 if told.beat.exists() and time.time() - told.beat.stat().st_mtime < 10 else 1
    if told.url is None or not 0 < told.rate <= MAX_RATE or not 0 < told.users <= 1000:
        parser.error(f"needs a URL, 1 to 1000 users, and a rate of at most {MAX_RATE:g}")
    try:
        asyncio.run(run(told.url, told.users, told.rate, told.beat))
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
