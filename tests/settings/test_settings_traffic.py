"""Health, attempts and load in the file: what each way of writing it means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.health.values import Breaker, Ejection, Health, Probe
from proxy.core.overload.values import Adaptive, Load
from proxy.core.retry import Retry
from proxy.core.route import Route, Version
from proxy.core.snapshot import Limits
from proxy.settings import from_urls, load_bytes
from proxy.settings.units import format_frequency, parse_frequency
from tests.support.traffic_file import load

KIB = 1024


def version_of(keys: str) -> Version:
    return load(version=keys).versions[1]


def route_of(keys: str, version: str = "") -> Route:
    return load(version, keys).routes[0]


def test_what_is_left_out_is_the_cores_default() -> None:
    assert (version_of("").health, version_of("").load) == (Health(), Load())
    limits = load().policy.limits
    assert (limits.memory, limits.client_connections, limits.client_rate, limits.client_burst) == (None,) * 4


def test_a_route_keeps_short_bodies_for_another_attempt_and_else_goes_by_the_cores_defaults() -> None:
    route = route_of("")
    assert route.retry == Retry(body=64 * KIB)
    assert (route.rescue, route.when_down, route.spill, route.priority) == (False, "baseline", 1000, 1)


def test_flags_alone_give_the_same_defaults_as_a_file() -> None:
    short = from_urls("http://a", "http://b", 5)
    assert short.versions[0].health == Health()
    assert short.routes[0].retry == route_of("").retry


@pytest.mark.parametrize(("keys", "probe"), [
    ("probe: off", None),
    ("probe: null", None),
    ("probe: {}", Probe()),
    ("probe: /healthz?deep=1", Probe("/healthz?deep=1")),
    ("probe: {path: /h, interval: 250ms, timeout: 1s, rise: 1, fall: 9}", Probe("/h", 0.25, 1.0, 1, 9)),
    ("probe: {status: 204}", Probe(status=((204, 204),))),
    ("probe: {status: [200-299, 304]}", Probe(status=((200, 299), (304, 304)))),
    ("probe: {body: 'a b', host: 'h:1'}", Probe(body="a b", host="h:1")),
    ("probe: {headers: {X-A: yes, X-B: 1}}", Probe(headers=(("x-a", "yes"), ("x-b", "1")))),
    ("probe: {phi_warn: none, phi_out: 8.5}", Probe(phi_warn=None, phi_out=8.5)),
])
def test_how_servers_are_asked(keys: str, probe: Probe | None) -> None:
    assert version_of(keys).health.probe == probe


@pytest.mark.parametrize(("keys", "health"), [
    ("eject: off", Health(ejection=None)),
    ("eject: on", Health()),
    ("eject: {failures: 1, for: 50ms, at_most: 1d}", Health(ejection=Ejection(1, 0.05, 86400.0))),
    ("breaker: off", Health(breaker=None)),
    ("breaker: {failures: 12.5%, requests: 9, within: 1m, for: 1s, trials: 1}",
     Health(breaker=Breaker(0.125, 9, 60.0, 1.0, 1))),
    ("panic: 0%", Health(panic=0)),
    ("panic: 33.3%", Health(panic=0.333)),
    ("slow_start: 30s", Health(slow_start_s=30.0)),
    ("slow_start: none", Health()),
])
def test_how_servers_and_versions_are_judged(keys: str, health: Health) -> None:
    assert version_of(keys).health == health


@pytest.mark.parametrize(("keys", "expected"), [
    ("in_flight: 500, server_in_flight: 50", Load(500, 50)),
    ("in_flight: none, server_in_flight: none", Load()),
    ("queue: 100", Load(queue=100)),
    ("queue: {length: 9, wait: 250ms}", Load(queue=9, wait_s=0.25)),
    ("queue: 0", Load()),
    ("adaptive: on", Load(adaptive=Adaptive())),
    ("adaptive: off", Load()),
    ("adaptive: {largest: 64}", Load(adaptive=Adaptive(8, 64))),
])
def test_how_much_a_version_is_given(keys: str, expected: Load) -> None:
    assert version_of(keys).load == expected


@pytest.mark.parametrize(("keys", "retry"), [
    ("retry: off", Retry(on=(), attempts=1)),
    ("retry: on", Retry(body=64 * KIB)),
    ("retry: {on: timeout, per_try: 2s}", Retry(("timeout",), per_try_s=2.0, body=64 * KIB)),
    ("retry: {on: [502, '503', connect]}", Retry(("502", "503", "connect"), body=64 * KIB)),
    ("retry: {attempts: 10, backoff: 0s, backoff_at_most: 0s, body: 0B}",
     Retry(attempts=10, backoff_s=0, most_backoff_s=0)),
    ("retry: {idempotency_key: true, budget: 150%, budget_floor: 30/m}",
     Retry(body=64 * KIB, idempotency_key=True, budget=1.5, floor=0.5)),
    ("retry: {budget_floor: 2.5}", Retry(body=64 * KIB, floor=2.5)),
])
def test_what_a_failed_attempt_is_followed_by(keys: str, retry: Retry) -> None:
    assert route_of(keys).retry == retry


def test_a_plain_on_is_a_key_and_not_true() -> None:
    text = "versions: {a: {servers: ['http://h']}}\nroutes:\n- name: r\n  split: {a: 1}\n  retry:\n    on: reset\n"
    assert load_bytes(text.encode(), "f", {}).routes[0].retry.on == ("reset",)


@pytest.mark.parametrize(("keys", "values"), [
    ("rescue: true, when_down: fail, spill: 0, priority: low", (True, "fail", 0, 0)),
    ("rescue: false, when_down: hold, spill: 7, priority: high", (False, "hold", 7, 2)),
    ("when_down: baseline, priority: normal", (False, "baseline", 1000, 1)),
])
def test_what_becomes_of_requests_when_a_version_is_down(keys: str, values: tuple[Any, ...]) -> None:
    route = route_of(keys, "queue: 5")
    assert (route.rescue, route.when_down, route.spill, route.priority) == values


@pytest.mark.parametrize(("keys", "limits"), [
    ("memory: 1GiB", Limits(memory=1024**3)),
    ("memory: auto", Limits()),
    ("client_connections: 9, client_rate: 6000/m, client_burst: 9",
     Limits(client_connections=9, client_rate=100.0, client_burst=9)),
    ("client_connections: none, client_rate: none, client_burst: none", Limits()),
])
def test_what_one_client_and_the_workers_may_have(keys: str, limits: Limits) -> None:
    assert load(rest=f"workers: 2\nlimits: {{{keys}}}").policy.limits == limits


@given(st.integers(1, 10**9), st.sampled_from("smh"))
@example(14554178, "h")  # its rate, as short as Python writes it, is 14554177.999999999/h
def test_every_frequency_is_written_back_as_it_was_read(number: int, unit: str) -> None:
    rate = parse_frequency(f"{number}/{unit}")
    assert parse_frequency(format_frequency(rate)) == rate
