"""The whole program with a shadow, between two servers, and what is asked of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from proxy.cli.client import Api
from tests.support.deadline import wait_until
from tests.support.front import write_file
from tests.support.origins import Origin, StrictOrigin, ok
from tests.support.strict import Message
from tests.support.turnout import COMMAND, Turnout, running
from tests.support.wire import Address

GET = b"GET /items/7 HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"
MARK = b"x-turnout-shadow"
JSON = b"Content-Type: application/json"
OLD, NEW = {"id": 7, "price": 10}, {"id": 7, "price": "10", "currency": "EUR"}
BOTH = {("$.price", "type"), ("$.currency", "extra")}
"""In what `NEW` differs from `OLD`."""
Json = dict[str, Any]


def says(document: object) -> StrictOrigin:
    """A server whose every answer is this JSON."""
    return StrictOrigin(lambda _: ok(json.dumps(document).encode(), JSON))


class Shop:
    """Turnout with one worker and one route, `shop`, whose copies go to the version `new`."""

    def __init__(self, folder: Path, stack: ExitStack, old: Address | Origin, new: Address | Origin, shadow: Json,
                 route: Json, settings: Json) -> None:
        self._folder = folder
        self.urls = {"old": url_of(old), "new": url_of(new)}
        self._settings = {"workers": 1, "watch": "none", **settings}
        self._route = {"name": "shop", "split": {"old": 100, "new": 0}, **route}
        self.shadow = {"to": "new", "percent": 100, **shadow}
        self.turnout: Turnout = stack.enter_context(running("-c", str(self.write())))

    def write(self, **shadow: Any) -> Path:
        """Write the file anew, with these changes to its shadow."""
        self.shadow |= shadow
        return write_file(self._folder, self.urls, [{**self._route, "shadow": self.shadow}], **self._settings)

    def api(self, method: str, path: str, body: Json | None = None) -> Any:
        return Api(self.turnout.admin).ask(method, path, body)

    def cli(self, *words: str) -> str:
        """What a verb about the route prints; it must succeed."""
        done = subprocess.run([*COMMAND, words[0], "shop", *words[1:], "--admin", self.turnout.admin], check=False,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def report(self) -> Json:
        answer: Json = self.api("GET", "/api/v1/routes/shop/shadow")
        return answer

    def total(self, name: str) -> int:
        """`copied`, `compared`, `matched` or `different`, so far."""
        count: int = self.report()["totals"][name]
        return count

    def ask_until(self, happened: Callable[[], object], path: str = "/items/1") -> None:
        """Ask again and again: a machine that is busy sheds single copies."""

        def asked() -> bool:
            assert self.turnout.ask(path)[0] == 200
            return bool(happened())

        wait_until(asked, f"something that requests for {path} bring about")

    def compares(self) -> None:
        """Ask until answers are compared: the comparer is there, and the worker has found it."""
        self.ask_until(lambda: self.total("compared") > 0)

    def wait_settled(self, asked: int) -> Json:
        """Wait until it is known what became of the copies of so many requests; returns the totals."""

        def settled() -> Json | None:
            totals: Json = self.report()["totals"]
            shed = totals["skipped"].get("shed", 0)
            uncompared = sum(totals["skipped"].values()) - shed
            is_settled = totals["copied"] + shed == asked and totals["compared"] + uncompared == totals["copied"]
            return totals if is_settled else None

        return wait_until(settled, f"what became of {asked} requests")

    def differences(self) -> set[tuple[str, str]]:
        answer = self.api("GET", "/api/v1/routes/shop/shadow/differences?limit=100")
        return {(group["path"], group["kind"]) for group in answer["differences"]}

    def comparer(self) -> int:
        """The process id of the comparer, once there is one."""
        return wait_until(lambda: next(iter(comparers_of(self.turnout.process.pid)), None), "a comparer")


def url_of(server: Address | Origin) -> str:
    if isinstance(server, Origin):
        return server.url
    return server if isinstance(server, str) else f"http://{server[0]}:{server[1]}"


def comparers_of(supervisor: int) -> list[int]:
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [int(pid) for pid in children if b"proxy.comparison" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@contextmanager
def shop(folder: Path, old: Address | Origin, new: Address | Origin, shadow: Mapping[str, Any] | None = None,
         route: Mapping[str, Any] | None = None, **settings: Any) -> Iterator[Shop]:
    with ExitStack() as stack:
        yield Shop(folder, stack, old, new, dict(shadow or {}), dict(route or {}), settings)


def copies(origin: StrictOrigin) -> list[Message]:
    return [message for message in origin.requests if message.value(MARK) is not None]


def originals(origin: StrictOrigin) -> list[Message]:
    return [message for message in origin.requests if message.value(MARK) is None]
