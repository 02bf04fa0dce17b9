from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.admin.control import Patience
from proxy.admin.sse import MAX_STREAMS
from proxy.controlplane.events import Author, Event
from proxy.controlplane.feed import QUEUE
from tests.support.admin import OPERATOR, VIEWER, Asked, asked, run, settings
from tests.support.deadline import WITHIN_S, until


def test_events_are_read_page_by_page_oldest_first() -> None:
    async def test(it: Asked) -> None:
        for new in range(1, 8):
            await it.split({"old": 100 - new, "new": new}, reason=f"step {new}")
        first = (await it.get("/api/v1/events?limit=3")).body
        assert [event["reason"] for event in first["events"]] == ["step 1", "step 2", "step 3"]
        assert (first["more"], first["last_id"]) == (True, 7)
        after = first["events"][-1]["id"]
        rest = (await it.get(f"/api/v1/events?after={after}&limit=1000")).body
        assert [event["reason"] for event in rest["events"]] == ["step 4", "step 5", "step 6", "step 7"]
        assert rest["more"] is False
        newest = (await it.get("/api/v1/events?newest=true&limit=2")).body
        assert [event["reason"] for event in newest["events"]] == ["step 6", "step 7"]
        assert newest["more"] is True

    run(test)


def test_an_event_says_who_did_what_to_what_and_why() -> None:
    async def test(it: Asked) -> None:
        await it.split({"old": 50, "new": 50}, reason="half of them")
        await it.split({"old": 0, "new": 1}, "api")
        (event,) = (await it.get("/api/v1/events?route=shop")).body["events"]
        assert event["at"] == pytest.approx(it.control.wall(), abs=60)
        assert {key: event[key] for key in ("author", "origin", "verb", "route", "reason", "revision")} == {
            "author": "loopback", "origin": "127.0.0.1", "verb": "split", "route": "shop", "reason": "half of them",
            "revision": 2}
        assert event["before"]["split"] == {"old": 95, "new": 5}
        assert event["after"]["split"] == {"old": 50, "new": 50}

    run(test)


@pytest.mark.parametrize(("query", "place"), [
    ("limit=0", "limit"), ("limit=1001", "limit"), ("limit=ten", "limit"), ("after=-1", "after"),
    ("after=1.0", "after"),
    ("after=" + "9" * 30, "after"), ("route=a/b", "route"), ("newest=yes", "newest"), ("since=1", "since"),
    ("limit=1&limit=2", "limit"),
])
def test_a_query_that_means_nothing_is_refused_with_its_name(query: str, place: str) -> None:
    async def test(it: Asked) -> None:
        answer = await it.get(f"/api/v1/events?{query}")
        assert (answer.status, set(answer.faults)) == (400, {place})

    run(test, start=False)


@dataclass
class Message:
    """One event of a stream; a comment has only text."""

    id: int | None = None
    event: str = ""
    data: Any = None
    comment: str = ""


class Stream:
    """A stream that is being read."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> Message | None:
        """The next message or comment; None at the end of the stream."""
        message = Message()
        async with asyncio.timeout(WITHIN_S):
            while line := await self.response.content.readline():
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "":
                    if value:
                        message.comment = value
                    elif message != Message():
                        return message
                elif name == "id":
                    message.id = int(value)
                elif name == "event":
                    message.event = value
                elif name == "data":
                    message.data = json.loads(value)
        return None

    async def reasons(self, count: int) -> list[str]:
        """The reasons of the next events."""
        found: list[str] = []
        while len(found) < count:
            message = await self.next()
            assert message is not None
            if message.event:
                found.append(message.data["reason"])
        return found


@asynccontextmanager
async def stream(it: Asked, query: str = "", **fields: str) -> AsyncIterator[Stream]:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    if it.token:
        headers["Authorization"] = f"Bearer {it.token}"
    timeout = aiohttp.ClientTimeout(sock_read=WITHIN_S)
    async with it.session.get(f"{it.base}/api/v1/events/stream{query}", headers=headers, timeout=timeout) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        yield Stream(response)


def event(reason: str) -> Event:
    return Event(0.0, Author("tester"), "note", 1, "shop", reason=reason)


async def note(it: Asked, *reasons: str) -> None:
    """Journal and publish events, as a change does."""
    for done in it.control.journal.append([event(reason) for reason in reasons], None):
        it.control.commands.feed.publish(done)


def test_a_stream_tells_what_happens_from_now_on() -> None:
    async def test(it: Asked) -> None:
        await note(it, "before")
        async with stream(it) as reading:
            await it.split({"old": 50, "new": 50}, reason="now")
            message = await reading.next()
            assert message is not None
            assert (message.id, message.event, message.data["reason"]) == (2, "split", "now")
            assert message.data == (await it.get("/api/v1/events?after=1")).body["events"][0]

    run(test)


def test_a_reader_that_comes_back_gets_what_it_missed_and_then_what_happens_each_once() -> None:
    async def test(it: Asked) -> None:
        await note(it, *(f"missed {number}" for number in range(450)))       # more than two pages of the journal
        for given in ({"Last_Event_ID": "3"}, {}):
            query = "" if given else "?after=3"
            async with stream(it, query, **given) as reading:
                await note(it, "live")
                reasons = await reading.reasons(448)
                assert reasons[:447] == [f"missed {number}" for number in range(3, 450)]
                assert reasons[447] == "live"

    run(test)


def test_nothing_is_lost_or_told_twice_while_it_catches_up() -> None:
    async def test(it: Asked) -> None:
        total = 600

        async def publish() -> None:
            for number in range(total):
                await note(it, str(number))
                if number % 7 == 0:
                    await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            group.create_task(publish())
            for _ in range(5):
                async with stream(it, "?after=0") as reading:
                    count = min(total, it.control.journal.last_id + 20)
                    assert await reading.reasons(count) == [str(number) for number in range(count)]

    run(test)


def test_the_field_of_a_browser_that_comes_back_counts_more_than_its_address() -> None:
    async def test(it: Asked) -> None:
        await note(it, "one", "two", "three")
        async with stream(it, "?after=0", Last_Event_ID="2") as reading:
            assert await reading.reasons(1) == ["three"]
        assert (await it.get("/api/v1/events/stream", Last_Event_ID="two")).status == 400

    run(test)


def test_one_route_can_be_followed_alone() -> None:
    async def test(it: Asked) -> None:
        await it.split({"old": 1, "new": 1}, "api", reason="other before")
        await it.split({"old": 1, "new": 1}, "shop", reason="mine before")
        async with stream(it, "?route=shop&after=0") as reading:
            assert await reading.reasons(1) == ["mine before"]
            await it.split({"old": 1, "new": 2}, "api", reason="other")
            await it.split({"old": 1, "new": 2}, "shop", reason="mine")
            assert await reading.reasons(1) == ["mine"]

    run(test)


def test_who_asks_for_events_that_are_kept_no_more_is_told_of_the_gap() -> None:
    async def test(it: Asked) -> None:
        await note(it, *map(str, range(1, 400)))
        await note(it, *map(str, range(400, 500)))
        oldest = it.control.journal.events(0, 1)[0].id
        assert oldest > 2
        async with stream(it, "?after=1") as reading:
            gap = await reading.next()
            assert gap is not None
            assert (gap.event, gap.data) == ("gap", {"after": 1, "oldest": oldest})
            assert await reading.reasons(1) == [str(oldest)]
        async with stream(it, "?after=10000") as reading:       # of another journal
            gap = await reading.next()
            assert gap is not None
            assert gap.event == "gap"
            assert await reading.reasons(1) == [str(oldest)]

    run(test, settings(more="journal: {events: 100}\n"))


def test_a_silent_stream_shows_that_it_is_alive() -> None:
    async def test(it: Asked) -> None:
        async with stream(it) as reading:
            for _ in range(3):
                message = await reading.next()
                assert message is not None
                assert message.comment

    run(test, patience=Patience(heartbeat_s=0.02), start=False)


def test_a_reader_whose_token_is_taken_away_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPERATOR_TOKEN", OPERATOR)
    monkeypatch.setenv("VIEWER_TOKEN", "another-token-0123456789")

    async def test(it: Asked) -> None:
        it.token = VIEWER
        async with stream(it) as reading:
            assert await reading.next() is not None
            assert (await it.ask("POST", "/api/v1/config/reload", token=OPERATOR)).status == 200
            while await reading.next() is not None:
                pass

    run(test, settings(tokens=True, file=tmp_path / "turnout.yaml"), patience=Patience(heartbeat_s=0.02))


def test_a_reader_without_a_token_any_more_gets_no_event_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Events that come faster than heartbeats leave no heartbeat to ask at."""
    monkeypatch.setenv("OPERATOR_TOKEN", OPERATOR)
    monkeypatch.setenv("VIEWER_TOKEN", "another-token-0123456789")

    async def test(it: Asked) -> None:
        it.token = VIEWER
        async with stream(it) as reading:
            assert (await it.ask("POST", "/api/v1/config/reload", token=OPERATOR)).status == 200
            await note(it, "what is none of its business any more")
            assert await reading.next() is None

    run(test, settings(tokens=True, file=tmp_path / "turnout.yaml"), patience=Patience(heartbeat_s=3600.0))


def test_a_reader_elsewhere_is_let_go_when_no_token_is_left_to_have(tmp_path: Path) -> None:
    file = tmp_path / "turnout.yaml"

    async def test(it: Asked) -> None:
        it.base = f"http://127.0.0.1:{it.base.rpartition(':')[2]}"
        it.token = VIEWER
        async with stream(it) as reading:
            settings(file=file)
            assert (await it.ask("POST", "/api/v1/config/reload", token=OPERATOR)).status == 200
            while await reading.next() is not None:
                pass

    run(test, settings(tokens=True, admin="0.0.0.0:0", file=file), patience=Patience(heartbeat_s=0.02))


def test_there_are_so_many_streams_and_no_more_and_one_that_leaves_makes_room() -> None:
    async def test(it: Asked) -> None:
        async with AsyncExitStack() as opened:
            session = await opened.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
            url = f"{it.base}/api/v1/events/stream"
            streams = [await opened.enter_async_context(session.get(url)) for _ in range(MAX_STREAMS)]
            refused = await it.get("/api/v1/events/stream")
            assert (refused.status, refused.headers["Retry-After"]) == (503, "10")
            assert (await it.get("/api/v1/status")).status == 200
            streams[0].close()
            await until(lambda: len(it.control.commands.feed) == MAX_STREAMS, "the place is free")
            async with stream(it):
                pass

    run(test)


def test_a_reader_that_does_not_read_is_dropped_and_holds_no_memory() -> None:
    async def main() -> None:
        async with asked(patience=Patience(heartbeat_s=0.05, write_s=0.1), start=False) as it:
            host, _, port = it.base.removeprefix("http://").rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
            writer.write(b"GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            feed = it.control.commands.feed
            await until(lambda: len(feed) == 2, "the stream is open, beside the tally")
            for _ in range(300):                            # 60 MB, more than any socket's buffers
                await note(it, *(["x" * 20_000] * 10))
                if len(feed) < 2:
                    break
                await asyncio.sleep(0.005)
            await until(lambda: len(feed) < 2, "the reader is dropped")
            writer.close()
            assert reader is not None

    asyncio.run(main())


def test_a_reader_that_lags_behind_is_told_so_and_let_go() -> None:
    async def test(it: Asked) -> None:
        async with stream(it) as reading:
            await until(lambda: len(it.control.commands.feed) == 2, "the stream is open, beside the tally")
            for done in it.control.journal.append([event(str(number)) for number in range(QUEUE + 10)], None):
                it.control.commands.feed.publish(done)      # in one turn of the loop: nobody could read meanwhile
            message = await reading.next()
            while message is not None and message.event != "lagged":
                message = await reading.next()
            assert message is not None
            assert await reading.next() is None
        assert it.control.commands.feed.dropped == 2      # with the tally

    run(test)


def test_streams_end_at_once_when_the_server_does() -> None:
    async def main() -> None:
        async with asked(start=False) as it:
            session = aiohttp.ClientSession()
            response = await session.get(f"{it.base}/api/v1/events/stream")
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 0.9      # the server's patience with answers is a second
        assert b"retry: " in await response.read()
        await session.close()

    asyncio.run(main())


def test_a_stream_is_for_who_may_read() -> None:
    async def test(it: Asked) -> None:
        assert (await it.get("/api/v1/events/stream")).status == 401
        for it.token in (VIEWER, OPERATOR):
            async with stream(it):
                pass

    run(test, settings(tokens=True), start=False)
