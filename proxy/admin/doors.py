"""The connections of the admin API: how many there are, and which one goes when there are too many.

aiohttp accepts whatever comes and waits for a head as long as it takes. Invariant: an idle or dripping connection never
keeps out a new one: at the limit, the one that has been idle longest is closed for it; only when all are busy is the
new one turned away. Who has no token is never busy for longer than a refusal takes, so nobody without one can keep an
operator out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from proxy.admin.problems import COMMON_FIELDS, problem
from proxy.clock import Clock

MAX_CONNECTIONS = 256
"""Operators, dashboards, probes and streams; each costs some 20 KiB."""
_SWEEP_EVERY_S = 1.0
_HEAD_BYTES = 8190          # a line or field of a request, aiohttp's own default
_HEAD_FIELDS = 64
_NO_LOG: Any = None
_LINGER_S = 1.0             # for the rest of a body whose answer does not need it


def _nothing() -> None:
    """Nobody waits."""


class Connection(RequestHandler):
    """One connection of aiohttp's, which knows whether a request is being answered on it and since when not."""

    def __init__(self, doors: Doors, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server, loop=loop, access_log=_NO_LOG, keepalive_timeout=doors.idle_s, lingering_time=_LINGER_S,
            max_line_size=_HEAD_BYTES, max_field_size=_HEAD_BYTES, max_headers=_HEAD_FIELDS, auto_decompress=False,
        )
        self._doors = doors
        self._admitted = False
        self._busy = False
        self._head_since: float | None = None
        self._idle_since = 0.0
        self._wire: asyncio.Transport | None = None
        self.when_lost: Callable[[], None] = _nothing
        """Called when the connection has ended: for an answer that would not notice, because it waits to have more."""

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self._busy

    @property
    def idle_since(self) -> float:
        """When the last answer was made, or the connection."""
        return self._idle_since

    def begin(self) -> None:
        """A request's head is complete and will be answered."""
        self._busy = True

    def end(self) -> None:
        """Its answer is made; it may still be on its way."""
        self._busy = False
        self._head_since = None
        self._idle_since = self._doors.clock()

    def is_late(self, now: float) -> bool:
        """Whether its client has used up its time."""
        if self._busy:
            return False
        head_late = self._head_since is not None and now - self._head_since > self._doors.head_s
        return head_late or now - self._idle_since > self._doors.idle_s

    def abort(self) -> None:
        """End it now, whatever is on its way."""
        if self._wire is not None:
            self._wire.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Come in, if there is room."""
        self._wire = cast(asyncio.Transport, transport)
        self._idle_since = self._doors.clock()
        self._admitted = self._doors.admit(self)
        if self._admitted:
            super().connection_made(transport)
        else:
            self._wire.abort()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if not self._admitted:
            return
        if not self._busy and self._head_since is None:
            self._head_since = self._doors.clock()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Leave the books."""
        self._doors.forget(self)
        self.when_lost()
        if self._admitted:
            super().connection_lost(exc)

    def handle_error(self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None,
                     message: str | None = None) -> web.StreamResponse:
        """What is no HTTP is answered as every other mistake is, and leaves no line in the log: anybody can send it."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is on its way already")
        answer = problem(status, "this is not an HTTP/1.1 request that can be read in exactly one way", COMMON_FIELDS)
        answer.force_close()
        return answer

    async def finish_response(self, request: web.BaseRequest, resp: web.StreamResponse,
                              start_time: float | None) -> tuple[web.StreamResponse, bool]:
        """Send an answer; what aiohttp refuses by itself, before the application is asked, becomes a problem, too."""
        if isinstance(resp, web.HTTPExpectationFailed):
            resp = problem(resp.status, "of `Expect`, `100-continue` is known only")
            resp.force_close()
        return await super().finish_response(request, resp, start_time)


class Doors:
    """All open connections. `head_s`, `idle_s`: see `control.Patience`. `turned_away` counts those that had to go."""

    def __init__(self, clock: Clock, head_s: float, idle_s: float, limit: int = MAX_CONNECTIONS) -> None:
        self.clock = clock
        self.head_s = head_s
        self.idle_s = idle_s
        self.open: dict[Connection, None] = {}
        self.turned_away = 0
        self._limit = limit

    def protocol(self, server: web.Server) -> Any:
        """What makes a connection, for the event loop's server."""
        loop = asyncio.get_running_loop()
        return lambda: Connection(self, server, loop)

    def admit(self, connection: Connection) -> bool:
        """Let a new connection in, if need be for one that is idle; False when all are busy."""
        if len(self.open) >= self._limit:
            self.turned_away += 1
            idle = min((other for other in self.open if not other.is_busy), key=lambda other: other.idle_since,
                       default=None)
            if idle is None:
                return False
            self.close(idle)
        self.open[connection] = None
        return True

    def forget(self, connection: Connection) -> None:
        """Note that a connection has ended, or was not let in."""
        self.open.pop(connection, None)

    def close(self, connection: Connection) -> None:
        """End a connection. It leaves the books at once: the loop tells of its end in the next turn only."""
        self.open.pop(connection, None)
        connection.abort()

    async def sweep(self) -> None:
        """Close the late ones, until cancelled; each is late by a quarter of its time at most, and by a second."""
        pause_s = min(_SWEEP_EVERY_S, self.head_s / 4, self.idle_s / 4)
        while True:
            await asyncio.sleep(pause_s)
            self.close_late(self.clock())

    def close_late(self, now: float) -> None:
        """Close connections whose head takes too long, or that are idle too long."""
        for connection in [connection for connection in self.open if connection.is_late(now)]:
            self.close(connection)
