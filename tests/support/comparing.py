"""A comparer process with its owner, and workers that tell it what they like."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from proxy.controlplane.comparer.comparer import Comparer
from proxy.controlplane.comparer.process import COMPARER_COMMAND
from proxy.core.route import Copying, Match, Route, Shadow
from proxy.core.snapshot import Snapshot
from proxy.ipc.frames import frame
from proxy.ipc.messages import Stats
from proxy.ipc.pairs import Answered, Pair
from proxy.telemetry.fold import Fold
from tests.support.deadline import until

JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"


def answered(body: object = None, status: int = 200, took_s: float = 0.01, head: bytes = JSON_HEAD) -> Answered:
    """An answer; a body that is no bytes is sent as JSON."""
    return Answered(status, head, body if isinstance(body, bytes) else json.dumps(body).encode(), True, took_s)


def pair(primary: object, shadow: object, *, control: object = ..., route: str = "shop", target: bytes = b"/items/1",
         to: str = "new", **more: Any) -> Pair:
    """A request to `shop` and its answers, each a body or an `Answered`."""
    def of(one: object) -> Answered:
        return one if isinstance(one, Answered) else answered(one)

    return Pair(route, "old", to, b"GET", target, b"id-1", 1_700_000_000.0, of(primary), of(shadow),
                None if control is ... else of(control), **more)


def shadowed(name: str = "shop", *, to: str | None = "new", **copying: Any) -> Route:
    """A route whose copies go to `new`; None: nowhere."""
    shadow = None if to is None else Shadow(to, 100.0)
    return Route(name, Match(), (("old", 100.0), ("new", 0.0)), "old", shadow=shadow, copying=Copying(**copying))


class Sums:
    """What a supervisor keeps of counts."""

    def __init__(self) -> None:
        self.fold = Fold()
        self.gone: list[int] = []

    def count(self, life: int, stats: Stats) -> None:
        self.fold.add(life, stats.counters, stats.gauges, stats.histograms)

    def uncount(self, life: int) -> None:
        self.gone.append(life)
        self.fold.forget(life)

    def of(self, name: str) -> dict[tuple[str, ...], float]:
        """A counter's series."""
        return dict(self.fold.counters(name))


class Bench:
    """A comparer that is looked after, what it has counted, and what it had to tell."""

    def __init__(self, command: Sequence[str]) -> None:
        self.sums = Sums()
        self.events: list[tuple[str, str | None, str]] = []
        self.comparer = Comparer(self.sums, command=command)
        self.comparer.on_event = lambda *event: self.events.append(event)
        self.place = ""
        self._workers: list[Worker] = []

    def configure(self, *routes: Route) -> None:
        """Bring these routes into force."""
        self.place = self.comparer.place(routes)
        self.comparer.configure(Snapshot(1, (), routes, comparer=self.place))

    async def running(self) -> None:
        """Wait until it works."""
        await until(lambda: self.comparer.running, "the comparer works")

    def worker(self) -> Worker:
        """A connection as workers have it."""
        self._workers.append(Worker(self.place))
        return self._workers[-1]

    async def stop(self) -> None:
        """End everything."""
        for worker in self._workers:
            worker.sock.close()
        await self.comparer.stop()

    async def compared(self, count: int, route: str = "shop") -> dict[str, Any]:
        """The report, once so many pairs were compared."""
        while True:
            report = await self.comparer.ask("report", route)
            assert report is not None
            if report["compared"] >= count:
                return report
            await asyncio.sleep(0.01)


class Worker:
    """One worker's connection to the comparer."""

    def __init__(self, place: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(15.0)
        self.sock.connect("\0" + place)

    def tell(self, *messages: Pair) -> None:
        """Send messages, all at once."""
        self.sock.sendall(b"".join(frame(msgspec.msgpack.encode(message)) for message in messages))

    async def ended(self) -> bool:
        """Whether the other end hangs up."""
        return await asyncio.to_thread(self._ended)

    def _ended(self) -> bool:
        try:
            return self.sock.recv(1) == b""
        except ConnectionError:
            return True


@asynccontextmanager
async def bench(*routes: Route, more: Sequence[str] = ()) -> AsyncIterator[Bench]:
    """A comparer of these routes; `more` options for its command line."""
    it = Bench((*COMPARER_COMMAND, *more))
    try:
        it.configure(*(routes or (shadowed(),)))
        await it.running()
        yield it
    finally:
        await it.stop()


def run(test: Callable[[Bench], Coroutine[Any, Any, None]], *routes: Route, more: Sequence[str] = ()) -> None:
    """Run a test with a comparer of these routes, or of one called `shop`."""

    async def main() -> None:
        async with bench(*routes, more=more) as it:
            await test(it)

    asyncio.run(main())
