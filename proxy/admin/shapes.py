"""What the API answers, as types: views are checked against them by mypy, and openapi.json describes answers by them.

Seconds, counts and fractions are numbers; nothing is formatted text. Times are seconds since the epoch.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict  # what pydantic reads; typing's own only from Python 3.12 on

from proxy.admin.version_shapes import VersionShape


class Alive(TypedDict):
    """Turnout is there."""

    alive: bool


class Ready(TypedDict):
    """Whether connections are answered, and what is missing from full strength."""

    ready: bool
    reasons: list[str]


class StickyShape(TypedDict):
    """How a route's clients are recognised."""

    by: str
    mode: str
    name: str


class ShadowShape(TypedDict):
    """Which requests are copied, and to where."""

    to: str
    percent: float
    methods: list[str]


class CourseShape(TypedDict):
    """Where a route's requests and copies go."""

    split: dict[str, float]
    shadow: ShadowShape | None


class PendingShape(TypedDict):
    """A change that undoes itself at `until`, in `seconds_left`, unless it is confirmed; then `back_to` holds."""

    until: float
    seconds_left: float
    back_to: CourseShape


class RouteShape(TypedDict):
    """One route. `revision` is its ETag: of its course, so what health makes of it may change without. `as_written`:
    whether it goes as the file says. `shares` add up to 1.

    `effective`: the shares as requests are really sent while versions are down or drained; they add up to 1 unless some
    are refused or wait (`when_down`).
    """

    name: str
    revision: int
    generation: int
    host: str | None
    path: str
    methods: list[str]
    baseline: str
    sticky: StickyShape | None
    split: dict[str, float]
    shares: dict[str, float]
    effective: dict[str, float]
    shadow: ShadowShape | None
    as_written: bool
    can_undo: bool
    pending: PendingShape | None


class Totals(TypedDict):
    """What one version of a route has done since Turnout was started.

    Answers per client: `requests`, and `codes`, are what clients got from this version. Attempts per version:
    `attempts` are all tries at it by outcome, however many a request took and whoever answered in the end; `retries` of
    them were given up for another one. `rescues`: requests that failed here and went to the baseline, by what they got
    there; `diverted`: requests that the baseline took because this version was down.
    """

    requests: int
    codes: dict[str, int]
    attempts: dict[str, int]
    retries: int
    rescues: dict[str, int]
    diverted: int
    in_flight: int
    p50_s: float | None
    p99_s: float | None


class EventShape(TypedDict):
    """One entry of the journal."""

    id: int
    at: float
    author: str
    origin: str
    verb: str
    route: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    reason: str
    revision: int


class StatusRoute(RouteShape):
    """A route, how it fares, and the newest event about it."""

    totals: dict[str, Totals]
    last_change: EventShape | None


class WorkerShape(TypedDict):
    """One place for a worker, and the process in it."""

    index: int
    pid: int | None
    state: str
    restarts: int
    last_end: str | None
    revision: int | None
    connections: int
    event_loop_lag_s: float


class ReloadShape(TypedDict):
    """The file, and how the last attempt to read it went; `at`: when that was, at first the start."""

    file: str | None
    ok: bool
    at: float


class Status(TypedDict):
    """Everything an operator asks first."""

    turnout: str
    pid: int
    revision: int
    uptime_s: float
    ready: bool
    reasons: list[str]
    listen: list[str]
    versions: dict[str, VersionShape]
    routes: list[StatusRoute]
    workers: list[WorkerShape]
    restarts: int
    connections: int
    reload: ReloadShape


class Routes(TypedDict):
    """Every route at one revision."""

    revision: int
    routes: list[RouteShape]


class Applied(TypedDict):
    """How many workers serve by a change, `of` all; the `replaced` ones did not acknowledge in time."""

    workers: int
    of: int
    replaced: list[int]


class Changed(TypedDict):
    """What a change came to; `applied` is None when nothing had to be applied. `notes`: what its author should know."""

    revision: int
    dry_run: bool
    applied: Applied | None
    took_ms: float
    notes: list[str]


class RouteChanged(Changed):
    """A change of one route."""

    route: RouteShape


class RoutesChanged(Changed):
    """A change of several routes."""

    routes: list[RouteShape]


class VersionChanged(Changed):
    """A change of what is in service: of one `server`, or of the whole version. What is `idle` can be stopped."""

    server: str | None
    version: VersionShape


class Events(TypedDict):
    """A page of events, oldest first. `more`: whether there are others behind; `last_id`: the newest of all."""

    events: list[EventShape]
    last_id: int
    more: bool


class VersionOdds(TypedDict):
    """One version of the route that takes a request, and its share of [0, 1]."""

    version: str
    weight: float
    share: float


class Explained(TypedDict):
    """Where a request goes and why. `version` is None where chance decides: then `versions` has the odds.

    `sent_to`: who is really sent it, another one where `version` is down; None where chance decides, or nobody is.
    `why` is for people, one step each; `steps` has the same for programs.
    """

    route: str | None
    version: str | None
    sent_to: str | None
    reason: str | None
    drawn: bool
    why: list[str]
    versions: list[VersionOdds]
    steps: dict[str, Any]
    revision: int


class Config(TypedDict):
    """The configuration in force as a file would hold it, without secrets, and what was changed at run time: courses of
    routes, and the servers that are `drained`, by version.
    """

    revision: int
    file: str | None
    config: dict[str, Any]
    courses: dict[str, CourseShape]
    drained: dict[str, list[str]]


class FileProblem(TypedDict):
    """One thing wrong with a file. `line` and `column` count from 1; None where the whole file is meant."""

    line: int | None
    column: int | None
    path: str
    detail: str


class Validated(TypedDict):
    """Whether a file would load. `unread`: what it takes from the environment and from other files, left out here."""

    valid: bool
    problems: list[FileProblem]
    warnings: list[FileProblem]
    unread: list[str]


class Upgraded(TypedDict):
    """The process that has taken over."""

    pid: int
    took_ms: float


class FaultShape(TypedDict, total=False):
    """One thing wrong with a request, and where: in the body, the query or the header."""

    pointer: str
    parameter: str
    field: str
    detail: str


class _Problem(TypedDict):
    type: str
    title: str
    status: int
    detail: str


class ProblemShape(_Problem, total=False):
    """RFC 9457 problem details. `current`: the state that a condition did not meet."""

    errors: list[FaultShape]
    current: dict[str, Any]
