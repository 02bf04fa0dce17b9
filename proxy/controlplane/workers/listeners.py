"""The listening sockets: opened by the supervisor before any worker or taken over from a predecessor.

Invariant: a socket is never closed while connections may wait on it and a worker may still come (a closed SO_REUSEPORT
socket resets its queue). So every socket of an address belongs to some worker, also when there are more sockets than
workers. Each worker has its own socket per TCP address, so the kernel spreads the connections and no two workers wake
up for one; a Unix socket is shared, because the kernel spreads nothing there.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from proxy.controlplane.errors import StartError
from proxy.core.listen import Listen
from proxy.settings.occupant import occupant

BACKLOG = 4096
"""Connections that may wait on one socket: half a second of a busy worker, so that a restart loses none."""
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

Bound = tuple[str, socket.socket]
"""An address as it was bound (`Listen.address`), and one socket that listens there."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One address and its sockets. Port 0 is resolved in `listen`.

    `file`: device and inode of a Unix socket's file. The kernel keeps an inode as long as a socket is bound to it, so
    they tell our file from a successor's in the same place. `inherited`: others may listen on it still. `asked`: the
    address with the port that was asked for, which may be 0.
    """

    listen: Listen
    sockets: tuple[socket.socket, ...]
    file: tuple[int, int] | None = None
    inherited: bool = False
    asked: str = ""

    def sockets_of(self, worker: int, workers: int) -> tuple[socket.socket, ...]:
        """Return the sockets that this one of so many workers accepts from; together they have all of them."""
        if self.listen.unix_path is not None:
            return self.sockets
        return self.sockets[worker::workers] or (self.sockets[worker % len(self.sockets)],)

    def close(self, *, keep_file: bool = False) -> None:
        """Close every socket, and remove the file of a Unix socket if it is still ours, unless it is to be kept."""
        path = self.listen.unix_path
        if path is not None and not keep_file and self.sockets[0].fileno() >= 0 and _file_at(path) == self.file:
            Path(path).unlink(missing_ok=True)
        for sock in self.sockets:
            sock.close()


class Listeners:
    """Every listening socket of this supervisor, for `workers` processes."""

    def __init__(self, listeners: Sequence[Listener], workers: int) -> None:
        self._listeners = tuple(listeners)
        self._workers = workers

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses as they were bound."""
        return tuple(listener.listen.address for listener in self._listeners)

    def bound_of(self, worker: int) -> list[Bound]:
        """Return the sockets of one worker with their addresses, in the order of the configuration."""
        return [
            (listener.listen.address, sock)
            for listener in self._listeners
            for sock in listener.sockets_of(worker, self._workers)
        ]

    @property
    def bound(self) -> list[Bound]:
        """Every socket with its address: what a successor is handed."""
        return [(listener.listen.address, sock) for listener in self._listeners for sock in listener.sockets]

    @property
    def asked(self) -> dict[str, str]:
        """For addresses whose port the system has chosen: what was asked for."""
        return {each.listen.address: each.asked for each in self._listeners if each.asked}

    def close(self, *, keep_files: bool = False) -> None:
        """Accept nothing more: once the workers have closed theirs, a new connection is refused.

        `keep_files`: somebody else has the sockets, too, so the files of Unix sockets stay.
        """
        for listener in self._listeners:
            listener.close(keep_file=keep_files)


def addresses_of(listens: Iterable[Listen]) -> frozenset[str]:
    """Return the addresses that `open_listeners` would bind; those that do not resolve are left out."""
    found: set[str] = set()
    for listen in listens:
        try:
            found |= {place.address for _, place in _places(listen)}
        except StartError:  # `open_listeners` will say it
            continue
    return frozenset(found)


class Heirlooms:
    """Listening sockets from somebody before us, until they are taken or closed."""

    def __init__(self, bound: Iterable[Bound] = ()) -> None:
        self._sockets: dict[str, list[socket.socket]] = {}
        self._asked: dict[str, str] = {}
        self._inodes: set[int] = set()
        self.add(bound)

    @property
    def addresses(self) -> frozenset[str]:
        """Every address that came, also those that were taken meanwhile."""
        return frozenset(self._asked)

    def add(self, bound: Iterable[Bound], asked: Mapping[str, str] | None = None) -> None:
        """Own these sockets from here on; what comes twice, from two workers that shared it, is closed once.

        `asked`: as `Listeners.asked` of the one before.
        """
        for address, sock in bound:
            inode = os.fstat(sock.fileno()).st_ino
            if inode in self._inodes:
                sock.close()
                continue
            self._inodes.add(inode)
            self._sockets.setdefault(address, []).append(sock)
            self._asked[address] = (asked or {}).get(address, address)

    def take(self, wanted: Listen) -> tuple[Listen, list[socket.socket]]:
        """Return the sockets of this address, with its real port where 0 is wanted; none when there are none."""
        for address in list(self._sockets):
            if wanted.address in (address, self._asked[address]):
                port = 0 if wanted.unix_path is not None else int(address.rpartition(":")[2])
                return replace(wanted, port=port), self._sockets.pop(address)
        return wanted, []

    def close(self) -> None:
        """Let go of what nobody took."""
        for sockets in self._sockets.values():
            for sock in sockets:
                sock.close()
        self._sockets.clear()


def open_listeners(listens: Sequence[Listen], workers: int, heirlooms: Heirlooms | None = None) -> Listeners:
    """Bind and listen on every address, for `workers` processes.

    `heirlooms` of a wanted address are used, and completed if the workers are more; the others are closed. Raises
    StartError, with nothing left open, when an address cannot be had.
    """
    heirlooms = Heirlooms() if heirlooms is None else heirlooms
    opened: list[Listener] = []
    try:
        for listen in listens:
            opened += _open(listen, workers, heirlooms)
    except BaseException:
        for listener in opened:
            listener.close(keep_file=listener.inherited)
        raise
    finally:
        heirlooms.close()
    return Listeners(opened, workers)


def _open(listen: Listen, workers: int, heirlooms: Heirlooms) -> list[Listener]:
    if listen.unix_path is None:
        return _open_tcp(listen, workers, heirlooms)
    _, sockets = heirlooms.take(listen)
    file = _file_at(listen.unix_path)
    if sockets and file is not None:
        return [Listener(listen, tuple(map(_listening, sockets)), file, inherited=True)]
    for sock in sockets:  # its file is gone, so nobody can come by it
        sock.close()
    return _open_unix(listen)


def _places(listen: Listen) -> list[tuple[int, Listen]]:
    """Return the addresses that a host name stands for, each with its family. Raises StartError for none."""
    if listen.unix_path is not None:
        return [(socket.AF_UNIX, listen)]
    try:
        found = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except OSError as error:
        raise StartError(f"cannot listen on {listen.address}: the name does not resolve ({error.strerror})") from error
    places = dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found)
    return [(family, Listen(host, listen.port)) for family, host in places]


def _open_tcp(listen: Listen, workers: int, heirlooms: Heirlooms) -> list[Listener]:
    places = _places(listen)
    opened: list[Listener] = []
    absent: OSError | None = None
    for family, place in places:
        bound, inherited = heirlooms.take(place)
        if not inherited and opened:
            bound = replace(place, port=opened[0].listen.port)  # the port that was chosen for the first one
        try:
            opened.append(replace(_open_address(family, bound, workers, inherited),
                                  asked="" if listen.port else place.address))
        except OSError as error:
            # A name such as `localhost` may resolve to a family that this host does not have.
            if error.errno not in _ABSENT or len(places) == 1:
                Listeners(opened, workers).close()
                raise StartError(_explain(listen, error)) from error
            absent = error
    if absent is not None and not opened:
        raise StartError(_explain(listen, absent)) from absent
    return opened


def _open_address(family: int, listen: Listen, workers: int, inherited: list[socket.socket]) -> Listener:
    if inherited:
        sockets = _completed(family, listen, workers, inherited)
        return Listener(listen, tuple(map(_listening, sockets)), inherited=True)
    # SO_REUSEPORT would let a second Turnout of the same user share the port unnoticed: a bind without it finds out.
    with _bound(family, listen, share=False) as probe:
        listen = replace(listen, port=probe.getsockname()[1])
        sockets = []
        try:
            for _ in range(workers):
                sockets.append(_bound(family, listen, share=True))
            return Listener(listen, tuple(map(_listening, sockets)))
        except BaseException:
            Listener(listen, tuple(sockets)).close()
            raise


def _completed(family: int, listen: Listen, workers: int, inherited: list[socket.socket]) -> list[socket.socket]:
    """Return the inherited sockets and as many more as the workers need."""
    sockets = list(inherited)
    while len(sockets) < workers:
        try:
            sockets.append(_listening(_bound(family, listen, share=True)))
        except OSError:  # workers share, then: fewer sockets are slower, none would be worse
            break
    return sockets


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
