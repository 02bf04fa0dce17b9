"""Commands over everything they really work with: a journal, a supervisor, servers that listen; and a time of day that
tests set.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec

from proxy.clock import monotonic
from proxy.controlplane.commands.ask import Ask
from proxy.controlplane.commands.commands import Commands
from proxy.controlplane.events import Author, Event
from proxy.controlplane.journal.journal import Journal
from proxy.controlplane.supervisor import Patience, Supervisor
from proxy.controlplane.workers.listeners import open_listeners
from proxy.core.draining import out_of_service
from proxy.core.listen import Listen
from proxy.core.merge import initial, steered
from proxy.core.snapshot import Snapshot
from proxy.core.state import State
from proxy.settings import Settings, load_bytes
from tests.support.scripted_worker import command

P = ParamSpec("P")
ANN = Author("ann", "10.0.0.7:51234")
QUICK = Patience(start_s=10.0, ack_s=0.5, silence_s=600.0, grace_s=0.3)
FILE = """
listen: 127.0.0.1:0
workers: 2
admin: {{listen: "127.0.0.1:0"}}
versions:
  old: {{servers: [http://127.0.0.1:{old}]}}
  new: {{servers: [http://127.0.0.1:{new}]}}
routes:
  - {{name: shop, match: {{path: /shop}}, split: {{old: 95, new: 5}}}}
  - {{name: cart, match: {{path: /cart}}, split: {{old: 50, new: 50}}, baseline: new}}
"""


class Time:
    """A time of day (and a clock) that stands still until a test moves it."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Backends:
    """A server for `old` and one for `new`: they take connections, until one is taken down, and say nothing."""

    def __init__(self) -> None:
        self._sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in ("old", "new")}
        self.ports = {name: sock.getsockname()[1] for name, sock in self._sockets.items()}

    def take_down(self, version: str) -> None:
        """Refuse connections from now on."""
        self._sockets.pop(version).close()

    def bring_up(self, version: str) -> None:
        """Take connections again, at the same address."""
        self._sockets[version] = socket.create_server(("127.0.0.1", self.ports[version]))

    def close(self) -> None:
        """Take everything down."""
        for sock in self._sockets.values():
            sock.close()

    def file(self, more: str = "") -> str:
        """A configuration file with these servers."""
        return FILE.format(**self.ports) + more

    def settings(self, more: str = "") -> Settings:
        """What that file says."""
        return load_bytes(self.file(more).encode(), "turnout.yaml", {})


@dataclass(frozen=True, slots=True)
class Desk:
    """Running commands and what they work with."""

    commands: Commands
    supervisor: Supervisor
    journal: Journal
    time: Time

    def split(self, route: str = "shop") -> dict[str, float]:
        """The weights that the journal, the commands and the workers' snapshot all say the route has."""
        assert self.journal.state == self.commands.state
        assert self.supervisor.snapshot.revision == self.commands.state.revision
        found = next(each for each in self.supervisor.snapshot.routes if each.name == route)
        assert found.split == self.commands.state.routes[route].course.split
        return dict(found.split)

    def events(self, *verbs: str) -> list[Event]:
        """What the journal has of these verbs (none: everything but the start), oldest first."""
        return [event for event in self.journal.events(limit=10_000)
                if (event.verb in verbs if verbs else event.verb != "start")]


def compiled(settings: Settings, state: State) -> Snapshot:
    """A snapshot as the program makes it."""
    return replace(settings.snapshot(state.revision, b"s" * 32), routes=steered(settings.routes, state),
                   drained=out_of_service(state.drained, settings.versions))


@asynccontextmanager
async def desk(
    settings: Settings, state_dir: Path | None = None, *, script: str | None = None, time: Time | None = None,
) -> AsyncIterator[Desk]:
    """Start as the program does; no worker is started unless `script` says what it is to do."""
    time = time or Time()
    journal = Journal.open(None if state_dir is None else os.fspath(state_dir), keep=settings.events_kept)
    begun = initial(settings.routes, settings.versions, journal.state, time())
    listeners = open_listeners([Listen("127.0.0.1", 0)], 2)
    supervisor = Supervisor(
        compiled(settings, begun.state), listeners, 2, worker_command=command(script or ""), patience=QUICK)
    commands = Commands(
        settings, begun.state, journal, supervisor, compile_snapshot=compiled,
        clock=time if script is None else monotonic, wall=time,
    )
    try:
        if script is not None:
            await supervisor.start()
        async with commands:
            await commands.begin(begun.entries)
            yield Desk(commands, supervisor, journal, time)
    finally:
        await supervisor.stop(1.0)
        journal.close()


def by_ann(reason: str = "", *, seen: int | None = None, within_s: float | None = None, dry_run: bool = False) -> Ask:
    """A change that Ann asks for. `seen`: the revision that it is for."""
    return Ask(ANN, reason, None if seen is None else frozenset({seen}), dry_run, within_s)


@contextmanager
def backends() -> Iterator[Backends]:
    """Servers for the time of a test."""
    made = Backends()
    try:
        yield made
    finally:
        made.close()


def scenario(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test to its end; whatever goes wrong unseen in the loop fails it."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        unseen: list[dict[str, Any]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
            await test(*args, **kwargs)

        asyncio.run(main())
        assert unseen == []

    return run
