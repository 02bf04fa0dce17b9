"""Clients that keep asking, as browsers do: each on a connection it keeps, reconnecting when the proxy parts from it.

A request is *lost* when it was sent and no whole answer came. It is not lost when it was never sent: the connection
had ended before, or could not be made. A connection that is reset before its first answer counts as one that could not
be made (TCP completes it before anybody accepts it): whoever relies on that compares `answered` with what the servers
got.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.support.deadline import wait_until
from tests.support.strict import Message
from tests.support.wire import DEADLINE_S, Address, Wire


class SteadyClient:
    """One client in a thread of its own, until it is stopped or nobody lets it in any more."""

    def __init__(self, address: Address, number: int, stop: threading.Event, request: bytes) -> None:
        self.answered = 0
        self.connections = 0
        self.lost: list[str] = []
        self.refused = False
        """Whether a connection could not be made: there was nobody to send the next request to. It ends then."""
        self.strange: list[Message] = []
        self.is_gone = False
        self._address = address
        self._stop = stop
        self._request = request
        self._thread = threading.Thread(target=self._run, name=f"client {number}", daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stop.is_set() and not self.refused:
                self._converse()
        finally:
            self.is_gone = True

    def _converse(self) -> None:
        """One connection, from its beginning to its end."""
        try:
            wire = Wire(self._address)
        except OSError:
            self.refused = True
            return
        self.connections += 1
        with wire:
            is_first = True
            while not self._stop.is_set() and not _has_ended(wire):
                if not self._ask(wire, is_first):
                    return
                is_first = False

    def _ask(self, wire: Wire, is_first: bool) -> bool:
        """One request; False when the connection is over."""
        try:
            answer = wire.ask(self._request)
        except (OSError, AssertionError) as error:
            if is_first and isinstance(error, ConnectionError) and not wire.received:
                self.refused = True
                return False
            self.lost.append(f"request {self.answered} of connection {self.connections}: {error!r}")
            return False
        self.answered += 1
        if answer.status != 200:
            self.strange.append(answer)
        return answer.value(b"connection") != b"close"


def _has_ended(wire: Wire) -> bool:
    return bool(select.select([wire.sock], [], [], 0)[0])


class Load:
    """`count` clients at once. Left with the block: stopped, and joined."""

    def __init__(self, address: Address, count: int, request: bytes) -> None:
        self._stop = threading.Event()
        self.clients = [SteadyClient(address, number, self._stop, request) for number in range(count)]

    @property
    def answered(self) -> int:
        return sum(client.answered for client in self.clients)

    @property
    def connections(self) -> int:
        return sum(client.connections for client in self.clients)

    @property
    def lost(self) -> list[str]:
        return [one for client in self.clients for one in client.lost]

    @property
    def strange(self) -> list[Message]:
        return [one for client in self.clients for one in client.strange]

    def wait_answers(self, more: int) -> None:
        """Wait for so many further answers."""
        until = self.answered + more
        self.wait(lambda: self.answered >= until, f"{more} more answers")

    def wait_each(self, more: int) -> None:
        """Wait until every client got so many further answers."""
        until = [client.answered + more for client in self.clients]
        self.wait(lambda: all(client.answered >= least for client, least in zip(self.clients, until, strict=True)),
                  f"{more} more answers for each client")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(condition, what)

    def stop(self) -> None:
        self._stop.set()
        for client in self.clients:
            client.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None,
                 _trace: TracebackType | None) -> None:
        self.stop()
