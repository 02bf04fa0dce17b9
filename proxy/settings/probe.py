"""Tries what a configuration names: binds its addresses, connects to its servers, asks whether files can be written.

Changes nothing: what is bound is closed without ever accepting, what is connected to is sent nothing, and a file that
is made has no name. All servers are
tried at the same time in daemon threads, since a resolver that hangs cannot be interrupted but must not hold us up.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, Queue

from proxy.core.listen import Listen
from proxy.core.route import Server
from proxy.settings.occupant import occupant
from proxy.settings.units import format_duration
from proxy.settings.values import Settings
from proxy.settings.writable import why_no_file, why_no_folder

MAX_AT_ONCE = 64
MAX_CONNECT_S = 5.0     # a person waits for this, whatever `timeouts.connect` allows


@dataclass(frozen=True, slots=True)
class Finding:
    """What one try came to. `kind` is `listen`, `state`, `log` or `server`; `name` is the address (a server's with its
    version) or the path.
    """

    kind: str
    name: str
    ok: bool
    detail: str


def probe(settings: Settings) -> list[Finding]:
    """Try every address, in the order of the configuration. Takes seconds at most: none is waited for much longer."""
    connect_s = min(settings.policy.timeouts.connect, MAX_CONNECT_S)
    findings = [try_bind(listen) for listen in (*settings.listen, settings.admin.listen)]
    if settings.state_dir is not None:
        findings.append(_finding("state", settings.state_dir, why_no_folder(settings.state_dir)))
    if settings.policy.access_log not in ("off", "stdout"):
        findings.append(_finding("log", settings.policy.access_log, why_no_file(settings.policy.access_log)))
    servers = [(version.name, server) for version in settings.versions for server in version.servers]
    return findings + _try_servers(servers, connect_s)


def _finding(kind: str, name: str, wrong: str | None) -> Finding:
    return Finding(kind, name, wrong is None, wrong or "can be written")


def try_bind(listen: Listen) -> Finding:
    """Whether Turnout could listen there now; if not, who is in the way."""
    try:
        wrong = _bind_unix(listen.unix_path) if listen.unix_path is not None else _bind_tcp(listen)
    except OSError as error:
        wrong = _why_not(listen, error)
    return Finding("listen", listen.address, wrong is None, wrong or "can be bound")


def _bind_tcp(listen: Listen) -> str | None:
    for family, kind, protocol, _, address in socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
        with socket.socket(family, kind, protocol) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
    return None


def _bind_unix(path: str) -> str | None:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return f"the folder {folder} does not exist"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"no permission to create a socket in {folder}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(1)
        try:
            sock.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):     # free, or left behind by a process that is gone
            return None
        raise OSError(errno.EADDRINUSE, "in use")


def _why_not(listen: Listen, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name does not resolve: {error.strerror}"
    if error.errno == errno.EADDRINUSE:
        return f"in use by {occupant(listen) or 'another process'}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "no permission: ports below 1024 need CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRNOTAVAIL:
        return "no such address on this machine"
    return str(error.strerror or error)


def _try_servers(servers: Sequence[tuple[str, Server]], connect_s: float) -> list[Finding]:
    """Every server at once, within bounds; a resolver that does not answer is given up on."""
    waiting: Queue[tuple[int, Server]] = Queue()
    done: Queue[tuple[int, bool, str]] = Queue()
    for index, (_, server) in enumerate(servers):
        waiting.put((index, server))
    for number in range(min(MAX_AT_ONCE, len(servers))):
        threading.Thread(target=_work, args=(waiting, done, connect_s), name=f"probe-{number}", daemon=True).start()
    results: dict[int, tuple[bool, str]] = {}
    rounds = -(-len(servers) // MAX_AT_ONCE)
    deadline = time.monotonic() + rounds * (connect_s + MAX_CONNECT_S)
    while len(results) < len(servers):
        try:
            index, ok, detail = done.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        results[index] = ok, detail
    return [Finding("server", f"{version} {server.address}", *results.get(index, (False, "no answer in time")))
            for index, (version, server) in enumerate(servers)]


def _work(waiting: Queue[tuple[int, Server]], done: Queue[tuple[int, bool, str]], connect_s: float) -> None:
    while True:
        try:
            index, server = waiting.get_nowait()
        except Empty:
            return
        done.put((index, *try_server(server, connect_s)))


def try_server(server: Server, connect_s: float) -> tuple[bool, str]:
    """Whether a connection can be made within `connect_s` seconds per address, and how that went."""
    started = time.monotonic()
    try:
        where = _connect(server, connect_s)
    except socket.gaierror as error:
        return False, f"the name does not resolve: {error.strerror}"
    except TimeoutError:
        return False, f"does not accept within {format_duration(connect_s)}"
    except ConnectionRefusedError:
        return False, "refused: nothing listens there"
    except FileNotFoundError:
        return False, "there is no such socket"
    except (OSError, UnicodeError) as error:     # UnicodeError: a name that IDNA cannot encode
        return False, str(getattr(error, "strerror", None) or error)
    return True, f"connected{where} in {(time.monotonic() - started) * 1000:.1f} ms"


def _connect(server: Server, connect_s: float) -> str:
    if server.unix_path is not None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(connect_s)
            sock.connect(server.unix_path)
        return ""
    with contextlib.closing(socket.create_connection((server.host, server.port), timeout=connect_s)) as sock:
        address = str(sock.getpeername()[0])
    return "" if address == server.host else f" to {address}"
