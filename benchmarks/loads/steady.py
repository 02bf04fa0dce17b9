"""A steady open-loop load like that of well-behaved HTTP clients, which runs until it is told to stop.

It honours `Connection: close`, opens a connection anew when it was closed while idle (no request was lost then), gives
up each connection after some hundred requests so that new ones are opened all along, and repeats nothing. A request is
lost when it was sent and no whole answer with status 200 came, or when a connection for it could not be made. Each
request says in `X-Sent` when it was sent (ns of CLOCK_MONOTONIC, which all processes of a machine share).

Run as a program of its own: python -m benchmarks.loads.steady '{"port": …}'; it says `ready`, pauses and goes on as its
standard input says, stops at the end of that, and prints one JSON line. What became of every request goes into the file
`plan.record`.
"""

from __future__ import annotations

import gc
import json
import os
import random
import re
import select
import socket
import subprocess
import sys
import time
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.loads import client, requests
from benchmarks.loads.timer import Timer
from benchmarks.loads.wrk import LoadError
from benchmarks.processes import settle

ROOT = Path(__file__).parents[2]
LATE_NS = 3_000_000_000                         # after the end: what was not answered by then is lost
STALE_NS = 10_000_000                           # a connection idle for longer may be closed while a request is sent
SIZE = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
PARTS = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)
REFUSAL = re.compile(rb"\r\n\r\n\d{3} ([^\r\n]+)\.\n")
RETRY_NS = 20_000_000                           # until a connection that could not be made is tried again
STDIN = 0
GO, PAUSE = b"g", b"p"
FIRST_PATH = b"A"                               # goes on with `paths[0]`, b"B" with the next …
NEVER = 2**62
FOREIGN = "answered with somebody else's answer"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send: requests per second over so many connections, each given up after about `life` requests.

    `raw`: whole requests to send in turn instead of a browser's; then any status is an answer. `paths`: those that
    `switch` chooses from, 26 at most. `paused`: nothing is sent before `resume` or `switch`. `named`: each request has
    its number in `X-Asked`, and an answer with 200 that does not end with it is somebody else's. `posts`: every so
    many-th request is a POST of two bytes; only of named ones.
    """

    port: int
    rate: float
    record: str
    connections: int = 64
    path: str = "/noted"
    life: int = 400
    seed: int = 0
    raw: Sequence[str] = ()
    paths: Sequence[str] = ()
    paused: bool = False
    named: bool = False
    posts: int = 0


@dataclass(frozen=True, slots=True)
class Loss:
    """A request that was lost. `port`: of the client's end; `idle_ns`: for how long nothing had happened on it;
    `number`: which of all requests it was."""

    sent: int
    lost: int
    port: int
    idle_ns: int
    nth: int
    why: str
    number: int = 0
    method: str = "GET"


@dataclass(slots=True)
class Line:
    """One connection. `due` and `sent` are those of the request under way, 0 while there is none."""

    connection: socket.socket
    port: int
    left: int
    due: int = 0
    sent: int = 0
    nth: int = 0
    idle_since: int = 0
    idle_ns: int = 0
    received: bytes = b""
    number: int = 0
    method: str = "GET"


@dataclass(slots=True)
class Steady:
    """One run of a plan."""

    plan: Plan
    free: deque[Line] = field(default_factory=deque)
    lines: dict[int, Line] = field(default_factory=dict)
    poll: select.epoll = field(default_factory=select.epoll)
    timer: Timer = field(default_factory=Timer)
    heads: list[bytes] = field(default_factory=list)
    posts: list[bytes] = field(default_factory=list)
    dues: array[int] = field(default_factory=lambda: array("q"))
    sents: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))
    by_new: array[int] = field(default_factory=lambda: array("b"))
    losses: list[Loss] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    sent: int = 0
    opened: int = 0
    next_due: int = 0
    retry_at: int = 0

    def run(self) -> None:
        """Send until standard input ends, then wait for the answers."""
        self.heads = [text.encode() for text in self.plan.raw] or _heads(self.plan.path, self.plan.named)
        if self.plan.posts:
            self.posts = [_as_post(head) for head in self.heads]
        self.poll.register(self.timer.fd, select.EPOLLIN)
        self.poll.register(STDIN, select.EPOLLIN)
        for _ in range(self.plan.connections):
            self._open()
        gc.disable()
        print("ready", flush=True)
        moments = self._begin(b"" if self.plan.paused else GO)
        while True:
            for descriptor, _ in self.poll.poll(0.1):
                if descriptor == STDIN:
                    if not (told := os.read(STDIN, 100)):
                        self._finish()
                        return
                    moments = self._begin(told[-1:])
                elif descriptor != self.timer.fd:
                    self._read(descriptor)
            if len(self.lines) < self.plan.connections and time.monotonic_ns() > self.retry_at:
                self._open()
            self._send_what_is_due(moments)

    def _begin(self, told: bytes) -> Iterator[int]:
        """Go on from now, also with another path, or pause."""
        if told.isupper():
            self.heads, told = _heads(self.plan.paths[ord(told) - ord(FIRST_PATH)], self.plan.named), GO
        now = time.monotonic_ns()
        moments = self._moments(now) if told == GO else iter(lambda: NEVER, None)
        self.next_due = next(moments)
        self.timer.set(self.next_due)
        return moments

    def _moments(self, start: int) -> Iterator[int]:
        """When each request is due: the gaps of many independent users."""
        chance, mean = random.Random(self.plan.seed), 1e9 / self.plan.rate
        moment = float(start)
        while True:
            moment += chance.expovariate(1.0) * mean
            yield int(moment)

    def _send_what_is_due(self, moments: Iterator[int]) -> None:
        while self.next_due <= time.monotonic_ns() and self.free:
            due, self.next_due = self.next_due, next(moments)
            self._send(self.free.popleft(), due)
        self.timer.set(self.next_due if self.free else 0)

    def _send(self, line: Line, due: int) -> None:
        now = time.monotonic_ns()
        line.due, line.sent, line.idle_ns = due, now, now - line.idle_since
        line.nth += 1
        is_post = bool(self.posts) and self.sent % self.plan.posts == 0
        head = (self.posts if is_post else self.heads)[self.sent % len(self.heads)]
        self.sent += 1
        line.number, line.method = self.sent, "POST" if is_post else "GET"
        try:
            line.connection.send(head if self.plan.raw else head % (now, self.sent))
        except OSError as error:
            self._lose(line, f"not sent: {error}")

    def _read(self, descriptor: int) -> None:
        line = self.lines.get(descriptor)
        if line is None:
            return
        try:
            piece = line.connection.recv(65_536)
        except OSError as error:
            self._ended(line, str(error))
            return
        if not piece:
            self._ended(line, "closed before an answer" if not line.received else "closed within an answer")
            return
        data = line.received + piece if line.received else piece
        end = data.find(b"\r\n\r\n")
        size = SIZE.search(data, 0, end + 2) if end > 0 else None
        if size is None or len(data) < end + 4 + int(size.group(1)):
            line.received = data
            return
        self._answered(line, data, end)

    def _answered(self, line: Line, data: bytes, end: int) -> None:
        now, status = time.monotonic_ns(), data[9:12].decode()
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status != "200" and not self.plan.raw:
            self._note_loss(line, f"answered {status}{_kind_of_refusal(data)}")
        elif self.plan.named and not data.endswith(b" %d\n" % line.number):
            self._note_loss(line, FOREIGN)
        else:
            self.dues.append(line.due)
            self.sents.append(line.sent)
            self.ends.append(now)
            self.by_new.append(b"hello from new" in data)
        line.received, line.due, line.sent, line.idle_since = b"", 0, 0, now
        line.left -= 1
        if line.left <= 0 or PARTS.search(data, 0, end + 2):
            self._close(line)
            self._open()
        else:
            self.free.append(line)

    def _ended(self, line: Line, why: str) -> None:
        """The proxy closed the connection; while idle that is its right."""
        if line.sent:
            self._lose(line, why)
            return
        self.free.remove(line)
        self._close(line)
        self._open()

    def _lose(self, line: Line, why: str) -> None:
        self._note_loss(line, why)
        self._close(line)
        self._open()

    def _note_loss(self, line: Line, why: str) -> None:
        self.losses.append(Loss(line.sent, time.monotonic_ns(), line.port, line.idle_ns, line.nth, why, line.number,
                                line.method))

    def _open(self) -> None:
        """Open a connection; when that fails the request that would have gone there is lost."""
        now = time.monotonic_ns()
        try:
            connection = client.connect(self.plan.port, 1.0)
        except OSError as error:
            self.losses.append(Loss(now, time.monotonic_ns(), 0, 0, 0, f"no connection: {error}"))
            self.retry_at = now + RETRY_NS
            return
        connection.setblocking(False)
        self.opened += 1
        spread = self.plan.life // 2 + self.opened * 7919 % self.plan.life
        line = Line(connection, connection.getsockname()[1], spread, idle_since=time.monotonic_ns())
        self.lines[connection.fileno()] = line
        self.poll.register(connection.fileno(), select.EPOLLIN)
        self.free.append(line)

    def _close(self, line: Line) -> None:
        self.poll.unregister(line.connection.fileno())
        del self.lines[line.connection.fileno()]
        line.connection.close()

    def _finish(self) -> None:
        self.poll.unregister(STDIN)
        self.timer.set(0)
        give_up = time.monotonic_ns() + LATE_NS
        while any(line.sent for line in self.lines.values()) and time.monotonic_ns() < give_up:
            for descriptor, _ in self.poll.poll(0.1):
                if descriptor != self.timer.fd:
                    self._read(descriptor)
        for line in self.lines.values():
            if line.sent:
                self._note_loss(line, "no answer")
        with open(self.plan.record, "wb") as file:
            for column in (self.dues, self.sents, self.ends, self.by_new):
                column.tofile(file)
        print(json.dumps({"sent": self.sent, "answered": len(self.ends), "opened": self.opened,
                          "statuses": self.statuses,
                          "losses": [asdict(loss) for loss in self.losses]}), flush=True)


def _kind_of_refusal(answer: bytes) -> str:
    """What Turnout says, where it answers in a server's place: text, as a browser prefers it."""
    found = REFUSAL.search(answer)
    return f" ({found[1].decode()})" if found else ""


def _heads(path: str, named: bool) -> list[bytes]:
    return [_with_stamp(requests.head(number, path), named) for number in range(requests.COOKIES)]


def _with_stamp(head: str, named: bool = False) -> bytes:
    """A head up to its id, with a place for the time it was sent; what is in it must not look like a format."""
    start, _, rest = head.replace("%", "%%").partition("\r\nX-Request-Id: ")
    asked = "X-Asked: %d" if named else f"X-Request-Id: {rest}steady-%d"
    return f"{start}\r\nX-Sent: %d\r\n{asked}\r\n\r\n".encode()


def _as_post(head: bytes) -> bytes:
    return b"POST" + head.removeprefix(b"GET").removesuffix(b"\r\n") + b"Content-Length: 2\r\n\r\nhi"


@dataclass(frozen=True, slots=True)
class Account:
    """What became of a steady load. The columns belong together, one row per answered request."""

    sent: int
    opened: int
    losses: tuple[Loss, ...]
    statuses: dict[str, int]
    dues: Sequence[int]
    sents: Sequence[int]
    ends: Sequence[int]
    by_new: Sequence[int]

    def latencies(self, since: int, until: int) -> list[int]:
        """Sorted, in ns, from the moment a request was due; of those due in this span."""
        return sorted(end - due for due, end in zip(self.dues, self.ends, strict=True) if since <= due < until)


def account(said: str, record: Path) -> Account:
    """Read what the program printed and recorded."""
    told = json.loads(said)
    columns = [array("q"), array("q"), array("q"), array("b")]
    with record.open("rb") as file:
        for column in columns:
            column.fromfile(file, told["answered"])
    return Account(told["sent"], told["opened"], tuple(Loss(**loss) for loss in told["losses"]),
                   told["statuses"], *columns)


class Running:
    """A steady load that runs as a program of its own. Use as a context manager; `stop` says what became of it."""

    def __init__(self, plan: Plan, cores: Sequence[int]) -> None:
        self._record = Path(plan.record)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.loads.steady", json.dumps(asdict(plan))], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, preexec_fn=settle(cores))
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self._process.wait(5)
            raise LoadError("the steady load did not start")

    def pause(self) -> None:
        """Send nothing until `resume`."""
        self._tell(PAUSE)

    def resume(self) -> None:
        """Send on; what was not sent meanwhile is left out."""
        self._tell(GO)

    def switch(self, number: int) -> None:
        """Send on, to the path of this number of the plan's `paths`."""
        self._tell(bytes([ord(FIRST_PATH) + number]))

    def _tell(self, command: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command.decode())
        self._process.stdin.flush()

    def stop(self) -> Account:
        """End it. Raises LoadError if it had ended before."""
        said, _ = self._process.communicate(timeout=20)
        if self._process.returncode:
            raise LoadError(f"the steady load ended with {self._process.returncode}")
        return account(said, self._record)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


def main() -> None:
    Steady(Plan(**json.loads(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
