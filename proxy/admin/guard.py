"""Who gets through: what every request must pass before anything else is looked at.

Invariant: a request reaches a handler only when it may. Tokens are those of the settings in force, so a reload that
takes one away takes it away at once.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import structlog
from aiohttp import web

from proxy.admin.access import Role, allows, foreign_page, holder_of, is_loopback_host
from proxy.admin.control import Control
from proxy.admin.failures import Failures, network_of
from proxy.admin.problems import Refused
from proxy.controlplane.events import Author
from proxy.settings import Token

_PEER = struct.Struct("3i")     # struct ucred of unix(7): pid, uid, gid
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="turnout"'}

log = structlog.get_logger("admin")


class Guard:
    """`private`: whether only this machine can reach the socket, as it is bound now, whatever the settings say."""

    def __init__(self, control: Control, failures: Failures, *, private: bool) -> None:
        self._control = control
        self._failures = failures
        self._private = private

    @property
    def _tokens(self) -> tuple[Token, ...]:
        return self._control.commands.settings.admin.tokens

    def admit(self, request: web.Request, needed: Role) -> Author:
        """Say who asks. Raises Refused: 400, 401, 403, 421 or 429."""
        tokens = self._tokens
        self._check_host(request, open_to_all=not tokens)
        if why := foreign_page(request.method, request.headers):
            raise Refused(403, f"a web page of another origin changes nothing here: {why}", kind="foreign-origin")
        if needed == "nobody":
            return Author("anybody", request.remote or "")
        if not tokens and not self._private:
            raise Refused(403, "other machines can reach this address and no token is configured: add `admin.tokens`",
                          kind="no-tokens")
        if not tokens:
            return _local_author(request)
        holder = holder_of(request.headers.get("Authorization"), tokens)
        if holder is None:
            raise self._unknown(request)
        if not allows(holder.role, needed):
            raise Refused(403, f"the token `{holder.name}` has the role `{holder.role}`: this needs `{needed}`",
                          kind="role-needed")
        return Author(holder.name, origin_of(request))

    def still_holds(self, request: web.Request) -> Callable[[], bool]:
        """Return what tells whether the one who asked could still ask: for answers without an end."""

        def holds() -> bool:
            tokens = self._tokens
            if not tokens:
                return self._private
            return holder_of(request.headers.get("Authorization"), tokens) is not None

        return holds

    def _check_host(self, request: web.Request, *, open_to_all: bool) -> None:
        hosts = request.headers.getall("Host", [])
        if len(hosts) > 1:
            raise Refused(400, "more than one Host field (RFC 9112 §3.2)")
        if open_to_all and not _is_unix(request) and not is_loopback_host(hosts[0] if hosts else ""):
            raise Refused(421, "without tokens the Host field must name loopback, such as `localhost`")

    def _unknown(self, request: web.Request) -> Refused:
        if "Authorization" not in request.headers:
            # Nothing was guessed, so nothing is counted: a probe that is set up wrongly must not use up the tries.
            return Refused(401, "a token is needed: `Authorization: Bearer TOKEN`", headers=_CHALLENGE)
        address = origin_of(request)
        failure = self._failures.add(address, self._control.clock())
        if failure.tell:
            self._tell(network_of(address), failure.tell)
        if failure.retry_after_s:
            return Refused(429, f"too many wrong tokens from {network_of(address)}; a right one is let through",
                           headers={"Retry-After": str(failure.retry_after_s)})
        return Refused(401, "nobody was given this token", headers=_CHALLENGE)

    def _tell(self, address: str, count: int) -> None:
        log.warning("log-in failed", origin=address, times=count)
        self._control.commands.record("login-failed", Author("unknown", address), f"{count} wrong token(s)")


def origin_of(request: web.Request) -> str:
    """Where a request comes from: an address, or who is at the other end of a Unix socket."""
    return _unix_peer(request) if _is_unix(request) else request.remote or ""


def _local_author(request: web.Request) -> Author:
    return Author("unix" if _is_unix(request) else "loopback", origin_of(request))


def _is_unix(request: web.Request) -> bool:
    sock = request.get_extra_info("socket")
    return sock is not None and sock.family == socket.AF_UNIX


def _unix_peer(request: web.Request) -> str:
    try:
        raw = request.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    except (OSError, AttributeError):
        return "unix"           # not Linux, or the peer is gone
    pid, uid, _ = _PEER.unpack(raw)
    return f"unix uid={uid} pid={pid}"
