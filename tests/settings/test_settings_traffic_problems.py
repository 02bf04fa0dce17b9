"""Mistakes in health, attempts and load, each at its place, and what `check` warns of."""

from __future__ import annotations

import pytest

from proxy.errors import ConfigError
from proxy.settings import load_bytes
from tests.support.traffic_file import load, written


def problems(version: str = "", route: str = "", rest: str = "workers: 2") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(version, route, rest)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(("keys", "message"), [
    ("probe: «healthz", "probe.path: `healthz` must begin with `/`"),
    ("probe: {path: «'/a b'}",
     "probe.path: `/a b` is not what a request can ask for: visible ASCII without blanks or `#`, 2048 at most"),
    ("probe: {path: «/a#b}",
     "probe.path: `/a#b` is not what a request can ask for: visible ASCII without blanks or `#`, 2048 at most"),
    ("probe: {path: «'/é'}",
     "probe.path: `/é` is not what a request can ask for: visible ASCII without blanks or `#`, 2048 at most"),
    ("probe: «[/a]", "probe: must be a mapping (`key: value`), not a list"),
    ("probe: {«intervall: 1s}", "probe.intervall: is not known (did you mean `interval`?)"),
    ("probe: {«interval_s: 1}", "probe.interval_s: is not known (did you mean `interval`?)"),
    ("probe: {interval: «49ms}", "probe.interval: `49ms` is less than 50ms"),
    ("probe: {interval: «2h}", "probe.interval: `2h` is more than 1h"),
    ("probe: {interval: 50ms, timeout: «501ms}", "probe.timeout: `501ms` is more than ten times `interval` (50ms)"),
    ("probe: {rise: «0}", "probe.rise: `0` is less than 1"),
    ("probe: {fall: «101}", "probe.fall: `101` is more than 100"),
    ("probe: {status: «[]}", "probe.status: must not be empty"),
    ("probe: {status: [200, «2xx]}",
     "probe.status[1]: `2xx` is not a status or a range of them, such as `204` or `200-299`"),
    ("probe: {status: [«101]}",
     "probe.status[0]: `101` is not a status or a range of them, such as `204` or `200-299`"),
    ("probe: {status: [«299-200]}", "probe.status[0]: `299-200` runs backwards: write `200-299`"),
    ("probe: {body: «''}", "probe.body: has 0 characters: 1 to 1024 are looked for (leave it out for any body)"),
    ("probe: {host: «'a b'}", "probe.host: `a b` is not a host, such as `new.example.com` or `[::1]:8080`"),
    ("probe: {headers: {«Host: x}}", "probe.headers.Host: `Host` is what `probe.host` is for"),
    ("probe: {headers: {«Connection: x}}",
     "probe.headers.Connection: `Connection` belongs to one connection (RFC 9110 §7.6.1): it says nothing about a "
     "request"),
    ("probe: {headers: {«Content-Length: 0}}",
     "probe.headers.Content-Length: `Content-Length` frames the message: it says nothing about who sent it"),
    ("probe: {headers: {X-A: «\"a\\nb\"}}",
     "probe.headers.X-A: `a\\u000ab` is not a header value: visible ASCII, no blanks at its ends, not empty"),
    ("probe: {headers: {X-A: 1, «x-a: 2}}", "probe.headers.x-a: is given twice: also as `X-A`"),
    ("probe: {phi_warn: «0}", "probe.phi_warn: `0` is less than 0.1"),
    ("probe: {phi_out: «5}", "probe.phi_out: must be more than `phi_warn` (5): a server is suspect before it is out"),
    ("eject: «never", "eject: must be a mapping (`key: value`), or `on` or `off`"),
    ("eject: {failures: «50%}", "eject.failures: `50%` is not a whole number of at least 0"),
    ("eject: {for: «0s}", "eject.for: `0s` is less than 50ms"),
    ("eject: {for: «2m}", "eject.for: `for` is 2m, more than `at_most` (1m)"),
    ("eject: {for: 2m, at_most: «90s}", "eject.at_most: `for` is 2m, more than `at_most` (90s)"),
    ("breaker: {failures: «0.5}", "breaker.failures: `0.5` is not a percentage, such as `20%`"),
    ("breaker: {failures: «0%}", "breaker.failures: `0%` is less than 0.01%"),
    ("breaker: {failures: «101%}", "breaker.failures: `101%` is more than 100%"),
    ("breaker: {requests: «0}", "breaker.requests: `0` is less than 1"),
    ("breaker: {within: «100ms}", "breaker.within: `100ms` is less than 1s"),
    ("breaker: {trials: «0}", "breaker.trials: `0` is less than 1"),
    ("panic: «0.3", "panic: `0.3` is not a percentage, such as `20%`"),
    ("slow_start: «10", "slow_start: `10` has no unit: write `10s` or `10ms`"),
    ("in_flight: «0", "in_flight: `0` is less than 1"),
    ("server_in_flight: «many", "server_in_flight: `many` is not a whole number of at least 0"),
    ("queue: «none", "queue.length: `none` is not a whole number of at least 0"),
    ("queue: {wait: «0s}", "queue.wait: `0s` is less than 1ms"),
    ("adaptive: {smallest: «0}", "adaptive.smallest: `0` is less than 1"),
    ("adaptive: {largest: 9, smallest: «10}", "adaptive.smallest: `smallest` is 10, more than `largest` (9)"),
    ("adaptive: {largest: «7}", "adaptive.largest: `smallest` is 8, more than `largest` (7)"),
    ("«ejection: off", "ejection: is not known (did you mean `eject`?)"),
])
def test_a_mistake_in_a_version_is_named_at_its_place(keys: str, message: str) -> None:
    """`«` marks the place that must be named."""
    column = written(keys, "", "x").split("\n")[1].index("«") + 1
    assert problems(keys.replace("«", "")) == [f"f:2:{column}: versions.new.{message}"]


@pytest.mark.parametrize(("keys", "message"), [
    ("retry: «never", "retry: must be a mapping (`key: value`), or `on` or `off`"),
    ("retry: {on: «[]}", "retry.on: must not be empty"),
    ("retry: {on: [connect, «conect]}",
     "retry.on[1]: `conect` is not one of `connect`, `reset`, `timeout`, `502`, `503`, `504` (did you mean "
     "`connect`?)"),
    ("retry: {on: [«500]}",
     "retry.on[0]: `500`: of the statuses, only 502, 503 and 504 say that a retry may help"),
    ("retry: {on: [reset, «reset]}", "retry.on[1]: `reset` is given twice"),
    ("retry: {«true: [reset]}",
     "retry.true: is not known (a tool made it of `on`, which is a word for true in YAML 1.1: put quotes around it "
     "there)"),
    ("retry: {attempts: «0}", "retry.attempts: `0` is less than 1"),
    ("retry: {attempts: «11}", "retry.attempts: `11` is more than 10"),
    ("retry: {per_try: «0s}", "retry.per_try: `0s` is less than 1ms"),
    ("retry: {backoff: «1s}", "retry.backoff: `backoff` is 1s, more than `backoff_at_most` (250ms)"),
    ("retry: {backoff: 1s, backoff_at_most: «500ms}",
     "retry.backoff_at_most: `backoff` is 1s, more than `backoff_at_most` (500ms)"),
    ("retry: {body: «65MiB}", "retry.body: `65MiB` is more than 64MiB"),
    ("retry: {idempotency_key: «yes}", "retry.idempotency_key: `yes` is not `true` or `false`"),
    ("retry: {budget: «0.2}", "retry.budget: `0.2` is not a percentage, such as `20%`"),
    ("retry: {budget: «1001%}", "retry.budget: `1001%` is more than 1000%"),
    ("retry: {budget_floor: «10/d}",
     "retry.budget_floor: `10/d` is not a frequency, such as `100/s`, `90/m` or `10/h`"),
    ("rescue: «old", "rescue: `old` is not `true` or `false`"),
    ("when_down: «basline", "when_down: `basline` is not one of `baseline`, `fail`, `hold` (did you mean `baseline`?)"),
    ("when_down: «hold", "when_down: `hold` needs a place to wait: give `new` a queue, such as `queue: 100`"),
    ("spill: «-1", "spill: `-1` is not a whole number of at least 0"),
    ("priority: «2", "priority: `2` is not one of `low`, `normal`, `high`"),
])
def test_a_mistake_in_a_route_is_named_at_its_place(keys: str, message: str) -> None:
    column = written("", keys, "x").split("\n")[2].index("«") + 1
    assert problems(route=keys.replace("«", "")) == [f"f:3:{column}: routes[0].{message}"]


@pytest.mark.parametrize(("keys", "message"), [
    ("memory: «none", "memory: `none` is not a size: write `auto`, or more than there is: `1TiB`"),
    ("memory: «1MiB", "memory: `1MiB` is less than 64MiB"),
    ("client_connections: «0", "client_connections: `0` is less than 1"),
    ("client_rate: «100",
     "client_rate: `100` is not a frequency, such as `100/s`, `90/m` or `10/h` (how often? write `100/s`)"),
    ("client_rate: «0/s", "client_rate: `0/s` is less than 1/h"),
    ("client_rate: «010/s", "client_rate: `010` has a leading zero: write `10`"),
    ("client_burst: «5", "client_burst: is a part of `client_rate`, which is not given"),
    ("client_rate: none, client_burst: «5", "client_burst: is a part of `client_rate`, which is not given"),
    ("client_burst: 5, client_rate: «fast",
     "client_rate: `fast` is not a frequency, such as `100/s`, `90/m` or `10/h`"),
])
def test_a_mistake_in_the_limits_is_named_at_its_place(keys: str, message: str) -> None:
    text = f"limits: {{{keys}}}"
    assert problems(rest=text.replace("«", "")) == [f"f:1:{text.index('«') + 1}: limits.{message}"]


def test_all_mistakes_are_told_at_once_and_none_of_what_follows_from_them() -> None:
    told = problems("probe: {rise: 0, status: [1]}, queue: none, eject: x", "retry: {budget: 1}, when_down: hold")
    assert [problem.split(": ")[1] for problem in told] == [
        "versions.new.probe.rise", "versions.new.probe.status[0]", "versions.new.queue.length", "versions.new.eject",
        "routes[0].retry.budget"]


def test_a_typo_elsewhere_does_not_hide_a_contradiction() -> None:
    told = problems("in_flight: x, adaptive: {smallest: 9, largest: 8}", "spill: x, retry: {backoff: 9s}")
    assert [problem.split(": ")[1] for problem in told] == [
        "versions.new.in_flight", "versions.new.adaptive.smallest", "routes[0].spill", "routes[0].retry.backoff"]


def test_the_version_that_has_no_place_to_wait_is_named() -> None:
    text = ("versions: {a: {servers: ['http://h:1']}, b: {servers: ['http://h:2'], queue: 1}, "
            "c: {servers: ['http://h:3']}}\n"
            "routes: [{name: r, split: {b: 1, a: 1, c: 1}, baseline: a, when_down: hold}]")
    with pytest.raises(ConfigError) as caught:
        load_bytes(text.encode(), "f", {})
    assert [problem.message for problem in caught.value.problems] == [
        "`hold` needs a place to wait: give `c` a queue, such as `queue: 100`"]


@pytest.mark.parametrize(("version", "route", "rest", "messages"), [
    ("in_flight: 3", "", "workers: 4",
     ["versions.new.in_flight: `in_flight` is 3, but each of 4 workers has at least 1: together that is 4"]),
    ("server_in_flight: 1", "", "workers: 2", ["versions.new.server_in_flight: `server_in_flight` is 1, but each of 2 "
                                               "workers has at least 1: together that is 2"]),
    ("queue: 1", "", "workers: 2",
     ["versions.new.queue.length: `queue` is 1, but each of 2 workers has at least 1: together that is 2"]),
    ("adaptive: {smallest: 1, largest: 1}", "", "workers: 2",
     ["versions.new.adaptive.largest: `largest` is 1, but each of 2 workers has at least 1: together that is 2"]),
    ("adaptive: {smallest: 1}", "", "workers: 2", []),
    ("", "spill: 1", "workers: 2",
     ["routes[0].spill: `spill` is 1, but each of 2 workers has at least 1: together that is 2"]),
    ("in_flight: 4, server_in_flight: 4, queue: 4, adaptive: on", "spill: 0", "workers: 4", []),
    ("breaker: {failures: 100%}", "", "workers: 2",
     ["versions.new.breaker.failures: more than 100% never fails: write less, or `breaker: off`"]),
    ("", "retry: {per_try: 1m}", "workers: 2",
     ["routes[0].retry.per_try: is never reached: `timeouts.response_head` is 1m"]),
    ("", "retry: {on: timeout, per_try: 5s}", "timeouts: {response_head: 3s}",
     ["routes[0].retry.per_try: is never reached: `timeouts.response_head` is 3s"]),
    ("", "retry: {per_try: 5s}", "workers: 2",
     ["routes[0].retry.per_try: without `timeout` in `on`, what takes longer is answered 504 at once"]),
    ("", "retry: {per_try: 5s}, rescue: true", "workers: 2", []),
    ("", "retry: {on: [timeout]}", "workers: 2",
     ["routes[0].retry.on: without `per_try`, `timeout` means after 1m (`timeouts.response_head`): nobody waits for "
      "that twice"]),
    ("", "retry: {on: [timeout, 503], per_try: 5s}", "workers: 2", []),
    ("", "retry: {idempotency_key: true, body: 0B}", "workers: 2",
     ["routes[0].retry.idempotency_key: means little with `body: 0B`: such requests mostly have a body, and none is "
      "kept"]),
    ("", "retry: {budget: 0%, budget_floor: 0}", "workers: 2",
     ["routes[0].retry.budget: with `budget: 0%` and `budget_floor: 0` nothing is ever tried again"]),
    ("", "", "workers: 4\nlimits: {memory: 128MiB}",
     ["limits.memory: `128MiB` are less than 64MiB for each of 4 workers: that is hardly more than an idle one takes"]),
    ("", "", "workers: 4\nlimits: {memory: 256MiB}", []),
])
def test_what_is_probably_not_meant_is_a_warning(version: str, route: str, rest: str, messages: list[str]) -> None:
    assert [f"{warning.path}: {warning.message}" for warning in load(version, route, rest).warnings] == messages


@pytest.mark.parametrize("key", ["rescue: true", "when_down: fail", "spill: 500"])
def test_what_is_about_candidates_means_nothing_to_a_single_version(key: str) -> None:
    text = f"versions: {{a: {{servers: ['http://h:1']}}}}\nroutes: [{{name: r, split: {{a: 1}}, {key}}}]"
    warnings = [str(warning) for warning in load_bytes(text.encode(), "f", {}).warnings]
    assert warnings[1:] == [f"f:2:{text.splitlines()[1].index(key) + len(key.split()[0]) + 2}: "
                            f"routes[0].{key.split(':')[0]}: means nothing here: `a` is the only version"]
