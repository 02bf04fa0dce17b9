"""The access log: one JSON line for each request when it has ended, and for each tunnel.

Invariant: it neither delays nor fails a request (invariant 5). An exchange leaves a tuple behind; the lines of some
dozens are made in one go and handed to a sink, whose thread does the writing. Where they go nowhere they are counted as
dropped. Whatever bytes a client sent, each line is valid JSON: what is no ASCII or a control character is escaped. The
query is left out, since it may hold credentials.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from proxy.telemetry.sink import Sink

if TYPE_CHECKING:
    from proxy.clock import Clock
    from proxy.core.choice import Choice
    from proxy.dataplane.servers import ServerPool
    from proxy.dataplane.site import Backend
    from proxy.errors import Refusal
    from proxy.http1.request import Request
    from proxy.telemetry.counters import Counters

    Ended = tuple[Request, bytes, Backend | None, Choice | None, ServerPool | None, int, int, int, int, float, float,
                  float, str]
    """An exchange that has ended: request, id, what it was steered to, why, server, attempts, status, bytes received,
    bytes sent, when it started, when its answer began (0.0: never), when it ended, the slug of its refusal."""

OFF = "off"
STDOUT = "stdout"
AT_ONCE = 160
"""Lines made at once: so many that getting into it costs little, so few that they fit a cache and take 0.1 ms."""
HAND_OVER = 128 * 1024
"""Bytes given to the sink at once. Waking its thread costs as much as some dozens of lines."""
CLOSE_S = 1.0

_PROTOCOLS = ("HTTP/1.0", "HTTP/1.1")
_encode = msgspec.json.Encoder().encode_lines


class Line(msgspec.Struct, gc=False, omit_defaults=True):
    """What is said of a request. Times in seconds; bytes are those of bodies without framing, or of a tunnel.

    `time`: when its head was complete. `reason`: why this version. `server`: of the last attempt. `status`: as counted
    in metrics, 499 for a client that left before its answer was whole. `first_byte_s`: until the server's answer
    began. `refused`: the slug of the reason, where Turnout answered in the server's place or cut its answer short.
    None is what was never known.
    """

    time: str
    id: str | None
    client: str
    method: str | None
    host: str | None
    path: str | None
    protocol: str | None
    route: str | None
    version: str | None
    reason: str | None
    server: str | None
    attempts: int
    status: int
    received_bytes: int
    sent_bytes: int
    first_byte_s: float | None
    duration_s: float
    refused: str = ""


def tunnelled(ended: Ended, received: int, sent: int, now: float) -> Ended:
    """The same for the tunnel that this exchange has become, and that has ended now."""
    return (*ended[:7], received, sent, ended[9], ended[11], now, "")


def no_request(stamp: str, client: str, refusal: Refusal) -> Line:
    """The line for what a client sent that was no request."""
    return Line(stamp, None, client, None, None, None, None, None, None, None, None, 0, refusal.status, 0, 0, None, 0.0,
                refusal.slug)


class AccessLog:
    """Lines for standard output (`stdout`) or the file at a path. `clock`: what the times of requests were taken by."""

    def __init__(self, where: str, clock: Clock) -> None:
        self.where = where
        self._clock = clock
        self._sink = Sink(1 if where == STDOUT else where, "access")
        self._waiting: list[Ended] = []
        self._lines: list[Line] = []
        self._made: list[bytes] = []
        self._made_lines = self._made_bytes = 0
        self._dropped = 0
        self._ahead_s = time.time() - clock()
        self._millisecond = -1
        self._second = -1
        self._stamp = self._stamp_of_second = ""

    @property
    def failed(self) -> bool:
        """Whether the log cannot be written just now."""
        return self._sink.failed

    @property
    def ended(self) -> bool:
        """Whether it was retired and nothing more will be written or dropped."""
        return self._sink.ended

    def add(self, ended: Ended) -> None:
        """Write the line of this exchange soon. On the hot path: the line is made later, with many others."""
        waiting = self._waiting
        waiting.append(ended)
        if len(waiting) >= AT_ONCE:
            self._make_lines()

    def add_line(self, line: Line) -> None:
        """Write this line soon."""
        self._lines.append(line)
        if len(self._lines) >= AT_ONCE:
            self._make_lines()

    def _make_lines(self) -> None:
        """Every tenth of a microsecond in this loop is one of each request."""
        lines, since, until, stamp = self._lines, 0.0, 0.0, ""
        for request, name, backend, choice, pool, attempts, status, received, sent, started, begun, now, refused \
                in self._waiting:
            if not since <= started < until:
                stamp = self.stamp(started)
                since, until = self._millisecond / 1000 - self._ahead_s, (self._millisecond + 1) / 1000 - self._ahead_s
            duration = int((now - started) * 1e6) / 1e6
            route = version = reason = None
            if backend is not None:
                route, version, reason = backend.tally.route, backend.version, choice.reason  # type: ignore[union-attr]
                host = request.host.decode()
            else:
                host = request.host.decode("ascii", "backslashreplace")  # nobody has looked at it: it may hold anything
            lines.append(Line(
                stamp, name.decode(), request.client, request.method.decode(), host,
                request.target.partition(b"?")[0].decode(), _PROTOCOLS[request.minor], route, version, reason,
                None if pool is None else pool.label, attempts, status, received, sent,
                duration if begun == now else int((begun - started) * 1e6) / 1e6 if begun else None, duration, refused))
        self._waiting.clear()
        text = _encode(lines)
        self._made.append(text)
        self._made_lines += len(lines)
        self._made_bytes += len(text)
        lines.clear()
        if self._made_bytes >= HAND_OVER:
            self._hand_over()

    def _hand_over(self) -> None:
        self._sink.write_many(b"".join(self._made), self._made_lines)
        self._made.clear()
        self._made_lines = self._made_bytes = 0

    def stamp(self, at: float) -> str:
        """A time of the clock as RFC 3339 in UTC, to the millisecond. Many requests share one."""
        millisecond = int((at + self._ahead_s) * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            second, rest = divmod(millisecond, 1000)
            if second != self._second:
                self._second = second
                self._stamp_of_second = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
            self._stamp = f"{self._stamp_of_second}{rest:03d}Z"
        return self._stamp

    def flush(self) -> None:
        """Hand over what waits."""
        if self._waiting or self._lines:
            self._make_lines()
        if self._made:
            self._hand_over()

    def sweep(self, counters: Counters) -> None:
        """Hand over what waits, and report what was lost. Wall time may have been set in the meantime."""
        self.flush()
        self._ahead_s = time.time() - self._clock()
        self._report(counters)

    def retire(self) -> None:
        """Take no more lines; what waits is written without anybody waiting for it."""
        self.flush()
        self._sink.retire()

    def close(self, counters: Counters) -> None:
        """Write what waits, for `CLOSE_S` at most: a log that nobody reads does not keep a worker from leaving."""
        self.flush()
        self._sink.close(CLOSE_S)
        self._report(counters)

    def _report(self, counters: Counters) -> None:
        dropped = self._sink.dropped
        counters.log_dropped += dropped - self._dropped
        self._dropped = dropped


class Logbook:
    """The worker's access log as the policy wants it just now, and former ones that still write."""

    def __init__(self, clock: Clock, counters: Counters) -> None:
        self._clock = clock
        self._counters = counters
        self._former: list[AccessLog] = []
        self.log: AccessLog | None = None

    def follow(self, where: str) -> AccessLog | None:
        """Write to `where` from now on (`off`, `stdout` or a path); the log to write to, None where it is off."""
        if where != (self.log.where if self.log is not None else OFF):
            if self.log is not None:
                self.log.retire()
                self._former.append(self.log)
            self.log = None if where == OFF else AccessLog(where, self._clock)
        return self.log

    def sweep(self) -> None:
        """Hand over what waits, and count what was lost."""
        if self.log is not None:
            self.log.sweep(self._counters)
        self._counters.log_failed = self.log is not None and self.log.failed
        for former in list(self._former):
            if former.ended:
                self._former.remove(former)
            former.sweep(self._counters)

    def close(self) -> None:
        """Write what waits, and end."""
        for log in (*self._former, *([self.log] if self.log is not None else [])):
            log.close(self._counters)
        self._former.clear()
        self.log = None
