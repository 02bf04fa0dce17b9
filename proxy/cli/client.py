"""The client side of the admin API for the verbs: the standard library only, so that a verb answers at once.

Invariant: whatever answers, or does not, becomes JSON or one of two errors: `Unreachable` (nobody there who is Turnout)
or `Refused` (Turnout says no, and why).
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any

from proxy.cli.address import DEFAULT_ADMIN as DEFAULT_ADMIN
from proxy.cli.address import parse_admin
from proxy.cli.sse import Message, messages
from proxy.cli.text import printable as printable
from proxy.errors import TurnoutError

TOKEN_VARIABLE = "TURNOUT_TOKEN"  # noqa: S105  where the token is, not the token
"""The token is never an argument: arguments are in everybody's process list and in the shell's history."""
TIMEOUT_S = 10.0
_SILENCES = 3
_HEARTBEAT_WITHIN_S = 60.0
"""A stream that is silent for longer is gone: Turnout sends a comment several times a minute."""
_MAX_ANSWER = 64 * 1024 * 1024
_MAX_LINE = 1024 * 1024
_MAX_RECORD = 64 * 1024 * 1024
"""A pair of answers is at most a few times the 16 MiB that can be compared."""
_LINES = "application/x-ndjson"

Json = dict[str, Any]


class Unreachable(TurnoutError):  # noqa: N818  the words of the exit codes
    """Nobody answers at the address, or not in a way that Turnout would. Exit code 4.

    `asked`: whether the request was sent, so that a change may have been made although nobody said so.
    """

    def __init__(self, message: str, *, asked: bool = False) -> None:
        super().__init__(message)
        self.asked = asked


class Refused(TurnoutError):  # noqa: N818
    """Turnout answered with an error: the status, and the problem document (RFC 9457) that says what is wrong."""

    def __init__(self, admin: str, status: int, problem: Json, retry_after: str | None = None) -> None:
        self.status = status
        self.problem = problem
        self.retry_after = retry_after
        self.detail = str(problem.get("detail") or problem.get("title") or "no reason given")
        super().__init__(f"Turnout at {admin} answered {status}: {self.detail}")

    @property
    def kind(self) -> str:
        """The last part of the problem's type: a short name such as `unknown-route`; empty if it has none."""
        kind = str(self.problem.get("type", "about:blank"))
        return "" if kind == "about:blank" else kind.replace("#", "/").replace(":", "/").rpartition("/")[2]


class Api:
    """The admin API at `admin`; `token` is sent when there is one. Every request has a connection of its own.

    `asked`: whether something was sent that may have changed something.
    """

    def __init__(self, admin: str, token: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self.admin = admin
        self.asked = False
        self._timeout_s = timeout_s
        self._headers = {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}

    def get(self, path: str) -> Any:
        """Return the JSON at `path`. Raises Unreachable and Refused."""
        return self.ask("GET", path)

    def ask(
        self, method: str, path: str, body: Json | None = None, headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Send a request, with `body` as JSON if there is one, and return the JSON of the answer.

        `timeout_s`: for the connection and for each silence of the server; the whole answer may take three times as
        long. Raises Unreachable and Refused.
        """
        timeout_s = timeout_s or self._timeout_s
        self.asked = self.asked or method != "GET"
        with (
            closing(self._connect(timeout_s)) as connection,
            _cut_after(_SILENCES * timeout_s, connection.sock),
            closing(self._send(connection, method, path, body, headers or {})) as response,
        ):
            return self._answer(response, method)

    def stream(self, path: str, last_id: str = "") -> Iterator[Message]:
        """Yield the server-sent events at `path` that come after the one called `last_id`, until the server ends it.

        Raises Unreachable, also for a stream that falls silent, and Refused.
        """
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
        with closing(self._connect(_HEARTBEAT_WITHIN_S)) as connection:
            response = self._send(connection, "GET", path, None, headers)
            if response.headers.get_content_type() != "text/event-stream":
                self._answer(response, "GET")
                raise self._stranger(response)
            try:
                yield from messages(iter(lambda: response.readline(_MAX_LINE), b""))
            except (OSError, http.client.HTTPException) as error:
                raise Unreachable(f"lost Turnout at {self.admin}: {_reason(error)}") from error

    def lines(self, path: str, for_s: float | None = None) -> Iterator[bytes]:
        """Yield the lines of the stream at `path` as they come, without their ends, until the server ends it.

        A heartbeat is an empty line. `for_s`: seconds after which we end it. Raises Unreachable, also for a stream that
        falls silent, and Refused.
        """
        with closing(self._connect(_HEARTBEAT_WITHIN_S)) as connection:
            sock = connection.sock
            response = self._send(connection, "GET", path, None, {"Accept": _LINES})
            if response.headers.get_content_type() != _LINES:
                self._answer(response, "GET")
                raise self._stranger(response)
            with _cut_after(for_s, sock) as cut:
                try:
                    while line := response.readline(_MAX_RECORD):
                        if not line.endswith(b"\n"):
                            break           # the rest of it is lost, or it is none of ours
                        yield line.rstrip(b"\r\n")
                except (OSError, http.client.HTTPException) as error:
                    if not cut.is_set():
                        raise Unreachable(f"lost Turnout at {self.admin}: {_reason(error)}") from error

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        try:
            address = parse_admin(self.admin)
        except ValueError as error:
            raise Unreachable(str(error)) from error
        connection = (
            _UnixConnection(address, timeout_s) if isinstance(address, str)
            else http.client.HTTPConnection(*address, timeout=timeout_s)
        )
        try:
            connection.connect()
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA does not allow
            connection.close()
            raise Unreachable(f"cannot reach Turnout at {self.admin}: {_reason(error)}") from error
        return connection

    def _send(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Json | None,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        content = {} if body is None else {"Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, data, {**self._headers, **content, **headers})
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, http.client.BadStatusLine) and not isinstance(error, OSError):
                raise self._garbled(str(error)) from error
            raise self._lost(error, method) from error  # RemoteDisconnected is both
        except ValueError as error:
            raise Unreachable(f"{TOKEN_VARIABLE} cannot be sent: it is not one line of plain text") from error

    def _answer(self, response: http.client.HTTPResponse, method: str) -> Any:
        try:
            body = response.read(_MAX_ANSWER)
            if response.length:
                raise http.client.IncompleteRead(body, response.length)  # which read() with a bound does not
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error, method) from error
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise self._stranger(response) from error
        is_good = http.HTTPStatus.OK <= response.status < http.HTTPStatus.MULTIPLE_CHOICES
        if not isinstance(answer, dict) or not (is_good or response.status >= http.HTTPStatus.BAD_REQUEST):
            raise self._stranger(response)
        if is_good:
            return answer
        raise Refused(self.admin, response.status, answer, response.headers.get("Retry-After"))

    def _lost(self, error: Exception, method: str) -> Unreachable:
        if isinstance(error, TimeoutError):
            return Unreachable(f"Turnout at {self.admin} gave no answer in time", asked=method != "GET")
        return Unreachable(f"Turnout at {self.admin} broke off: {_reason(error)}", asked=method != "GET")

    def _stranger(self, response: http.client.HTTPResponse) -> Unreachable:
        server = printable(response.headers.get("Server", "no name"))[:60]
        said = f"status {response.status}, from {server}"
        return Unreachable(f"what answers at {self.admin} is not Turnout's admin API ({said})")

    def _garbled(self, line: str) -> Unreachable:
        if "\x15\x03" in line or "\\x15\\x03" in line:  # a TLS alert, as it is or as repr() shows it
            return Unreachable(f"what answers at {self.admin} speaks TLS; the admin API speaks plain HTTP")
        return Unreachable(f"what answers at {self.admin} is not Turnout's admin API: it does not speak HTTP")


@contextmanager
def _cut_after(within_s: float | None, sock: socket.socket) -> Iterator[threading.Event]:
    """End a connection when the block takes longer (None: never): a byte now and then is no silence, but no answer
    either. Yields what is set once that was done.
    """
    done = threading.Event()
    if within_s is None:
        yield done
        return
    timer = threading.Timer(within_s, _cut, (sock, done))
    timer.daemon = True
    timer.start()
    try:
        yield done
    finally:
        timer.cancel()


def _cut(sock: socket.socket, done: threading.Event) -> None:
    done.set()
    with suppress(OSError):     # closed just now
        sock.shutdown(socket.SHUT_RDWR)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def get(admin: str, path: str) -> Any:
    """Return the JSON at `path` of the admin API at `admin`, with the token of the environment.

    Raises Unreachable and Refused.
    """
    return Api(admin, os.environ.get(TOKEN_VARIABLE)).get(path)


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.RemoteDisconnected):
        return "closed the connection without an answer"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
