"""Everything at once, by seed: servers that fail in every way, clients that leave, snapshots, news, time that passes.

Whatever happens: each request is answered once and with its own answer, nobody waits for ever, all that was taken is
given back, and each attempt is counted once.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import replace

import pytest

from proxy.core.health.values import Breaker, Ejection, Health
from proxy.core.overload.values import Adaptive, Load
from proxy.core.retry import Retry
from proxy.core.route import Copying, Match, Route, Shadow, Sticky, Version
from proxy.core.snapshot import Snapshot
from proxy.ipc.messages import Noticed
from tests.support.origins import body_for
from tests.support.story import Story, WatchedWorker, dead_address
from tests.support.unsteady import Unsteady, assert_adds_up
from tests.support.wire import Wire
from tests.support.worker import a_snapshot, server_at

MOODS = ("well", "well", "well", "well", 500, 503, 404, "slowly 503", "long 503", "close", "reset", "silent", "garbage",
         "half head", "half body", "early 503")
CLIENTS = 6
REQUESTS = 40


class Client:
    """Asks for this and that on connections that it keeps, gives up, or breaks off."""

    def __init__(self, worker: WatchedWorker, number: int, seed: int) -> None:
        self._worker = worker
        self._number = number
        self._chance = random.Random(seed * 100 + number)
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            wire: Wire | None = None
            for count in range(REQUESTS):
                wire = wire or Wire(self._worker.address)
                if not self._ask(wire, b"/%d-%d" % (self._number, count)):
                    wire.close()
                    wire = None
            if wire is not None:
                wire.close()
        except BaseException as failure:
            self.failure = failure

    def _ask(self, wire: Wire, target: bytes) -> bool:
        """One request; whether the connection can take another."""
        chance = self._chance
        if chance.random() < 0.1:
            return self._ask_ahead(wire, target)
        method = chance.choice((b"GET", b"GET", b"HEAD", b"POST", b"PUT", b"PUT"))
        body = b"" if method in (b"GET", b"HEAD") else bytes(chance.choice((3, 700, 40_000)))
        pieces = self._pieces(method, target, body)
        leaves = chance.random() < 0.15
        for piece in pieces[:chance.randint(1, len(pieces))] if leaves else pieces:
            if not wire.send_some(piece):
                break                       # it has been answered early
        if leaves:
            if chance.random() < 0.5:
                wire.reset()
            return False
        try:
            answer = wire.response(method)
        except ConnectionResetError:
            return False                    # what was still sent destroyed the early answer, or it is a cut one
        except AssertionError as cut:
            if "closed before" not in str(cut):
                raise
            return False
        if answer.status == 200 and method != b"HEAD":
            assert answer.body == body_for(method, target, body)
        return b"close" not in (answer.value(b"connection") or b"")

    def _ask_ahead(self, wire: Wire, target: bytes) -> bool:
        """Two requests, one behind the other."""
        one = b"GET %b%b HTTP/1.1\r\nHost: shop.example\r\n\r\n"
        wire.send_some(one % (target, b"a") + one % (target, b"b"))
        try:
            for end in (b"a", b"b"):
                answer = wire.response()
                if answer.status == 200:
                    assert answer.body == body_for(b"GET", target + end)
                if b"close" in (answer.value(b"connection") or b""):
                    return False
        except ConnectionResetError:
            return False
        except AssertionError as cut:
            if "closed before" not in str(cut):
                raise
            return False
        return True

    def _pieces(self, method: bytes, target: bytes, body: bytes) -> list[bytes]:
        chance = self._chance
        head = b"%b %b HTTP/1.1\r\nHost: shop.example\r\n" % (method, target)
        if chance.random() < 0.2:
            head += b"Idempotency-Key: %d\r\n" % chance.randrange(1 << 30)
        if not body:
            return [head + (b"Connection: upgrade\r\nUpgrade: echo\r\n" if chance.random() < 0.2 else b"") + b"\r\n"]
        if chance.random() < 0.2:
            head += b"Expect: 100-continue\r\n"
        if chance.random() < 0.5:
            middle = len(body) // 2
            return [head + b"Content-Length: %d\r\n\r\n" % len(body), body[:middle], body[middle:]]
        chunks = [b"%x\r\n%b\r\n" % (len(body[at:at + 9000]), body[at:at + 9000]) for at in range(0, len(body), 9000)]
        return [head + b"Transfer-Encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n"]


class Weather:
    """Snapshots, news and time, as chance has them."""

    def __init__(self, old: list[Unsteady], new: list[Unsteady], seed: int) -> None:
        self._chance = random.Random(seed)
        self._servers = {"old": (*map(server_at, old), server_at(dead_address())), "new": tuple(map(server_at, new))}
        self._revision = 1

    def snapshot(self) -> Snapshot:
        chance = self._chance
        self._revision += 1
        versions = tuple(
            Version(name, chance.choice((servers, servers[:1])),
                    Health(ejection=chance.choice((Ejection(), Ejection(failures=2), None)),
                           breaker=chance.choice((Breaker(), Breaker(requests=5), None)), panic=0.3,
                           slow_start_s=chance.choice((0.0, 3.0))),
                    Load(chance.choice((None, None, 2, 4)), chance.choice((None, None, 2)), chance.choice((0, 2, 10)),
                         1.0, chance.choice((None, None, Adaptive(2, 100)))))
            for name, servers in self._servers.items())
        retry = Retry(on=("connect", "reset", "timeout", "502", "503", "504"), per_try_s=chance.choice((None, 0.5)),
                      backoff_s=0.002, most_backoff_s=0.02, body=chance.choice((0, 65536)),
                      idempotency_key=chance.random() < 0.5, floor=chance.choice((1.0, 1000.0)))
        weight = chance.choice((0.0, 50.0, 50.0, 100.0))
        route = Route("all", Match(), (("old", 100.0 - weight), ("new", weight)), "old",
                      sticky=chance.choice((None, Sticky("cookie", mode="session"))), retry=retry,
                      rescue=chance.random() < 0.7, when_down=chance.choice(("baseline", "baseline", "fail", "hold")),
                      spill=chance.choice((1, 1000)), priority=chance.randrange(3),
                      shadow=chance.choice((None, Shadow("new", 100.0, ("GET", "PUT")))),
                      copying=Copying(control=True, timeout_s=2.0))
        return a_snapshot(versions=versions, routes=(route,), revision=self._revision,
                          timeouts={"response_head": 3.0, "response_idle": 3.0, "connect": 1.0,
                                    "request_idle": 60.0})

    def change(self, worker: WatchedWorker) -> None:
        chance = self._chance
        what = chance.randrange(6)
        name = chance.choice(("old", "new"))
        address = chance.choice(self._servers[name]).address
        if what <= 1:
            worker.apply(self.snapshot())
        elif what == 2:
            snapshot = replace(self.snapshot(), drained=frozenset({(name, address)}))
            cut = (("all", name),) if chance.random() < 0.5 else ()
            worker.call(lambda inside: inside.apply(snapshot, cut))
            worker.sites.append(worker.worker.site)
        elif what == 3:
            probed = ((name, address),) if chance.random() < 0.5 else ()
            worker.call(lambda inside: inside.hear_probes(probed))
        else:
            server = chance.choice((address, ""))
            epoch = chance.randrange(20)
            ahead_s = chance.choice((0.0, 1.0))
            out = chance.random() < 0.5
            worker.call(lambda inside: inside.hear(
                Noticed(name, server, out, epoch, inside.clock() + ahead_s if out else 0.0, 1)))


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_each_request_is_answered_once_and_everything_adds_up(story: Story, seed: int) -> None:
    chance = random.Random(seed)
    moody = lambda _: chance.choice(MOODS)  # noqa: E731
    old, new = ([story.join(Unsteady(moody, name)) for _ in range(2)] for name in (b"old", b"new"))
    weather = Weather(old, new, seed)
    worker = story.serving(weather.snapshot())
    clients = [Client(worker, number, seed) for number in range(CLIENTS)]
    threads = [threading.Thread(target=client.run, name=f"client {client}", daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    pause = threading.Event()
    while any(thread.is_alive() for thread in threads):
        weather.change(worker)
        worker.leap(chance.choice((0.0, 0.05, 0.3, 1.0)))
        pause.wait(0.02)                   # else nobody else would come to anything
    for client in clients:
        if client.failure is not None:
            raise client.failure
    for server in (*old, *new):
        server.mood = "well"
    worker.leap(5.0)                        # copies that nobody answers
    assert_adds_up(worker)
    posts = Counter(head.split(b" ")[1] for server in (*old, *new) for head in server.heads
                    if head.startswith(b"POST") and b"Idempotency-Key" not in head)
    assert set(posts.values()) <= {1}, "what may not be repeated was sent twice"
