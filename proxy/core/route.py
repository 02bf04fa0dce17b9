"""The values an operator configures for traffic: servers, versions, routes and their rules.

All are frozen: a change is a new value in a new snapshot. They are already validated (settings did that), so no
function that takes one checks it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from proxy.core.health.values import Health
from proxy.core.overload.values import Load
from proxy.core.retry import Retry

_HEALTH, _LOAD, _RETRY = Health(), Load(), Retry()


@dataclass(frozen=True, slots=True)
class Server:
    """One address of a version: a TCP host and port, or the path of a Unix socket (`unix_path` set, host empty)."""

    host: str
    port: int
    unix_path: str | None = None

    @property
    def address(self) -> str:
        """The address as an operator writes it, also its name in metrics: `http://host:port` or `unix:/path`."""
        if self.unix_path is not None:
            return f"unix:{self.unix_path}"
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Version:
    """One deployment of the service: a name, at least one server, how they are judged and what they are given."""

    name: str
    servers: tuple[Server, ...]
    health: Health = _HEALTH
    load: Load = _LOAD


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """A condition on one request header: present (`equals` is None) or of exactly this value. Name in lower case."""

    name: str
    equals: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests belong to a route.

    `host`: None for any, an exact name, or `*.example.com` for every name below it (one label or more, not the name
    itself); lower case, no port. `path`: a prefix on whole segments, beginning with `/`. `methods`: empty for any.
    """

    host: str | None = None
    path: str = "/"
    methods: tuple[str, ...] = ()
    headers: tuple[HeaderMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class Sticky:
    """How a client is recognised and what is remembered of it.

    `by`: `cookie` (Turnout issues cookie `name`, living `max_age_s` seconds; None for the browser session),
    `app_cookie` (the application's cookie `name`), `header` (request header `name`), `address` (the client's address).
    `mode`: `ramp` derives the version from the key and the weights; `session` writes the first version into a
    signed cookie and keeps it until the route's generation changes.
    """

    by: Literal["cookie", "app_cookie", "header", "address"]
    name: str = "turnout"
    mode: Literal["ramp", "session"] = "ramp"
    max_age_s: int | None = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Override:
    """How a request may name its version itself. `networks` (CIDR) says who may: empty means nobody."""

    header: str | None = None
    cookie: str | None = None
    query: str | None = None
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shadow:
    """Which of a route's requests are copied, and to which version: what an operator steers at run time.

    `percent`: 0 to 100, in steps of 0.01. `methods`: in capitals; only safe ones unless the operator says otherwise.
    """

    to: str
    percent: float
    methods: tuple[str, ...] = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Copying:
    """How a route's copies are made and what becomes of their answers: the file's alone.

    `by`: whether chance picks single requests, or the sticky key whole clients. `path` (a prefix of whole segments) and
    `header`: which requests are copied at all. `host`: the copies' Host; None keeps the client's. `drop_headers`:
    fields (lower case) that a copy loses; `set_headers`: fields that it gets, in place of the client's. `max_body`:
    bytes of a request body; a request with more is not copied. `timeout_s`: from the copy's first byte to the last of
    its answer. `in_flight`: copies at once, and `memory`: bytes held for them; both are shared evenly by the workers.
    `control`: whether the version that answered gets a second copy, so that its noise can be told from differences.
    `compare`: how answers are compared, as the text of `core.compare` rules; None: not at all. `alert_below`: the match
    rate (0 to 1) whose crossing is an event; None: never.
    """

    by: Literal["request", "key"] = "request"
    path: str | None = None
    header: HeaderMatch | None = None
    host: str | None = None
    drop_headers: tuple[str, ...] = ()
    set_headers: tuple[tuple[str, str], ...] = ()
    max_body: int = 64 * 1024
    timeout_s: float = 10.0
    in_flight: int = 1_000
    memory: int = 64 * 1024 * 1024
    control: bool = False
    compare: str | None = "{}"
    alert_below: float | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A set of requests that is moved as one.

    `split`: relative weights (>= 0, at least one > 0) per version name, in the order of the file. `baseline`: one of
    them. `salt`: what the keyed hash of this route is keyed with; the route's name unless configured, so that two
    routes do not pick the same clients. `generation`: raised by a rollback, which ends every session stickiness.

    `retry`: what is tried again. `rescue`: whether an idempotent request that failed at a candidate is answered by the
    baseline. `when_down`: what becomes of the requests of a candidate that is down: they go to the `baseline`, `fail`,
    or are on `hold`, waiting for it as its queue allows. `spill`: how many of them the baseline is given at once, all
    workers together, so that it is not drowned. `priority`: whose requests go first where some must wait or go, 0 to 2.
    """

    name: str
    match: Match
    split: tuple[tuple[str, float], ...]
    baseline: str
    sticky: Sticky | None = None
    override: Override | None = None
    shadow: Shadow | None = None
    copying: Copying = Copying()
    salt: str = ""
    generation: int = 0
    retry: Retry = _RETRY
    rescue: bool = False
    when_down: Literal["baseline", "fail", "hold"] = "baseline"
    spill: int = 1_000
    priority: int = 1
