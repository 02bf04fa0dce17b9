"""What must agree in health, attempts and load: inside a version, inside a route, and with the number of workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import BaseModel

from proxy.settings.document import Loc
from proxy.settings.health_model import EjectSection, ProbeSection
from proxy.settings.limits_model import TimeoutsSection
from proxy.settings.model import RouteSection, VersionSection
from proxy.settings.pieces import Pieces, RoutePieces, VersionPieces, mapping
from proxy.settings.report import Report
from proxy.settings.retry_model import RetrySection
from proxy.settings.section import keys_of
from proxy.settings.shadow_checks import check_twice, workers_of
from proxy.settings.units import MIB, format_duration, format_number, format_size, quote

_LEAST_MEMORY = 64 * MIB        # twice what a worker takes that has nothing to do

_Cap = tuple[str, Loc, int | None]


def check_traffic(pieces: Pieces, report: Report) -> None:
    """Report every contradiction in what versions and routes say of health, attempts and load."""
    workers = workers_of(pieces)
    for version in pieces.deployments.values():
        headers = mapping(version.raw.get("probe")).get("headers")
        check_twice((*version.loc, "probe", "headers"), headers, report, of_key=True)
        _check_version(version.loc, version.traffic, report)
        _warn_of_shares(version.loc, _caps(version.traffic), workers, report)
    for route in pieces.routes:
        _check_retry(route, pieces.timeouts, report)
        _check_down(route, pieces, report)
        _warn_of_shares(route.loc, [("spill", ("spill",), route.traffic.spill)], workers, report)
    _check_limits(pieces, workers, report)


def _check_version(loc: Loc, version: VersionSection, report: Report) -> None:
    if version.probe:
        _check_probe((*loc, "probe"), version.probe, report)
    if version.ejection:
        _check_ejection((*loc, "eject"), version.ejection, report)
    if version.breaker and version.breaker.share >= 1:
        report.warning((*loc, "breaker", "failures"), "more than 100% never fails: write less, or `breaker: off`")
    adaptive = version.adaptive
    if adaptive and adaptive.smallest > adaptive.largest:
        report.error(_first_given((*loc, "adaptive"), adaptive, "smallest", "largest"),
                     f"`smallest` is {adaptive.smallest}, more than `largest` ({adaptive.largest})")


def _check_probe(loc: Loc, probe: ProbeSection, report: Report) -> None:
    """Several probes of a server at once would say the same; so many mean that the unit is not the one meant."""
    if probe.timeout_s > 10 * probe.interval_s:
        report.error((*loc, "timeout"), f"{quote(format_duration(probe.timeout_s))} is more than ten times `interval` "
                                        f"({format_duration(probe.interval_s)})")
    if probe.phi_warn is not None and probe.phi_out is not None and probe.phi_warn >= probe.phi_out:
        report.error((*loc, "phi_out"), f"must be more than `phi_warn` ({format_number(probe.phi_warn)}): "
                                        "a server is suspect before it is out")


def _check_ejection(loc: Loc, ejection: EjectSection, report: Report) -> None:
    if ejection.first_s > ejection.most_s:
        report.error(_first_given(loc, ejection, "most_s", "first_s"),
                     f"`for` is {format_duration(ejection.first_s)}, more than `at_most` "
                     f"({format_duration(ejection.most_s)})")


def _check_retry(route: RoutePieces, timeouts: TimeoutsSection, report: Report) -> None:
    retry, loc = route.traffic.retry, (*route.loc, "retry")
    if retry is None:
        return
    for index, cause in enumerate(retry.on):
        if cause in retry.on[:index]:
            report.error((*loc, "on", index), f"`{cause}` is given twice")
    if retry.backoff_s > retry.most_backoff_s:
        report.error(_first_given(loc, retry, "most_backoff_s", "backoff_s"),
                     f"`backoff` is {format_duration(retry.backoff_s)}, more than `backoff_at_most` "
                     f"({format_duration(retry.most_backoff_s)})")
    _warn_of_time(loc, route.traffic, retry, timeouts, report)
    if retry.idempotency_key and not retry.body:
        report.warning((*loc, "idempotency_key"), "means little with `body: 0B`: such requests mostly have a body, and "
                                                  "none is kept")
    if not retry.budget and not retry.floor and (retry.attempts > 1 or route.traffic.rescue):
        report.warning((*loc, "budget"), "with `budget: 0%` and `budget_floor: 0` nothing is ever tried again")


def _warn_of_time(loc: Loc, traffic: RouteSection, retry: RetrySection, timeouts: TimeoutsSection,
                  report: Report) -> None:
    """The two keys belong together, and `timeouts.response_head` is longer than any client waits."""
    whole = format_duration(timeouts.response_head)
    if retry.per_try_s is not None and retry.per_try_s >= timeouts.response_head:
        report.warning((*loc, "per_try"), f"is never reached: `timeouts.response_head` is {whole}")
    elif retry.per_try_s is not None and "timeout" not in retry.on and not traffic.rescue:
        report.warning((*loc, "per_try"), "without `timeout` in `on`, what takes longer is answered 504 at once")
    elif retry.per_try_s is None and "timeout" in retry.on:
        report.warning((*loc, "on"), f"without `per_try`, `timeout` means after {whole} "
                                     "(`timeouts.response_head`): nobody waits for that twice")


def _check_down(route: RoutePieces, pieces: Pieces, report: Report) -> None:
    """What is about candidates means nothing where there is none; and who is held must have a place to wait."""
    baseline = route.baseline or next(iter(route.weights), None)
    candidates = [name for name in route.weights if name != baseline]
    if not candidates and route.weights:
        for key in ("rescue", "when_down", "spill"):
            if route.raw.get(key) not in (None, "false"):
                report.warning((*route.loc, key), f"means nothing here: `{baseline}` is the only version")
    if route.traffic.when_down != "hold":
        return
    nowhere = [name for name in candidates if name in pieces.deployments and _has_no_queue(pieces.deployments[name])]
    if nowhere:
        names = " and ".join(f"`{name}`" for name in nowhere)
        report.error((*route.loc, "when_down"),
                     f"`hold` needs a place to wait: give {names} a queue, such as `queue: 100`")


def _has_no_queue(version: VersionPieces) -> bool:
    """Not one that was misspelt: that is said already."""
    return not version.traffic.queue.queue and (
        version.raw.get("queue") is None or "queue" in version.traffic.model_fields_set)


def _caps(version: VersionSection) -> Iterator[_Cap]:
    yield "in_flight", ("in_flight",), version.in_flight
    yield "server_in_flight", ("server_in_flight",), version.per_server
    yield "queue", ("queue", "length"), version.queue.queue
    if version.adaptive:        # `smallest` is no cap: more than that is what it asks for
        yield "largest", ("adaptive", "largest"), version.adaptive.largest


def _warn_of_shares(loc: Loc, caps: Iterable[_Cap], workers: int, report: Report) -> None:
    """Each worker has its even share of a cap, and at least 1: below the number of workers that is more than it."""
    for name, key, cap in caps:
        if cap and cap < workers:
            report.warning((*loc, *key), f"`{name}` is {cap}, but each of {workers} workers has at least 1: "
                                         f"together that is {workers}")


def _check_limits(pieces: Pieces, workers: int, report: Report) -> None:
    limits = pieces.limits
    if limits.client_burst is not None and mapping(pieces.data.get("limits")).get("client_rate") in (None, "none"):
        report.error(("limits", "client_burst"), "is a part of `client_rate`, which is not given")
    if limits.memory is not None and limits.memory // workers < _LEAST_MEMORY:
        report.warning(("limits", "memory"), f"{quote(format_size(limits.memory))} are less than "
                                             f"{format_size(_LEAST_MEMORY)} for each of {workers} workers: "
                                             "that is hardly more than an idle one takes")


def _first_given(loc: Loc, section: BaseModel, *attributes: str) -> Loc:
    """Where to point of two keys that disagree: at the first of these that stands in the file."""
    names = {attribute: key for key, attribute in keys_of(type(section)).items()}
    given = [attribute for attribute in attributes if attribute in section.model_fields_set]
    return (*loc, names[(given or attributes)[0]])
