"""A real worker in a thread of its own: real sockets on port 0, uvloop, and a clock that can be moved forward."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import uvloop

from proxy.clock import monotonic
from proxy.core.route import Match, Route, Server, Version
from proxy.core.snapshot import Limits, Policy, Snapshot, Timeouts
from proxy.dataplane.worker import Worker
from tests.support.origins import Origin
from tests.support.wire import DEADLINE_S, Address, Wire

T = TypeVar("T")


def server_at(place: Origin | Address | Server) -> Server:
    """The server that an origin, or an address, is."""
    if isinstance(place, Server):
        return place
    address = place.address if isinstance(place, Origin) else place
    return Server("", 0, address) if isinstance(address, str) else Server(address[0], address[1])


def a_snapshot(*old: Origin | Address | Server, new: tuple[Origin | Address | Server, ...] = (), weight: float = 0.0,
               routes: tuple[Route, ...] | None = None, versions: tuple[Version, ...] | None = None,
               trusted: tuple[str, ...] = (), limits: dict[str, Any] | None = None,
               timeouts: dict[str, Any] | None = None, revision: int = 1, secret: bytes = b"a secret") -> Snapshot:
    """One route `all` to version `old` with these servers, and `weight` percent to `new` where it has servers.

    `limits`, `timeouts`: what differs from the defaults. `routes`, `versions`: instead of all that.
    """
    if versions is None:
        versions = (Version("old", tuple(map(server_at, old))),)
        if new:
            versions += (Version("new", tuple(map(server_at, new))),)
    if routes is None:
        split = (("old", 100.0 - weight), ("new", weight)) if new else (("old", 100.0),)
        routes = (Route("all", Match(), split, "old"),)
    policy = Policy(limits=replace(Limits(), **(limits or {})), timeouts=replace(Timeouts(), **(timeouts or {})),
                    trusted_proxies=trusted)
    return Snapshot(revision, versions, routes, policy, secret)


class RunningWorker:
    """A worker that serves. Whatever goes wrong in its loop unseen by anybody fails the test at `close`."""

    def __init__(self, snapshot: Snapshot, *, unix_path: str | None = None, host: str = "127.0.0.1",
                 workers: int = 1) -> None:
        if unix_path is not None:
            self._listening = socket.socket(socket.AF_UNIX)
            self._listening.bind(unix_path)
        else:
            self._listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            self._listening.bind((host, 0))
        self._listening.listen(512)
        self.address: Address = unix_path or (host, self._listening.getsockname()[1])
        self.worker: Worker
        self.failures: list[dict[str, Any]] = []
        self._ahead_s = 0.0
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(snapshot, workers), name="worker", daemon=True)
        self._thread.start()
        assert self._ready.wait(DEADLINE_S)
        if self._broken is not None:
            raise self._broken

    def connect(self) -> Wire:
        return Wire(self.address)

    def ask(self, request: bytes, method: bytes = b"GET") -> Any:
        """One request on a new connection."""
        with self.connect() as wire:
            return wire.ask(request, method)

    def call(self, do: Callable[[Worker], T]) -> T:
        """Do something in the worker's own thread, and wait for its result."""
        async def doing() -> T:
            return do(self.worker)
        return asyncio.run_coroutine_threadsafe(doing(), self._loop).result(DEADLINE_S)

    def apply(self, snapshot: Snapshot) -> None:
        self.call(lambda worker: worker.apply(snapshot))

    def drain(self, within_s: float) -> int:
        """Drain as the worker process does; how many connections had to be cut."""
        return asyncio.run_coroutine_threadsafe(self.worker.drain(within_s), self._loop).result(within_s + DEADLINE_S)

    def pass_time(self, seconds: float) -> None:
        """Move the worker's clock forward, as if nothing had happened meanwhile; returns after the next sweep."""
        def move(worker: Worker) -> float:
            self._ahead_s += seconds
            return worker.clock()
        moved = self.call(move)
        self.wait_until(lambda worker: worker.now >= moved)

    def leap(self, seconds: float) -> None:
        """The same with a sweep at once, for tests in which much time passes."""
        def sweep(worker: Worker) -> None:
            self._ahead_s += seconds
            worker._sweeping.cancel()
            worker._sweep()
        self.call(sweep)

    def settle(self) -> None:
        """Wait until the worker has read what had been sent to it before this was called."""
        for _ in range(2):
            self.call(lambda worker: None)

    def wait_until(self, condition: Callable[[Worker], bool]) -> None:
        """Wait for a state of the worker that no socket tells of."""
        async def waiting() -> None:
            async with asyncio.timeout(DEADLINE_S):
                while not condition(self.worker):  # noqa: ASYNC110 - nobody could set an event for it
                    await asyncio.sleep(0.002)
        asyncio.run_coroutine_threadsafe(waiting(), self._loop).result(DEADLINE_S + 1)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE_S)
        self._listening.close()
        assert not self._thread.is_alive(), "the worker does not end"
        if self._broken is not None:
            raise self._broken
        assert not self.failures, f"unhandled in the worker: {self.failures}"

    def __enter__(self) -> RunningWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, snapshot: Snapshot, workers: int) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(snapshot, workers))
        except BaseException as error:
            self._broken = error
        finally:
            self._ready.set()

    async def _serve(self, snapshot: Snapshot, workers: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda _, context: self.failures.append(context))
        self._stop = asyncio.Event()
        self.worker = Worker(snapshot, workers=workers, clock=lambda: monotonic() + self._ahead_s)
        self.worker.listen(self._listening.dup())
        self._ready.set()
        await self._stop.wait()
        self.worker.close()
        for _ in range(5):
            await asyncio.sleep(0)  # closed transports say so in the loop's next turns
