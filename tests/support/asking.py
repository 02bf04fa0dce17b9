"""Clients that keep asking and write down what became of every request: which answer, or how it failed.

Each request has an id of its own, which a server's good answer repeats: an answer that belongs to somebody else is
noticed. Nothing is asked twice.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from tests.support.deadline import wait_until
from tests.support.wire import DEADLINE_S, Address, Wire

FOREIGN = "somebody else's answer"
_PAUSE_S = 0.004
"""Between an answer and the client's next request: clients and servers share the machine."""

_numbers = itertools.count()
"""Of all requests of this process: several loads may go to the same servers, one after another."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request and its end: `outcome` is `200`, another status, `cut`, `closed`, `reset`, `timeout` or `FOREIGN`;
    `by` names the version whose server answered well; `said` is what stands in any other answer."""

    id: str
    method: str
    outcome: str
    by: str = ""
    retry_after: bytes | None = None
    said: bytes = b""


class Asking:
    """`count` clients at once, on connections that they keep, until the block is left."""

    def __init__(self, address: Address, count: int = 6, methods: tuple[str, ...] = ("GET",), path: str = "/") -> None:
        self.done: list[Asked] = []
        self._address = address
        self._methods = methods
        self._path = path
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, name=f"asking {number}", daemon=True)
                         for number in range(count)]
        for thread in self._threads:
            thread.start()

    def since(self, mark: int = 0, method: str = "") -> list[Asked]:
        """What has ended since so many had."""
        return [asked for asked in self.done[mark:] if method in ("", asked.method)]

    def failed(self, mark: int = 0, method: str = "") -> Counter[str]:
        """Outcome → how many, of all that were not answered with 200."""
        return Counter(asked.outcome for asked in self.since(mark, method) if asked.outcome != "200")

    def wait(self, more: int) -> int:
        """Wait until so many more have ended; returns how many had before."""
        mark = len(self.done)
        self.wait_until(lambda: len(self.done) >= mark + more, f"{more} more answers")
        return mark

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        wait_until(condition, what)

    def wait_well(self, of: int = 60) -> None:
        """Wait until the last so many were all answered well."""
        mark = len(self.done)
        self.wait_until(lambda: len(self.done) >= mark + of and not self.failed(len(self.done) - of), "good answers")

    def wait_back(self, version: str) -> None:
        """Wait until this version's servers answer again, and everybody is answered well."""
        mark = len(self.done)
        self.wait_until(lambda: sum(asked.by == version for asked in self.since(mark)) > 10, f"answers of {version}")
        self.wait_well()

    def stop(self) -> None:
        """Ask no more; every request that is under way gets its end."""
        self._stop.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stop.is_set():
            with Wire(self._address) as wire:
                while not self._stop.wait(_PAUSE_S) and self._ask(wire):
                    continue

    def _ask(self, wire: Wire) -> bool:
        """One request; False when the connection is over."""
        number = next(_numbers)
        method, name = self._methods[number % len(self._methods)], f"asked-{number}"
        body = "Content-Length: 2\r\n\r\nhi" if method == "POST" else "\r\n"
        try:
            answer = wire.ask(f"{method} {self._path} HTTP/1.1\r\nHost: shop.example\r\nX-Asked: {name}\r\n"
                              f"{body}".encode())
        except (OSError, AssertionError) as error:
            self.done.append(Asked(name, method, _how(error, wire)))
            return False
        words = answer.body.split()
        by = words[2].decode() if answer.body.startswith(b"hello from ") else ""
        outcome = str(answer.status) if not by or words[3:] == [name.encode()] else FOREIGN
        self.done.append(Asked(name, method, outcome, by, answer.value(b"retry-after"),
                               b"" if by else answer.body))
        return answer.value(b"connection") != b"close"


def _how(error: BaseException, wire: Wire) -> str:
    if wire.received:
        return "cut"
    if isinstance(error, TimeoutError):
        return "timeout"
    return "reset" if isinstance(error, ConnectionError) else "closed"
