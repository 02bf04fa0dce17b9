"""The whole program in front of servers that fail as they are told, and what is asked of it from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.fickle import Fickle, Got, got_twice
from tests.support.asking import FOREIGN, Asking
from tests.support.deadline import wait_until
from tests.support.scrape import samples
from tests.support.turnout import Turnout, running
from tests.support.wire import Address

Json = dict[str, Any]
RETRY: Json = {"on": ["connect", "reset", "timeout", "502", "503", "504"], "per_try": "250ms", "backoff": "5ms",
               "budget_floor": 100}     # loads are short here, and earn little
PROBE: Json = {"path": "/probe", "interval": "100ms", "timeout": "100ms", "rise": 1, "fall": 2}
EJECT: Json = {"failures": 3, "for": "300ms", "at_most": "600ms"}
BREAKER: Json = {"failures": "50%", "requests": 10, "within": "2s", "for": "300ms", "trials": 3}
TIMEOUTS: Json = {"connect": "250ms", "response_head": "1s", "response_idle": "500ms"}


class FickleShop:
    """Turnout with one route, `shop`; `servers` by the name of their version."""

    def __init__(self, turnout: Turnout, servers: dict[str, list[Fickle]]) -> None:
        self.turnout = turnout
        self.servers = servers

    @property
    def address(self) -> Address:
        return self.turnout.address

    def got(self, *versions: str) -> list[Got]:
        """What the servers of these versions got, of all of them if none is named."""
        return [got for name, servers in self.servers.items() if not versions or name in versions
                for server in servers for got in server.got()]

    def count(self, name: str, **labels: str) -> float:
        """The sum of all samples of `turnout_NAME` with these labels, at this moment; 0 where there is none."""
        page = httpx.get(f"{self.turnout.admin}/metrics", timeout=10).content
        return sum(value for (sample, found), value in samples(page).items()
                   if sample == f"turnout_{name}" and labels.items() <= dict(found).items())

    def wait_count(self, at_least: float, name: str, **labels: str) -> None:
        """Wait until workers have told that much: they do every now and then."""
        wait_until(lambda: self.count(name, **labels) >= at_least, f"{name} {labels} of {at_least}")

    def wait_quiet(self) -> None:
        """Nothing is in flight any more, by every gauge."""
        for gauge in ("inflight_requests", "server_inflight", "queue_length"):
            wait_until(lambda gauge=gauge: self.count(gauge) == 0, f"{gauge} of 0")  # type: ignore[misc]

    def events(self, verb: str, **facts: object) -> list[Json]:
        """The journaled events of this verb that say so (`version`, `server`, …), oldest first."""
        view = httpx.get(f"{self.turnout.admin}/api/v1/events", params={"limit": 500}, timeout=10).json()
        return [event for event in view["events"]
                if event["verb"] == verb and {f"{key} {value}" for key, value in facts.items()}
                <= set(event["reason"].split(", "))]

    def wait_event(self, verb: str, **facts: object) -> Json:
        """The first such event, as soon as there is one."""
        return wait_until(lambda: next(iter(self.events(verb, **facts)), None), f"the event {verb} {facts}")


@contextmanager
def fickle_shop(folder: Path, *, old: int = 1, new: int = 0, share: int = 50, version: Mapping[str, Any] | None = None,
                route: Mapping[str, Any] | None = None, **settings: Any) -> Iterator[FickleShop]:
    """So many servers of both versions; `share`: the percentage of `new`, if it has a server. `version`, `route`: keys
    of the file for each version and for the route."""
    with ExitStack() as ends:
        servers = {name: [ends.enter_context(Fickle(name, folder)) for _ in range(count)]
                   for name, count in (("old", old), ("new", new)) if count}
        document = {
            "listen": "127.0.0.1:0", "workers": 2, "admin": {"listen": "127.0.0.1:0"}, "state_dir": "memory",
            "timeouts": TIMEOUTS, **settings,
            "versions": {name: {"servers": [each.address for each in group], **(version or {})}
                         for name, group in servers.items()},
            "routes": [{"name": "shop", "split": {"old": 100 - share, "new": share} if new else {"old": 100},
                        "baseline": "old", **(route or {})}],
        }
        file = folder / "turnout.yaml"
        file.write_text(json.dumps(document, indent=2))     # JSON is YAML
        turnout = ends.enter_context(running("-c", str(file)))
        assert turnout.address
        yield FickleShop(turnout, servers)


def shop_of_two(folder: Path, version: Json | None = None, **route: Any) -> AbstractContextManager[FickleShop]:
    """One server of each version, half of the requests to each; who is put out is tried again soon."""
    return fickle_shop(folder, new=1, version={"eject": EJECT, "breaker": BREAKER, **(version or {})},
                       route={"retry": RETRY, **route})


def shop_of_three(folder: Path) -> AbstractContextManager[FickleShop]:
    """One version with three servers; who is put out is tried soon, however often it was out."""
    return fickle_shop(folder, old=3, route={"retry": RETRY},
                       version={"eject": {"failures": 5, "for": "300ms", "at_most": "300ms"}})


def goes_well_again(shop: FickleShop, asking: Asking, healed: Fickle) -> None:
    """By itself, without anybody's help, and the server that failed takes part again."""
    before = len(healed.got())
    asking.wait_until(lambda: len(healed.got()) > before + 5, "requests at the server that is back")
    asking.wait_well()


def nothing_is_left(shop: FickleShop, asking: Asking) -> None:
    """No request that was not idempotent came twice, nobody got another's answer, nothing is under way."""
    assert got_twice(shop.got()) == []
    assert FOREIGN not in asking.failed()
    answered = {asked.id for asked in asking.since(method="POST") if asked.outcome == "200"}
    assert answered <= {got.id for got in shop.got() if got.method == "POST"}
    shop.wait_quiet()
