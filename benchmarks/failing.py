"""A live Turnout in front of servers that can be made to fail: groups of them as versions, on a route of their own."""

from __future__ import annotations

import contextlib
import json
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.bench import Bench
from benchmarks.fickle import Fickle, Got
from benchmarks.live import Behind, LiveProxy, live
from benchmarks.loads import steady
from benchmarks.loads.admin import TOKEN
from benchmarks.loads.wrk import LoadError

PATH = "/failing"
PROBE = "probe: {path: /probe, interval: 250ms, timeout: 250ms, rise: 2, fall: 2}"
RETRY = 'retry: {on: [connect, reset, timeout, "502", "503", "504"], per_try: 250ms}'
TIMEOUTS = "connect: 500ms, response_head: 2s, response_idle: 1s, "
CONNECTIONS = 256                               # so many that those which hang keep nobody else waiting
HAPPENS_WITHIN_S = 15.0
LOOK_EVERY_S = 0.02
SAMPLE = re.compile(r"^turnout_(\w+)\{([^}]*)\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Group:
    """A version of so many servers, whose good answers say that they are `says`'s; `more`: the rest of what the file
    says of it."""

    version: str
    count: int
    says: str = "old"
    more: str = PROBE


@dataclass(frozen=True, slots=True)
class Failing:
    """It is up, and so are the servers, by their version."""

    one: LiveProxy
    servers: Mapping[str, Sequence[Fickle]]

    def load(self, rate: float, **more: Any) -> steady.Running:
        """A steady load of named requests that has begun."""
        return self.one.load(rate, **{"path": PATH, "named": True, "connections": CONNECTIONS, **more})

    def got(self, *versions: str) -> list[Got]:
        """What the servers of these versions have got, of all of them if none is named."""
        return [got for name, group in self.servers.items() if not versions or name in versions
                for server in group for got in server.got()]

    def state(self, version: str) -> str:
        """Whether that version is `up` or `down` as traffic sees it."""
        return str(self.one.admin.must("GET", f"/api/v1/versions/{version}")["state"])

    def wait_state(self, version: str, state: str) -> int:
        """Wait for it; when it was seen, in ns. LoadError when it does not happen."""
        give_up = time.monotonic() + HAPPENS_WITHIN_S
        while self.state(version) != state:
            if time.monotonic() > give_up:
                raise LoadError(f"version {version} is not {state} within {HAPPENS_WITHIN_S:g} s")
            time.sleep(LOOK_EVERY_S)
        return time.monotonic_ns()

    def wait_traffic(self, server: Fickle) -> int:
        """Wait until it gets requests again; when that was seen, in ns. LoadError when it gets none."""
        before, give_up = server.noted_size(), time.monotonic() + HAPPENS_WITHIN_S
        while server.noted_size() == before:
            if time.monotonic() > give_up:
                raise LoadError(f"a server that is back gets no requests within {HAPPENS_WITHIN_S:g} s")
            time.sleep(LOOK_EVERY_S)
        return time.monotonic_ns()

    def counts(self) -> dict[str, float]:
        """Every sample of /metrics, by its name and labels as they stand there."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.one.place.admin_port}/metrics",
                                         headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            found = SAMPLE.findall(answer.read().decode())
        return {f"{name}{{{labels}}}": float(value) for name, labels, value in found}


def versions(groups: Sequence[Group], servers: Mapping[str, Sequence[Fickle]]) -> str:
    """The groups as lines of the file."""
    return "".join(f"  {group.version}: {{servers: {json.dumps([each.address for each in servers[group.version]])}"
                   f"{', ' if group.more else ''}{group.more}}}\n" for group in groups)


def route(split: str, more: str = RETRY) -> str:
    """The route as lines of the file; `more`: a key of it on each line."""
    lines = "".join(f"    {line}\n" for line in more.splitlines())
    return f"  - name: failing\n    match: {{path: {PATH}}}\n    split: {{{split}}}\n{lines}"


@contextlib.contextmanager
def failing(bench: Bench, label: str, groups: Sequence[Group], a_route: str, more: str = "") -> Iterator[Failing]:
    """Both for the length of a block."""
    cores = sorted({bench.cores.proxy, bench.cores.load})
    with contextlib.ExitStack() as ends:
        servers = {group.version: [ends.enter_context(Fickle(group.says, bench.folder, cores))
                                   for _ in range(group.count)] for group in groups}
        behind = Behind(versions(groups, servers), a_route, more=more, timeouts=TIMEOUTS)
        yield Failing(ends.enter_context(live(bench, label, behind=behind)), servers)


def lost_in(account: steady.Account, since: int, until: int) -> list[steady.Loss]:
    """What was lost in this span."""
    return [loss for loss in account.losses if since <= loss.lost < until]


def sent_in(account: steady.Account, since: int, until: int) -> int:
    """How many requests clients have sent in this span, whatever became of them."""
    return sum(since <= sent < until for sent in account.sents) + sum(
        since <= loss.sent < until for loss in account.losses)
