"""Events as a stream of server-sent events (WHATWG HTML §9.2): first what the reader has missed, then what happens.

Invariant: a reader gets every event once and in order, or is told that it did not (`gap`, `lagged`). It is subscribed
before the journal is read, and what comes twice by that is known by its id. Nothing is kept for a reader that does not
read: its queue is bounded by the feed, what is written to it by the connection, and after `write_s` it is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
from aiohttp import web

from proxy.admin.control import Control
from proxy.admin.doors import Connection
from proxy.admin.problems import Refused
from proxy.admin.route_views import event_view
from proxy.controlplane.events import Event
from proxy.controlplane.feed import Subscription
from proxy.controlplane.journal.journal import JournalError

MAX_STREAMS = 64
_PAGE = 200
"""Events read from the journal at once: a few hundred kilobytes, and no long turn of its lock."""
_RETRY_MS = 2000


class Streams:
    """Every open stream."""

    def __init__(self, control: Control, limit: int = MAX_STREAMS) -> None:
        self._control = control
        self._limit = limit
        self._open: dict[Subscription, web.Request] = {}
        self._ended = False

    def __len__(self) -> int:
        return len(self._open)

    async def serve(self, request: web.Request, after: int | None, route: str | None,
                    still_allowed: Callable[[], bool]) -> web.StreamResponse:
        """Answer with the events after the one of id `after`, or from now on (None), until the reader leaves.

        `route`: only its events. `still_allowed` is asked before each event and at each heartbeat. Raises Refused (503)
        when there are streams enough.
        """
        if self._ended or len(self._open) >= self._limit:
            raise Refused(503, f"{self._limit} streams are open already", headers={"Retry-After": "10"})
        subscription = self._control.commands.feed.subscribe()
        self._open[subscription] = request
        if isinstance(request.protocol, Connection):
            request.protocol.when_lost = subscription.close
        try:
            return await self._stream(request, subscription, after, route, still_allowed)
        finally:
            subscription.close()
            del self._open[subscription]

    def end(self) -> None:
        """End every stream now, and open none any more: the process is leaving, and readers come back by themselves."""
        self._ended = True
        for subscription, request in list(self._open.items()):
            subscription.close()
            if request.transport is not None and request.transport.get_write_buffer_size():
                request.transport.abort()      # it does not read, so it would not take the end either

    async def _stream(self, request: web.Request, subscription: Subscription, after: int | None, route: str | None,
                      still_allowed: Callable[[], bool]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await response.prepare(request)
        write = Writer(response, request, self._control.patience.write_s)
        await write(f"retry: {_RETRY_MS}\n\n".encode())
        last = after or 0
        if after is not None:
            try:
                async for piece, newest in self._missed(after, route):
                    await write(piece)
                    last = newest
            except JournalError as error:
                # Half of what was missed is worse than nothing: the reader comes back and asks again.
                raise ConnectionResetError("the journal cannot be read") from error
        heartbeat_s = self._control.patience.heartbeat_s
        while True:
            event = await _next(subscription, heartbeat_s)
            if event is None and subscription.closed:
                break
            if not still_allowed():
                break
            if event is None:
                await write(b": still here\n\n")
            elif event.id > last:
                last = event.id
                if route is None or event.route == route:
                    await write(encode(event))
        if subscription.lagged:
            await write(b"event: lagged\ndata: {}\n\n")
        await response.write_eof()
        return response

    async def _missed(self, after: int, route: str | None) -> AsyncIterator[tuple[bytes, int]]:
        """What the journal has after this id, in pieces, each with the id of its newest event."""
        journal = self._control.journal
        oldest = await asyncio.to_thread(journal.events, 0, 1)
        if after > 0 and (not oldest or oldest[0].id > after + 1):
            kept = oldest[0].id if oldest else None
            yield b"event: gap\ndata: " + msgspec.json.encode({"after": after, "oldest": kept}) + b"\n\n", after
        elif after > journal.last_id:
            # Not from this journal: perhaps it was lost, or there never was one on disk.
            yield b"event: gap\ndata: " + msgspec.json.encode({"after": after, "oldest": None}) + b"\n\n", 0
            after = 0
        while page := await asyncio.to_thread(journal.events, after, _PAGE, route):
            after = page[-1].id
            yield b"".join(map(encode, page)), after
            if len(page) < _PAGE:
                return


class Writer:
    """Writes to one reader, and gives it up when it does not read."""

    def __init__(self, response: web.StreamResponse, request: web.Request, within_s: float) -> None:
        self._response = response
        self._request = request
        self._within_s = within_s

    async def __call__(self, piece: bytes) -> None:
        """Write it. Raises ConnectionResetError when the reader has not taken it in time."""
        try:
            async with asyncio.timeout(self._within_s):
                await self._response.write(piece)
        except TimeoutError:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ConnectionResetError("the reader of a stream does not read") from None


async def _next(subscription: Subscription, within_s: float) -> Event | None:
    """The next event, or None when there is none in time or ever."""
    try:
        async with asyncio.timeout(within_s):
            return await anext(subscription, None)
    except TimeoutError:
        return None


def encode(event: Event) -> bytes:
    """One event as the stream carries it. JSON has no line breaks in it, so one `data` line holds it all."""
    data = msgspec.json.encode(event_view(event))
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.id, event.verb.encode(), data)
