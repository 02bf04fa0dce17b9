"""The listening sockets: opened by the supervisor before any worker, open until it leaves.

Invariant: a socket is never closed while connections may wait on it and a worker may still come (a closed SO_REUSEPORT
socket resets its queue). Each worker has its own socket per TCP address, so the kernel spreads the connections and no
two workers wake up for one; a Unix socket is shared, because the kernel spreads nothing there.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from proxy.controlplane.errors import StartError
from proxy.core.listen import Listen
from proxy.settings.occupant import occupant

BACKLOG = 4096
"""Connections that may wait on one socket: half a second of a busy worker, so that a restart loses none."""
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@dataclass(frozen=True, slots=True)
class Listener:
    """One address and its sockets: one per worker, or a single one that all share. Port 0 is resolved in `listen`.

    `file`: device and inode of a Unix socket's file. The kernel keeps an inode as long as a socket is bound to it, so
    they tell our file from a successor's in the same place.
    """

    listen: Listen
    sockets: tuple[socket.socket, ...]
    file: tuple[int, int] | None = None

    def socket_of(self, worker: int) -> socket.socket:
        """Return the socket that the worker with this index accepts from."""
        return self.sockets[worker % len(self.sockets)]

    def close(self) -> None:
        """Close every socket, and remove the file of a Unix socket if it is still ours."""
        path = self.listen.unix_path
        if path is not None and self.sockets[0].fileno() >= 0 and _file_at(path) == self.file:
            Path(path).unlink(missing_ok=True)
        for sock in self.sockets:
            sock.close()


class Listeners:
    """Every listening socket of this supervisor."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses as they were bound."""
        return tuple(listener.listen.address for listener in self._listeners)

    def sockets_of(self, worker: int) -> list[socket.socket]:
        """Return the sockets of one worker, in the order of the configuration."""
        return [listener.socket_of(worker) for listener in self._listeners]

    def close(self) -> None:
        """Accept nothing more: once the workers have closed theirs, a new connection is refused."""
        for listener in self._listeners:
            listener.close()


def open_listeners(listens: Sequence[Listen], workers: int) -> Listeners:
    """Bind and listen on every address, for `workers` processes.

    Raises StartError, with nothing left open, when one of them cannot be had.
    """
    opened: list[Listener] = []
    try:
        for listen in listens:
            opened += _open_unix(listen) if listen.unix_path is not None else _open_tcp(listen, workers)
    except BaseException:
        Listeners(opened).close()
        raise
    return Listeners(opened)


def _open_tcp(listen: Listen, workers: int) -> list[Listener]:
    try:
        found = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except OSError as error:
        raise StartError(f"cannot listen on {listen.address}: the name does not resolve ({error.strerror})") from error
    opened: list[Listener] = []
    absent: OSError | None = None
    for family, host in dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found):
        port = listen.port or (opened[0].listen.port if opened else 0)
        try:
            opened.append(_open_address(family, Listen(host, port), workers))
        except OSError as error:
            # A name such as `localhost` may resolve to a family that this host does not have.
            if error.errno not in _ABSENT or len(found) == 1:
                Listeners(opened).close()
                raise StartError(_explain(listen, error)) from error
            absent = error
    if absent is not None and not opened:
        raise StartError(_explain(listen, absent)) from absent
    return opened


def _open_address(family: int, listen: Listen, workers: int) -> Listener:
    # SO_REUSEPORT would let a second Turnout of the same user share the port unnoticed: a bind without it finds out.
    with _bound(family, listen, share=False) as probe:
        listen = replace(listen, port=probe.getsockname()[1])
        if workers == 1:
            return Listener(listen, (_listening(probe.dup()),))
    sockets: list[socket.socket] = []
    try:
        for _ in range(workers):
            sockets.append(_bound(family, listen, share=True))
            _listening(sockets[-1])
    except BaseException:
        Listener(listen, tuple(sockets)).close()
        raise
    return Listener(listen, tuple(sockets))


def _bound(family: int, listen: Listen, *, share: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # `[::]` and `0.0.0.0` are two addresses that may both be listed.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((listen.host, listen.port))
    except BaseException:
        sock.close()
        raise
    return sock


def _listening(sock: socket.socket) -> socket.socket:
    sock.listen(BACKLOG)  # the kernel lowers it to net.core.somaxconn
    sock.setblocking(False)
    return sock


def _open_unix(listen: Listen) -> list[Listener]:
    path = listen.unix_path
    assert path is not None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_stale(path):
            Path(path).unlink()
        sock.bind(path)
        return [Listener(listen, (_listening(sock),), _file_at(path))]
    except OSError as error:
        sock.close()
        raise StartError(_explain(listen, error)) from error


def _is_stale(path: str) -> bool:
    """Whether there is a socket file that nobody listens on. Raises OSError(EADDRINUSE) when somebody does."""
    try:
        mode = os.stat(path, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "there is a file of that name that is not a socket", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            pass  # a full queue: somebody listens, slowly
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), path)


def _file_at(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _explain(listen: Listen, error: OSError) -> str:
    where = f"cannot listen on {listen.address}"
    match error.errno:
        case errno.EADDRINUSE:
            who = occupant(listen) or "another program"
            return f"{where}: {who} does already; stop it, or choose another address"
        case errno.EACCES | errno.EPERM if listen.unix_path is not None:
            return f"{where}: no permission to create a socket there; check the owner of its folder"
        case errno.EACCES | errno.EPERM:
            return (
                f"{where}: no permission; take a port from 1024 up, "
                "or allow this one (`setcap cap_net_bind_service=+ep`, or net.ipv4.ip_unprivileged_port_start)"
            )
        case errno.EADDRNOTAVAIL:
            return f"{where}: this host has no such address (`ip address` lists those it has)"
        case errno.ENOENT if listen.unix_path is not None:
            return f"{where}: its folder does not exist"
        case _:
            return f"{where}: {error.strerror or error}"
