"""The frozen state that a worker serves by: routing and the limits around it, with one revision number.

A request reads the current snapshot once (invariant 1); a change is a new snapshot and one assignment (invariant 2).
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.core.route import Route, Version


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one client or server may make a worker hold. Sizes in bytes; None means unbounded."""

    request_line: int = 16 * 1024          # RFC 9112 §3 recommends at least 8,000
    head: int = 32 * 1024
    headers: int = 128                     # fields
    body: int | None = None
    connections: int = 20_000              # client connections, shared evenly by the workers
    response_head: int = 64 * 1024
    response_headers: int = 256            # fields
    trailers: int = 16 * 1024
    trailer_fields: int = 64
    chunk_line: int = 4 * 1024             # a chunk-size line with its extensions
    chunk_extensions: int = 16 * 1024      # all extensions of one body
    buffer: int = 64 * 1024                # held per direction before reading is paused
    body_rate: int = 500                   # bytes per second that a request body must average after 10 s
    memory: int | None = None              # all workers together; above it no connections are accepted
    client_connections: int | None = None  # of one client address, in each worker
    client_rate: float | None = None       # requests per second of one client address, in each worker
    client_burst: int | None = None        # requests that may come at once beyond the rate; None: one second's


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Deadlines in seconds. A worker checks them in sweeps, so each may be late by a quarter of a second."""

    request_head: float = 10.0             # first byte of a head → its end
    request_idle: float = 30.0             # between two pieces of a request body
    keepalive: float = 75.0                # idle client connection
    connect: float = 2.0
    response_head: float = 60.0            # request sent → first byte of the answer
    response_idle: float = 60.0            # between two pieces of an answer, or of reading it
    drain: float = 30.0
    tunnel_idle: float = 3600.0
    tunnel_grace: float = 30.0             # for a tunnel whose version has lost its last weight
    orphan: float = 60.0                   # how long workers serve on without a supervisor
    upstream_keepalive: float = 50.0       # idle server connection; below the usual 60 s and 75 s of servers


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for every route. `trusted_proxies`: networks (CIDR) whose X-Forwarded-* fields are believed."""

    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    trusted_proxies: tuple[str, ...] = ()
    access_log: str = "off"                # off | stdout | a path


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a worker decides by. `secret` signs session cookies; the same in every worker and after a restart.

    `comparer`: the abstract Unix socket where answers are compared, without its leading NUL; empty: nowhere.
    `drained`: (version, server address) pairs that an operator took out of service.
    """

    revision: int
    versions: tuple[Version, ...]
    routes: tuple[Route, ...]
    policy: Policy = Policy()
    secret: bytes = b""
    comparer: str = ""
    drained: frozenset[tuple[str, str]] = frozenset()
