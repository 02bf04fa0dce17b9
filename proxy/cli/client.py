"""The client side of the admin API for the verbs: the standard library only, so that a verb answers at once."""

from __future__ import annotations

import http.client
import json
import os
import socket
from typing import Any
from urllib.parse import urlsplit

from proxy.errors import TurnoutError

DEFAULT_ADMIN = "http://127.0.0.1:9900"
_TIMEOUT_S = 10.0
_MAX_ANSWER = 64 * 1024 * 1024


class Unreachable(TurnoutError):  # noqa: N818  the words of the exit codes
    """Nobody answers at the address, or not in a way that Turnout would. Exit code 4."""


class Refused(TurnoutError):  # noqa: N818
    """Turnout answered with an error. Exit code 1."""


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
    """Return the JSON at `path` of the admin API at `admin`; TURNOUT_TOKEN is sent when it is set.

    Raises Unreachable and Refused.
    """
    connection = _connect(admin)
    token = os.environ.get("TURNOUT_TOKEN")
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        status, body = response.status, response.read(_MAX_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"cannot reach Turnout at {admin}: {_reason(error)}") from error
    finally:
        connection.close()
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise Unreachable(f"what answers at {admin} is not Turnout's admin API") from error
    if status == http.HTTPStatus.UNAUTHORIZED:
        raise Refused(f"Turnout at {admin} wants a token: set TURNOUT_TOKEN")
    if status >= http.HTTPStatus.BAD_REQUEST:
        detail = answer.get("detail") if isinstance(answer, dict) else None
        raise Refused(f"Turnout at {admin} answered {status}: {detail or 'no reason given'}")
    return answer


def _connect(admin: str) -> http.client.HTTPConnection:
    if admin.startswith("unix:"):
        return _UnixConnection(admin.removeprefix("unix:"), _TIMEOUT_S)
    try:
        url = urlsplit(admin if "://" in admin else f"http://{admin}")
        host, port = url.hostname, url.port or 80
    except ValueError as error:
        raise Unreachable(f"{admin} is not an address such as {DEFAULT_ADMIN}") from error
    if url.scheme != "http" or not host:
        raise Unreachable(f"{admin} is not an address such as {DEFAULT_ADMIN}")
    return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
