"""What the API says of copies and what differed, as types: see `shapes`."""

from __future__ import annotations

from typing_extensions import TypedDict  # what pydantic reads; typing's own only from Python 3.12 on

from proxy.admin.shapes import ShadowShape


class QuantilesShape(TypedDict):
    """How long answers took, in milliseconds; None where there were none."""

    p50_ms: float | None
    p99_ms: float | None


class LatencyShape(TypedDict):
    """Of the same requests, the version that answered the client beside the shadow; `later`: by how much the shadow's
    answer took longer, request by request (0.05 or less: it did not)."""

    primary: QuantilesShape
    shadow: QuantilesShape
    later: QuantilesShape


class ComparerShape(TypedDict):
    """The process that compares. `since`: when this route's result began, None without one; `dropped`: pairs of all
    routes that it had no time for, since Turnout was started.
    """

    running: bool
    restarts: int
    since: float | None
    dropped: int


class ComparedShape(TypedDict):
    """What came of the copies since `since`. compared = matched + different; `noisy`: of the matched, those that differ
    as the control does. `skipped`: requests that were not copied or not compared, by reason.
    """

    copied: int
    compared: int
    matched: int
    different: int
    noisy: int
    skipped: dict[str, int]
    match_rate: float | None
    latency: LatencyShape


class EndpointShape(TypedDict):
    """The same of one endpoint: a template such as `/items/{}`, `other` for what is beyond the bound."""

    endpoint: str
    method: str
    compared: int
    matched: int
    different: int
    skipped: dict[str, int]


class SampleShape(TypedDict):
    """One example of a difference: excerpts, redacted. `id`: the request's."""

    at: float
    id: str
    primary: str
    shadow: str


class DifferenceShape(TypedDict):
    """Differences of one kind in one place. `verdict`: `different`, `noise` or `undecided`.

    `rate`: part of the comparisons that show it, `control_rate`: the same of two answers of the version that answered;
    None where there is no control.
    """

    endpoint: str
    method: str
    path: str
    kind: str
    count: int
    rate: float
    control_rate: float | None
    verdict: str
    first_seen: float
    last_seen: float
    samples: list[SampleShape]


class ShadowReport(TypedDict):
    """How the shadow of a route would have answered. `fraction`: what load leaves of the copies, 0 to 1. `differences`:
    the most frequent ones, with `more` behind them. `dropped_groups`: how many were forgotten for want of room.
    """

    route: str
    shadow: ShadowShape | None
    fraction: float
    control: bool
    comparer: ComparerShape
    totals: ComparedShape
    endpoints: list[EndpointShape]
    differences: list[DifferenceShape]
    more: int
    dropped_groups: int


class Differences(TypedDict):
    """Differences, the most frequent first, and how many `more` there are."""

    differences: list[DifferenceShape]
    more: int


class ReasonShape(TypedDict):
    """Why something is to be ignored: part of the `compared` that differ between two answers of one version."""

    control_rate: float
    compared: int


class LearnedRules(TypedDict):
    """What the comparison should ignore, and which arrays have no order. Without `control` nothing is learned."""

    ignore: list[str]
    unordered: list[str]
    because: dict[str, ReasonShape]
    control: bool


class Cleared(TypedDict):
    """Whether there was anything to start afresh from."""

    cleared: bool
