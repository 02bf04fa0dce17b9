"""What the API says of versions and their servers, as types: see `shapes`."""

from __future__ import annotations

from typing_extensions import TypedDict  # what pydantic reads; typing's own only from Python 3.12 on


class ProbeShape(TypedDict):
    """The last probe of a server: whether its answer was good, when it came, how long it took, and what was wrong."""

    ok: bool
    at: float
    took_ms: float
    detail: str


class ServerShape(TypedDict):
    """One server. `state`: up, suspect, out (by probes), ejected (by traffic), trial, warming or drained; `why`: for
    people, empty when it is up.

    `phi`: the suspicion, None where it is not probed. `in_flight`: requests and tunnels. `idle`: drained, with nothing
    in flight any more: it can be stopped. `probe`: None before the first. `ejected_until_s`: seconds from now.
    """

    address: str
    state: str
    why: str
    phi: float | None
    in_flight: int
    idle: bool
    drained: bool
    probe: ProbeShape | None
    ejected_until_s: float | None


class VersionShape(TypedDict):
    """One version. `state`: up, down or drained (every server of it); `why`: for people, empty when it is up.

    `idle`: every server is. `queue`: requests that wait for a place. `limit`: how many may be in flight now, None for
    as many as come.
    """

    name: str
    state: str
    why: str
    in_flight: int
    idle: bool
    queue: int
    limit: float | None
    servers: list[ServerShape]


class Versions(TypedDict):
    """Every version at one revision."""

    revision: int
    versions: list[VersionShape]
