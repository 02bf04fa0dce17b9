"""How a version's servers are judged, as pydantic models: by probes, by the traffic itself, and as a whole.

Attributes are called as in `core.health.values`, which gives each default its reason; keys are the aliases.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxy.core.health.values import Breaker, Ejection, Probe
from proxy.settings import fields, traffic_fields
from proxy.settings.forms import OneOrMore
from proxy.settings.section import Section, entry, time

_PROBE = Probe()
_EJECTION = Ejection()
_BREAKER = Breaker()
_HOUR = 3600.0
_DAY = 86_400.0


class ProbeSection(Section):
    """What the supervisor asks each server again and again, and which answers are good."""

    path: Annotated[str, traffic_fields.TARGET] = entry(
        _PROBE.path, _PROBE.path, "What is asked for, by GET, with its query.", examples=["/healthz"])
    interval_s: Annotated[float, fields.duration(0.05, _HOUR)] = time(
        _PROBE.interval_s, "How often each server is asked.", alias="interval")
    timeout_s: Annotated[float, fields.duration(0.001, 600)] = time(
        _PROBE.timeout_s, "How long the answer may take.", alias="timeout")
    rise: Annotated[int, fields.count(1, 100)] = entry(
        _PROBE.rise, _PROBE.rise, "Good answers in a row that bring a server in.")
    fall: Annotated[int, fields.count(1, 100)] = entry(
        _PROBE.fall, _PROBE.fall, "Bad answers in a row that put it out.")
    status: Annotated[
        list[Annotated[tuple[int, int], traffic_fields.STATUSES]], Field(min_length=1, max_length=20), OneOrMore(),
    ] = Field(
        default=list(_PROBE.status), description="Which statuses are good: numbers and ranges.",
        json_schema_extra={"default": ["200-299"]}, examples=[["200-299", 304]])
    body: Annotated[str | None, traffic_fields.EXPECTED_TEXT] = entry(
        None, None, "Text that the first 64 KiB of the answer must contain.", examples=["ready"])
    host: Annotated[str | None, fields.AUTHORITY] = entry(
        None, None, "Host of the probe; the server's address, if left out.", examples=["shop.example.com"])
    headers: dict[Annotated[str, traffic_fields.PROBE_HEADER], Annotated[str, fields.FIELD_VALUE]] = entry(
        {}, {}, "Header fields of the probe.", examples=[{"User-Agent": "turnout-probe"}])
    phi_warn: Annotated[float | None, traffic_fields.SUSPICION] = entry(
        _PROBE.phi_warn, 5, "The suspicion at which a silent server is shown as suspect; `none`: never.")
    phi_out: Annotated[float | None, traffic_fields.SUSPICION] = entry(
        _PROBE.phi_out, "none", "The suspicion at which a silent server is out, before `fall` says so; `none`: never.")


class EjectSection(Section):
    """When a server that fails real requests gets no more of them."""

    failures: Annotated[int, fields.count(1, 1000)] = entry(
        _EJECTION.failures, _EJECTION.failures, "Failed requests in a row that put it out.")
    first_s: Annotated[float, fields.duration(0.05, _HOUR)] = time(
        _EJECTION.first_s, "How long it is out the first time; each further time twice as long.", alias="for")
    most_s: Annotated[float, fields.duration(0.05, _DAY)] = time(
        _EJECTION.most_s, "How long it is out at most.", alias="at_most")


class BreakerSection(Section):
    """When a whole version gets no more requests, as long as another can take them."""

    share: Annotated[float, traffic_fields.part(0.01, 100)] = entry(
        _BREAKER.share, "50%", "The part of its requests that may fail.", alias="failures")
    requests: Annotated[int, fields.count(1, 1_000_000)] = entry(
        _BREAKER.requests, _BREAKER.requests, "How many requests it takes to mean something.")
    window_s: Annotated[float, fields.duration(1, 600)] = time(
        _BREAKER.window_s, "How far back requests count.", alias="within")
    open_s: Annotated[float, fields.duration(0.05, _HOUR)] = time(
        _BREAKER.open_s, "How long it gets none before it is tried again.", alias="for")
    trials: Annotated[int, fields.count(1, 1000)] = entry(
        _BREAKER.trials, _BREAKER.trials, "Requests that must then all succeed.")
