"""A configuration writes itself as a file that means the same, and tells what a reload cannot change."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.health.values import Breaker, Ejection, Health, Probe
from proxy.core.overload.values import Adaptive, Load
from proxy.core.retry import Retry
from proxy.core.route import Shadow
from proxy.settings import Settings, differences_needing_upgrade, from_urls, load_bytes, load_file, running_document
from proxy.settings.running import HIDDEN
from proxy.settings.schema import keys

CONFIG = Path(__file__).parents[2] / "config"
NAME = "/etc/turnout/turnout.yaml"
SECRETS = ("0123456789abcdef", "only-for-trying-it-out")
TRICKY = r"""
listen: [127.0.0.1:8080, "[::1]:8080", "unix:/run/turnout.sock", localhost:8081]
workers: 3
admin: {listen: "unix:/run/admin.sock"}
state_dir: memory
watch: none
secret: only-for-trying-it-out
access_log: "/var/log/$$HOME/access.log"
trusted_proxies: [10.0.0.0/8, "fd00::/8"]
limits: {body: 1.5MiB, body_rate: none, head: 1000B, memory: 1.5GiB, client_connections: 7, client_rate: 90/m,
         client_burst: 3}
timeouts: {connect: 2.5ms, drain: 0s, tunnel_grace: 0s, orphan: 1h30m, keepalive: 1d1ms}
metrics: {buckets: [50us, 1.5ms, 2.5s, 2m]}
journal: {events: 100}
versions:
  "null": {servers: ["unix:/run/a.sock"], eject: off, breaker: off, queue: 7, panic: 0%, adaptive: on}
  "012": {servers: ["http://[::1]:9000", "http://app"], probe: "/a?b=$$c", queue: 7}
  no:
    servers: ["http://app:81"]
    probe: {path: /h, interval: 1.5s, timeout: 2ms, rise: 1, fall: 100, status: [204, 300-399], body: "$$ok",
            host: "a:1", headers: {X-A: "$$"}, phi_warn: 0.5, phi_out: 12}
    eject: {failures: 1, for: 50ms, at_most: 1.5h}
    breaker: {failures: 33.3%, requests: 1, within: 1s, for: 50ms, trials: 1}
    panic: 12.5%
    slow_start: 1.5s
    in_flight: 100
    server_in_flight: 10
    queue: {length: 3, wait: 2.5ms}
    adaptive: {smallest: 3, largest: 3}
routes:
  - name: on
    match:
      {host: "[::1]", path: /a$$b, methods: [GET], headers: {X-A: "yes", X-B: "12", X-C: {present: true}, X-D: "$$"}}
    split: {"null": 33.333333333, "012": 0.000000001, no: 0}
    baseline: no
    salt: "${NOT_SET:-a$$b}"
    sticky: {by: cookie, name: a$$b, max_age: none, mode: session}
    override: {header: X-V, from: ["::/0"]}
    retry: {on: [504, connect], attempts: 10, per_try: 1.5ms, backoff: 0s, backoff_at_most: 1m, body: 1000B,
            idempotency_key: true, budget: 333.3%, budget_floor: 1/m}
    rescue: true
    when_down: hold
    spill: 0
    priority: low
    shadow:
      {to: no, percent: 12.5%, methods: [POST], by: key, match: {path: /a$$b, header: {X-M: "$$"}}, host: "[::1]:80",
       drop_headers: [Cookie], set_headers: {Authorization: "$$x"}, max_body: 1000B, timeout: 1.5s, in_flight: 7,
       memory: 1GiB, control: true, alert_below: 99.9%,
       compare: {headers: ["*"], ignore: ["$$.a[*].b", "header:X"], unordered: ["$$..t"], tolerance: 0.0000001,
                 body: json, max_body: 1MiB, per_second: 9, samples: 0,
                 relative_margin: 20%, absolute_margin: 0.03%, minimum: 7,
                 endpoints: ["/items/{}"]}}
  - {name: wild, match: {host: "*.example.com"}, split: {no: 87.5%, "012": 12.5%}, sticky: {app_cookie: J$$},
     shadow: {to: no, percent: 0.01, compare: off, match: {header: {X-M: {present: true}}}}}
  - {name: head, match: {path: /h}, split: {no: 1, "012": 0}, sticky: {by: header, name: X-Key},
     retry: off, when_down: fail, priority: high}
  - {name: addr, match: {path: /x}, split: {no: 1, "012": 0}, sticky: {by: address}, override: {cookie: c, query: q}}
"""


def read(text: str, environ: dict[str, str] | None = None) -> Settings:
    return load_bytes(text.encode(), NAME, environ or {})


def again(settings: Settings) -> Settings:
    """The settings of what they write themselves as, with the secrets that are left out put back."""
    document: dict[str, Any] = json.loads(json.dumps(running_document(settings)))
    for entry, token in zip(document["admin"]["tokens"], settings.admin.tokens, strict=True):
        entry["token_sha256"] = token.digest.hex()
    for route, shown in zip(settings.routes, document["routes"], strict=True):
        put_back(route.copying.set_headers, shown.get("shadow", {}).get("set_headers", {}))
    for version in settings.versions:
        if probe := version.health.probe:
            put_back(probe.headers, document["versions"][version.name]["probe"].get("headers", {}))
    written = read(yaml.safe_dump(document, sort_keys=False))
    return replace(written, file=settings.file, secret=settings.secret, warnings=settings.warnings)


def put_back(given: Iterable[tuple[str, str]], shown: dict[str, str]) -> None:
    """The credentials among these fields."""
    for name, value in given:
        if shown[name] == HIDDEN:
            shown[name] = value.replace("$", "$$")


def test_credentials_of_copies_and_probes_are_not_shown() -> None:
    settings = read("""
        versions:
          a: {servers: ["http://a"], probe: {path: /, headers: {Authorization: Basic eHg, X-Kind: probe}}}
          b: {servers: ["http://b"]}
        routes:
          - {name: r, split: {a: 1, b: 0}, shadow: {to: b, percent: 1, set_headers: {X-Api-Key: eHg, X-Kind: copy}}}
        """)
    document = running_document(settings)
    assert document["versions"]["a"]["probe"]["headers"] == {"authorization": HIDDEN, "x-kind": "probe"}
    assert document["routes"][0]["shadow"]["set_headers"] == {"x-api-key": HIDDEN, "x-kind": "copy"}


def test_whatever_can_be_written_is_written_back() -> None:
    settings = read(TRICKY)
    assert again(settings) == settings


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_is_written_back(path: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("fedcba9876543210")
    settings = load_file(path, {"TURNOUT_TOKEN": SECRETS[0], "TURNOUT_TOKEN_FILE": str(tmp_path / "token")})
    assert again(settings) == settings


def test_what_was_given_as_flags_is_written_as_a_file() -> None:
    settings = from_urls("http://a", ["http://b:1", "http://c"], "12.345")
    assert again(settings) == settings


@given(
    st.floats(0.001, 86400 * 300), st.floats(0, 86400 * 300).map(lambda seconds: round(seconds, 6)),
    st.integers(0, 1 << 40), st.integers(1, 1 << 30), st.floats(0, 999_999).map(lambda weight: round(weight, 9)),
)  # fmt: skip
def test_every_quantity_is_written_exactly(connect: float, orphan: float, body: int, rate: int, weight: float) -> None:
    settings = read("versions: {a: {servers: ['http://a']}}\nroutes: [{name: r, split: {a: 1}}]\n")
    limits = replace(settings.policy.limits, body=body, body_rate=rate)
    timeouts = replace(settings.policy.timeouts, connect=round(connect, 6), orphan=orphan)
    route = replace(settings.routes[0], split=(("a", weight + 1e-6),))
    settings = replace(settings, policy=replace(settings.policy, limits=limits, timeouts=timeouts), routes=(route,))
    assert again(settings).policy == settings.policy
    assert again(settings).routes[0].split[0][1] == pytest.approx(weight + 1e-6, abs=1e-9)


def seconds(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high).map(lambda number: round(number, 6))


def parts(low: int, high: int) -> st.SearchStrategy[float]:
    """Percentages in steps of a thousandth, as the fractions that they are."""
    return st.integers(low * 1000, high * 1000).map(lambda thousandths: thousandths / 100_000)


PROBES = st.builds(
    Probe, st.sampled_from(["/", "/h?a=$b"]), seconds(0.1, 3600), seconds(0.001, 1), st.integers(1, 100),
    st.integers(1, 100), st.lists(st.sampled_from([(200, 299), (204, 204)]), min_size=1, max_size=3).map(tuple),
    st.none() | st.sampled_from(["ok", "null", "${x}", "1e3"]), st.none() | st.just("[::1]:80"),
    st.sampled_from([(), (("x-a", "yes"), ("x-b", "$"))]), st.none() | st.sampled_from([0.1, 5.0]),
    st.none() | st.sampled_from([5.5, 1000.0]))
HEALTHS = st.builds(
    Health, st.none() | PROBES, st.none() | st.builds(Ejection, st.integers(1, 1000), seconds(0.05, 9), seconds(9, 99)),
    st.none() | st.builds(Breaker, parts(1, 99), st.integers(1, 9), seconds(1, 600), seconds(0.05, 3600),
                          st.integers(1, 9)),
    parts(0, 100), seconds(0, 3600))
CAPS = st.none() | st.integers(3, 1_000_000)
LOADS = st.builds(Load, CAPS, CAPS, st.integers(0, 1_000_000), seconds(0.001, 600),
                  st.none() | st.builds(Adaptive, st.integers(1, 9), st.integers(9, 1_000_000)))
RETRIES = st.just(Retry(on=(), attempts=1)) | st.builds(
    Retry, st.sampled_from([("connect",), ("504", "reset")]), st.integers(1, 10), st.none() | seconds(0.001, 3600),
    seconds(0, 9), seconds(9, 60), st.integers(0, 1 << 26), st.booleans(), parts(0, 1000),
    st.integers(0, 10**9).map(lambda number: number / 10**4))


@given(HEALTHS, LOADS, RETRIES, st.booleans(), st.sampled_from(["baseline", "fail"]), st.integers(0, 2))
def test_health_load_and_attempts_are_written_exactly(
        health: Health, load: Load, retry: Retry, rescue: bool, when_down: Any, priority: int) -> None:
    settings = read("versions: {a: {servers: ['http://a']}}\nroutes: [{name: r, split: {a: 1}}]\n")
    version = replace(settings.versions[0], health=health, load=load)
    route = replace(settings.routes[0], retry=retry, rescue=rescue, when_down=when_down, priority=priority)
    settings = replace(settings, versions=(version,), routes=(route,))
    assert again(settings) == settings


def test_no_secret_is_in_it() -> None:
    text = (CONFIG / "full.yaml").read_text().replace("token_file: \"${TURNOUT_TOKEN_FILE}\"", "token_env: OTHER")
    settings = read(text, {"TURNOUT_TOKEN": SECRETS[0], "OTHER": "fedcba9876543210"})
    written = json.dumps(running_document(settings))
    assert running_document(settings)["admin"]["tokens"][0] == {"name": "ci", "role": "operator"}
    assert not any(secret in written for secret in (*SECRETS, "fedcba9876543210"))
    assert not any(token.digest.hex() in written for token in settings.admin.tokens)


def test_every_key_of_the_file_is_in_it_but_for_secrets() -> None:
    full = read(TRICKY.replace("{header: X-V,", "{header: X-V, cookie: c, query: q,"))
    written = json.dumps(running_document(full))
    left_out = {"secret", "token_env", "token_file", "token_sha256", "role"}      # role: there are no tokens here
    names = {key.path.rpartition(".")[2].removesuffix("[]") for key in keys()} - left_out
    assert {name for name in names if f'"{name}"' not in written} == set()


def test_routes_that_were_steered_are_written_as_they_are_now() -> None:
    settings = read(TRICKY)
    steered = replace(settings.routes[2], split=(("no", 1 / 3), ("012", 2 / 3)), shadow=Shadow("012", 33.33))
    document = running_document(replace(settings, routes=(steered,)))
    assert document["routes"][0]["split"] == {"no": 0.333333333, "012": 0.666666667}
    assert document["routes"][0]["shadow"]["percent"] == 33.33


GOOD = "versions: {a: {servers: ['http://a']}}\nroutes: [{name: r, split: {a: 1}}]\n"


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("", ()),
        ("listen: 127.0.0.1:8081", ("listen",)),
        ("listen: [127.0.0.1:8080, '[::1]:8080']", ("listen",)),
        ("workers: 7", ("workers",)),
        ("admin: {listen: '127.0.0.1:9901'}", ("admin.listen",)),
        ("state_dir: /elsewhere", ("state_dir",)),
        ("journal: {events: 200}", ("journal.events",)),
        ("timeouts: {drain: 1s}\nlimits: {head: 1KiB}\naccess_log: stdout\nwatch: 5s", ()),
        ("metrics: {buckets: [1s]}\ntrusted_proxies: [10.0.0.0/8]\nsecret: 0123456789abcdef", ()),
        ("admin: {tokens: [{name: a, role: viewer, token_env: A}]}", ()),
        ("limits: {memory: 1GiB, client_connections: 5, client_rate: 5/s, client_burst: 9}", ()),
        ("state_dir: memory\nworkers: 7\nlisten: 0.0.0.0:80", ("listen", "workers", "state_dir")),
    ],
)  # fmt: skip
def test_what_a_reload_cannot_change_is_named(line: str, names: tuple[str, ...]) -> None:
    environ = {"A": "0123456789abcdef"}
    old = read(GOOD + "workers: 2\n", environ)
    new = read(GOOD + ("" if "workers" in line else "workers: 2\n") + line, environ)
    assert differences_needing_upgrade(old, new) == names
    assert differences_needing_upgrade(new, old) == names


@pytest.mark.parametrize("keys", [
    "probe: /h", "eject: off", "breaker: off", "panic: 1%", "slow_start: 1s", "in_flight: 9", "queue: 9",
    "adaptive: on",
])
def test_how_a_version_is_judged_and_what_it_is_given_may_change_while_it_runs(keys: str) -> None:
    old, new = read(GOOD), read(GOOD.replace("['http://a']", f"['http://a'], {keys}"))
    assert old.versions != new.versions
    assert differences_needing_upgrade(old, new) == ()


@pytest.mark.parametrize("keys", ["retry: off", "rescue: true", "when_down: fail", "spill: 9", "priority: high"])
def test_what_becomes_of_failed_requests_may_change_while_it_runs(keys: str) -> None:
    old, new = read(GOOD), read(GOOD.replace("split: {a: 1}", f"split: {{a: 1}}, {keys}"))
    assert old.routes != new.routes
    assert differences_needing_upgrade(old, new) == ()


def test_the_order_of_addresses_is_no_difference() -> None:
    one = read(GOOD + "listen: [127.0.0.1:8080, 127.0.0.1:8081]")
    other = read(GOOD + "listen: [127.0.0.1:8081, 127.0.0.1:8080]")
    assert differences_needing_upgrade(one, other) == ()
