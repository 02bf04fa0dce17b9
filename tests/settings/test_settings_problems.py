"""Every mistake in a file, with the exact line that an operator reads."""

from __future__ import annotations

import pytest

from proxy.errors import ConfigError
from proxy.settings import load_bytes

VERSIONS = "versions: {old: {servers: ['http://h:1']}, new: {servers: ['http://h:2']}}\n"
ROUTES = "routes: [{name: r, split: {old: 1, new: 1}}]\n"
ENVIRON = {"TOKEN": "0123456789abcdef", "SHORT": "abc", "EMPTY": ""}


def problems(text: str) -> list[str]:
    try:
        load_bytes(text.encode(), "f", ENVIRON)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def warnings(text: str) -> list[str]:
    return [str(problem) for problem in load_bytes(text.encode(), "f", ENVIRON).warnings]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("listn: x", "f:3:1: listn: is not known (did you mean `listen`?)"),
        ("keepalive: 1s", "f:3:1: keepalive: is not known here: it belongs to `timeouts`"),
        (
            "zzz: 1",
            "f:3:1: zzz: is not known (known are: access_log, admin, journal, limits, "
            "listen, metrics, routes, secret, state_dir, timeouts, trusted_proxies, versions, watch, workers)",
        ),
        ("limits: {heads: 1KiB}", "f:3:10: limits.heads: is not known (did you mean `head`?)"),
        ("limits: [1]", "f:3:9: limits: must be a mapping (`key: value`), not a list"),
        ("limits: {head: 32}", "f:3:16: limits.head: `32` has no unit: write `32B`, `32KiB` or `32MiB`"),
        ("limits: {head: 1B}", "f:3:16: limits.head: `1B` is less than 256B"),
        ("limits: {head: 1GiB}", "f:3:16: limits.head: `1GiB` is more than 16MiB"),
        ("limits: {head: none}", "f:3:16: limits.head: `none` is not a size, such as `512B`, `32KiB` or `2MiB`"),
        ("limits: {headers: 012}", "f:3:19: limits.headers: `012` has a leading zero: write `12`"),
        ("limits: {headers: 0}", "f:3:19: limits.headers: `0` is less than 1"),
        ("limits: {headers: yes}", "f:3:19: limits.headers: `yes` is not a whole number of at least 0"),
        ("limits: {body_rate: 500B}", "f:3:21: limits.body_rate: `500B` is not a rate, such as `500B/s` or `2KiB/s`"),
        (
            "timeouts: {connect: 1:30}",
            "f:3:21: timeouts.connect: `1:30` is not a duration, such as `250ms`, `10s`, `1h30m` or `30d`",
        ),
        ("timeouts: {connect: 0s}", "f:3:21: timeouts.connect: `0s` is less than 1ms"),
        ("timeouts: {connect: 10}", "f:3:21: timeouts.connect: `10` has no unit: write `10s` or `10ms`"),
        ("workers: 012", "f:3:10: workers: `012` has a leading zero: write `12`"),
        ("workers: 0", "f:3:10: workers: `0` is less than 1"),
        (
            "access_log: stdot",
            "f:3:13: access_log: `stdot` is not `off`, `stdout` or the path of a file (with a `/` "
            "in it) (did you mean `stdout`?)",
        ),
        ("secret: abc", "f:3:9: secret: has 3 bytes: take at least 16, from `openssl rand -hex 32`, and at most 1024"),
        (
            "secret: ${NOPE}",
            "f:3:9: secret: the environment variable NOPE is not set (`${NOPE:-default}` gives a default)",
        ),
        (
            "trusted_proxies: [10.0.0.1/8]",
            "f:3:19: trusted_proxies[0]: `10.0.0.1/8` has bits set behind its prefix (did you mean `10.0.0.0/8`?)",
        ),
        (
            "trusted_proxies: 10.0.0.0/8",
            "f:3:18: trusted_proxies: must be a list (`[one, two]`, or lines with `- `), not `10.0.0.0/8`",
        ),
        ("listen: []", "f:3:9: listen: must not be empty"),
        ("listen: {a: b}", "f:3:9: listen[0]: must be a single value, not a mapping"),
        (
            "listen: [127.0.0.1:80, 0.0.0.0:80]",
            "f:3:24: listen[1]: `0.0.0.0:80` is already taken by `127.0.0.1:80` (line 3)",
        ),
        (
            "listen: 127.0.0.1:9900",
            "f:1:1: admin.listen: `127.0.0.1:9900` is already taken by `127.0.0.1:9900` (line 3)",
        ),
        (
            "listen: h:1",
            "f:1:28: versions.old.servers[0]: `http://h:1` is where Turnout itself listens (line 3): "
            "requests would go round in a circle",
        ),
        (
            "admin: {listen: '0.0.0.0:9900'}",
            "f:3:17: admin.listen: `0.0.0.0:9900` is reachable from other machines: add `tokens`, "
            "or listen on 127.0.0.1",
        ),
        (
            "admin: {tokens: [{name: a, role: admin, token_env: TOKEN}]}",
            "f:3:34: admin.tokens[0].role: `admin` is not one of `viewer`, `operator`",
        ),
        (
            "admin: {tokens: [{name: a, role: viewer, token_env: NOPE}]}",
            "f:3:53: admin.tokens[0].token_env: the environment variable NOPE is not set, or empty",
        ),
        (
            "admin: {tokens: [{name: a, role: viewer, token_env: SHORT}]}",
            "f:3:53: admin.tokens[0].token_env: the environment variable SHORT must hold "
            "16 to 1024 visible ASCII characters: take `openssl rand -hex 32`",
        ),
        (
            "admin: {tokens: [{name: a, role: viewer}]}",
            "f:3:18: admin.tokens[0]: where is the token? Give one of `token_env`, `token_file` and `token_sha256`",
        ),
        ("metrics: {buckets: []}", "f:3:20: metrics.buckets: must not be empty"),
        ("metrics: {buckets: [1ms, 10us]}", "f:3:26: metrics.buckets[1]: `10us` is less than 50us"),
        ("metrics: {buckets: [1ms, 5m]}", "f:3:26: metrics.buckets[1]: `5m` is more than 2m"),
        ("metrics: {buckets: [1s, 1000ms]}", "f:3:25: metrics.buckets[1]: `1000ms` is given twice"),
        (
            "metrics: {buckets: [1ms, 5ms, 2ms]}",
            "f:3:31: metrics.buckets[2]: `2ms` comes after `5ms`: write them in ascending order",
        ),
        ("journal: {events: 10}", "f:3:19: journal.events: `10` is less than 100"),
        ("watch: 10ms", "f:3:8: watch: `10ms` is less than 100ms"),
        ("watch: off", "f:3:8: watch: `off` is not a duration, such as `250ms`, `10s`, `1h30m` or `30d`"),
    ],
)
def test_a_mistake_at_the_top_level(line: str, message: str) -> None:
    assert problems(VERSIONS + ROUTES + line) == [message]


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ("split: {old: «012, new: 1}", "routes[0].split.old: `012` has a leading zero: write `12`"),
        ("split: {old: «-1, new: 1}", "routes[0].split.old: `-1` is negative: a weight is at least 0"),
        ("split: {old: «.inf}", "routes[0].split.old: `.inf` is not a number of at least 0, such as `5` or `12.5`"),
        ("split: {old: «}", "routes[0].split.old: must be a single value, not nothing"),
        (
            "split: {old: «2000000}",
            "routes[0].split.old: `2000000` is more than 1000000: only the ratio of weights counts",
        ),
        ("split: «{old: 0, new: 0}", "routes[0].split: at least one weight must be more than 0"),
        ("split: «{}", "routes[0].split: must not be empty: name at least one version"),
        (
            "split: «{old: 50%, new: 5}",
            "routes[0].split: mixes percentages and plain weights: write all of them with `%`, or none",
        ),
        ("split: «{old: 90%, new: 5%}", "routes[0].split: the percentages add up to 95%, not to 100%"),
        ("split: {old: 1, «nwe: 1}", "routes[0].split.nwe: no version is called `nwe` (did you mean `new`?)"),
        ("split: «[old, new]", "routes[0].split: must be a mapping (`key: value`), not a list"),
        ("split: {old: 1}, baseline: «new", "routes[0].baseline: `new` is not in this route's split"),
        ("split: {old: 1}, «name2: x", "routes[0].name2: is not known (did you mean `name`?)"),
        (
            "split: {old: 1}, match: {host: «'a:80'}",
            "routes[0].match.host: `a:80`: leave out the port: a host is matched whatever its port",
        ),
        ("split: {old: 1}, match: {path: «shop}", "routes[0].match.path: `shop` must begin with `/`"),
        (
            "split: {old: 1}, match: {methods: [«get]}",
            "routes[0].match.methods[0]: methods are case-sensitive: write `GET`",
        ),
        ("split: {old: 1}, match: {methods: «[]}", "routes[0].match.methods: must not be empty"),
        ("split: {old: 1}, match: {methods: [GET, «GET]}", "routes[0].match.methods[1]: `GET` is given twice"),
        (
            "split: {old: 1}, match: {methods: [«TRACE]}",
            "routes[0].match.methods[0]: TRACE is refused by Turnout: no route can have it",
        ),
        (
            "split: {old: 1}, match: {headers: {«TE: x}}",
            "routes[0].match.headers.TE: `TE` belongs to one connection "
            "(RFC 9110 §7.6.1): it says nothing about a request",
        ),
        (
            "split: {old: 1}, match: {headers: {X: «{present: false}}}",
            "routes[0].match.headers.X: must be the header's value, or `{present: true}` for any value",
        ),
        ("split: {old: 1}, match: {headers: {X: a, «x: b}}", "routes[0].match.headers.x: is given twice: also as `X`"),
        (
            "split: {old: 1}, sticky: «{}",
            "routes[0].sticky.by: is missing: `cookie`, `header` or `address` (or `app_cookie: NAME`)",
        ),
        (
            "split: {old: 1}, sticky: {by: «heder}",
            "routes[0].sticky.by: `heder` is not one of `cookie`, `header`, `address`, "
            "`app_cookie` (did you mean `header`?)",
        ),
        ("split: {old: 1}, sticky: «{by: header}", "routes[0].sticky.name: is missing: which header?"),
        (
            "split: {old: 1}, sticky: {by: header, name: «Cookie}",
            "routes[0].sticky.name: the whole `Cookie` header changes all the time: use `app_cookie: NAME`",
        ),
        (
            "split: {old: 1}, sticky: {by: address, name: «x}",
            "routes[0].sticky.name: an address has no name: leave it out",
        ),
        (
            "split: {old: 1}, sticky: {by: «app_cookie, name: x}",
            "routes[0].sticky.by: write `app_cookie: NAME`, with the name of the application's cookie",
        ),
        (
            "split: {old: 1}, sticky: {app_cookie: x, name: «x}",
            "routes[0].sticky.name: `app_cookie` already is the name of the cookie",
        ),
        (
            "split: {old: 1}, sticky: {by: «cookie, app_cookie: x}",
            "routes[0].sticky.by: `by: cookie` and `app_cookie` are two ways: keep one",
        ),
        (
            "split: {old: 1}, sticky: {by: cookie, name: «a b}",
            "routes[0].sticky.name: `a b` is not a cookie name: letters, digits and !#$%&'*+-.^_`|~",
        ),
        (
            "split: {old: 1}, sticky: {by: cookie, name: «__Host-x}",
            "routes[0].sticky.name: `__Host-x`: browsers take this prefix over https only",
        ),
        (
            "split: {old: 1}, sticky: {by: address, mode: «session}",
            "routes[0].sticky.mode: `session` needs `by: cookie`: a cookie that Turnout signs holds the version",
        ),
        (
            "split: {old: 1}, sticky: {app_cookie: x, max_age: «1d}",
            "routes[0].sticky.max_age: only for `by: cookie`: Turnout issues no other cookie",
        ),
        ("split: {old: 1}, sticky: {by: cookie, max_age: «500d}", "routes[0].sticky.max_age: `500d` is more than 400d"),
        (
            "split: {old: 1}, override: «{from: [10.0.0.0/8]}",
            "routes[0].override: names no `header`, `cookie` or `query`: there is nothing to override with",
        ),
        (
            "split: {old: 1}, override: {cookie: «turnout, from: ['::/0']}, sticky: {by: cookie}",
            "routes[0].override.cookie: `turnout` is already the cookie of `sticky`",
        ),
        (
            "split: {old: 1}, override: {header: «Connection, from: ['::1']}",
            "routes[0].override.header: `Connection` belongs to "
            "one connection (RFC 9110 §7.6.1): it says nothing about a request",
        ),
        (
            "split: {old: 1}, shadow: {to: «nwe, percent: 10}",
            "routes[0].shadow.to: no version is called `nwe` (did you mean `new`?)",
        ),
        ("split: {old: 1}, shadow: «{to: new}", "routes[0].shadow.percent: is missing"),
        ("split: {old: 1}, shadow: {to: new, percent: «101}", "routes[0].shadow.percent: `101` is more than 100%"),
    ],
)
def test_a_mistake_in_a_route(route: str, message: str) -> None:
    """`«` marks the place that must be named."""
    text = f"routes: [{{name: r, {route}}}]"
    assert problems(VERSIONS + text.replace("«", "")) == [f"f:2:{text.index('«') + 1}: {message}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("versions: {}\n" + ROUTES, "f:1:11: versions: must not be empty"),
        ("versions: {old: {}}\nroutes: [{name: r, split: {old: 1}}]", "f:1:17: versions.old.servers: is missing"),
        (
            "versions: {old: {servers: []}}\nroutes: [{name: r, split: {old: 1}}]",
            "f:1:27: versions.old.servers: must not be empty",
        ),
        (
            "versions: {old: {servers: ['http://h:1', 'http://H:1']}}\nroutes: [{name: r, split: {old: 1}}]",
            "f:1:42: versions.old.servers[1]: `http://h:1` is given twice (also in line 1)",
        ),
        (
            "versions: {-x: {servers: ['http://h:1']}, old: {servers: ['http://h:2']}}\nroutes: "
            "[{name: r, split: {old: 1}}]",
            "f:1:12: versions.-x: `-x` is not a name: letters, digits, `.`, `_`, `-`, at most 64, a "
            "letter or digit at both ends",
        ),
        (VERSIONS + "routes: []", "f:2:9: routes: must not be empty"),
        (
            VERSIONS + "routes: [{name: a, split: {old: 1}, match: {path: /a}}, {name: a, split: {new: 1}}]",
            "f:2:64: routes[1].name: `a` is already the name of another route (line 2)",
        ),
        (
            VERSIONS + "routes:\n- {name: a, split: {old: 1}, match: {path: /x, methods: [GET, HEAD]}}\n"
            "- {name: b, split: {new: 1}, match: {methods: [HEAD, GET], path: /x/}}",
            "f:4:37: routes[1].match: is the same as that of `a` (line 3): no request could be told apart",
        ),
        (
            VERSIONS + "routes:\n- {name: a, split: {old: 1}, sticky: {by: cookie, mode: session}}\n"
            "- {name: b, split: {new: 1}, match: {path: /x}, sticky: {by: cookie}}",
            "f:4:57: routes[1].sticky: another route uses the cookie `turnout` too (line 3): with "
            "`mode: session` each needs a `name` "
            "of its own",
        ),
        (
            VERSIONS + ROUTES + "admin:\n  tokens:\n  - {name: a, role: viewer, token_env: TOKEN}\n  - {name: b, "
            "role: operator, token_env: TOKEN}",
            "f:6:42: admin.tokens[1].token_env: is the same token as that of `a` (line 5): "
            "nobody could tell who made a change",
        ),
        (
            "versions: {old: {servers: ['http://h:1']}}\nversions: {}\nroutes: [{name: r, split: {old: 1}}]",
            "f:2:1: `versions` is given twice: first in line 1",
        ),
        (VERSIONS, "f:1:1: routes: is missing"),
        (VERSIONS + "routes: [{name: r}]", "f:2:10: routes[0].split: is missing"),
    ],
)
def test_a_mistake_between_parts(text: str, message: str) -> None:
    assert problems(text) == [message]


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    text = """\
listn: 127.0.0.1:8080
workers: 012
limits: {body: "${NOPE}"}
versions:
  old: {servers: [https://127.0.0.1:9001]}
  nwe: {servers: [http://127.0.0.1:9002/x]}
routes:
  - name: shop
    split: {old: 0, new: 0}
    baseline: odl
  - split: {old: 50%, nwe: 6}
    match: {path: /, methods: [get]}
  - name: shop
    split: {old: 1}
  - nonsense
"""
    assert [problem.split(": ")[0] for problem in problems(text)] == [
        "f:1:1",
        "f:2:10",
        "f:3:16",
        "f:5:19",
        "f:6:19",
        "f:9:12",
        "f:9:21",
        "f:10:15",
        "f:11:5",
        "f:11:12",
        "f:12:32",
        "f:13:5",
        "f:13:11",
        "f:15:5",
    ]


def test_a_missing_variable_is_not_followed_by_complaints_about_what_is_not_there() -> None:
    assert len(problems(VERSIONS + ROUTES + "workers: ${NOPE}")) == 1


def test_a_secret_is_never_quoted() -> None:
    assert "hunter2" not in "".join(problems(VERSIONS + ROUTES + "secret: hunter2"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "versions: {old: {servers: ['http://h:1']}, new: {servers: ['http://h:2']}, x: {servers: ['http://h:3']}}\n"
            + ROUTES,
            "f:1:76: versions.x: no route uses this version",
        ),
        (
            VERSIONS + "routes: [{name: r, split: {old: 1}}, "
            "{name: s, split: {old: 1, new: 1}, match: {path: /s}}]",
            "f:2:27: routes[0].split: has a single version: rollback has nowhere to go "
            "(list another one, with weight 0)",
        ),
        (
            "versions: {old: {servers: ['http://h:1']}, new: {servers: ['http://h:1']}}\n" + ROUTES,
            "f:1:60: versions.new.servers[0]: `http://h:1` is also a server of `old` (line 1)",
        ),
        (
            VERSIONS + "routes: [{name: r, split: {old: 1, new: 1}, override: {header: X}}]",
            "f:2:55: routes[0].override: without `from`, nobody may override: list the networks that may",
        ),
        (
            VERSIONS
            + "state_dir: memory\nroutes: [{name: r, split: {old: 1, new: 1}, sticky: {by: cookie, mode: session}}]",
            "f:3:72: routes[0].sticky.mode: without `secret`, and with `state_dir: memory`, every "
            "session is forgotten at a restart",
        ),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(text: str, message: str) -> None:
    assert warnings(text) == [message]


def test_of_very_many_problems_some_are_told_and_the_rest_counted() -> None:
    text = VERSIONS + ROUTES
    assert problems(text + "\n".join(f"key{number}: 1" for number in range(5000)))[200:] == ["… and 4800 more"]
    assert problems(text + "\n".join(f"key{number}: ${{NOPE}}" for number in range(5000)))[200:] == ["… and more"]


def test_sixty_four_addresses_to_listen_on_are_enough() -> None:
    text = VERSIONS + ROUTES + "listen: [" + ", ".join(f"127.0.0.1:{port}" for port in range(1, 66)) + "]"
    assert problems(text) == ["f:3:9: listen: has too many entries"]
