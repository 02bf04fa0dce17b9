"""Mistakes in `shadow`, each at its place, and what `check` warns of."""

from __future__ import annotations

import json

import pytest

from proxy.errors import ConfigError
from proxy.settings import load_bytes

VERSIONS = "workers: 2\nversions: {old: {servers: ['http://h:1']}, new: {servers: ['http://h:2']}}\n"
ROUTE = "routes: [{name: r, split: {old: 1, new: 1}, shadow: {to: new, percent: 1, "


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_bytes(text.encode(), "f", {})
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(("shadow", "message"), [
    ("compare: «x", "compare: must be a mapping (`key: value`), or `off`"),
    ("compare: «[]", "compare: must be a mapping (`key: value`), not a list"),
    ("compare: {«ignroe: []}", "compare.ignroe: is not known (did you mean `ignore`?)"),
    ("compare: {«control: true}", "compare.control: is not known here: it belongs to `routes[].shadow`"),
    ("compare: {ignore: «x}", "compare.ignore: must be a list (`[one, two]`, or lines with `- `), not `x`"),
    ("compare: {tolerance: «-1}",
     "compare.tolerance: must be a number of at least 0, or a percentage such as `0.5%`"),
    ("compare: {max_body: «17MiB}", "compare.max_body: must be a size from 1B to 16MiB, such as `256KiB`"),
    ("compare: {headers: [a, «'b c']}", "compare.headers[1]: `b c` is not the name of a header, nor `*` for all"),
    ("compare: {headers: «'b c'}", "compare.headers[0]: `b c` is not the name of a header, nor `*` for all"),
    ("compare: {unordered: [«$x]}",
     "compare.unordered[0]: a lone `$`: write `${NAME}` for an environment variable, or `$$` for the sign itself"),
    ("compare: {ignore: [«/id]}",
     "compare.ignore[0]: `/id` is neither a JSON path (`$.items[*].id`), nor `header:NAME`, `status` or `body`"),
    ("compare: {ignore: [$.a, «$.a]}", "compare.ignore[1]: is given twice"),
    ("compare: {endpoints: [«items]}",
     "compare.endpoints[0]: must be a path such as `/items/{}`: `/` first, no blanks, no query"),
    ("by: «client", "by: `client` is not one of `request`, `key`"),
    ("match: {«pth: /x}", "match.pth: is not known (did you mean `path`?)"),
    ("match: {header: «{A: 1, B: 2}}", "match.header: has too many entries"),
    ("host: «a b", "host: `a b` is not a host, such as `new.example.com` or `[::1]:8080`"),
    ("drop_headers: [«Host]", "drop_headers[0]: `Host` is what `shadow.host` is for"),
    ("drop_headers: [«X-Turnout-Shadow]",
     "drop_headers[0]: `X-Turnout-Shadow` is on every copy: by it a copy is told from a request"),
    ("drop_headers: [Cookie, «cookie]", "drop_headers[1]: is given twice: also as `Cookie`"),
    ("set_headers: {X-A: 1, «x-a: 2}", "set_headers.x-a: is given twice: also as `X-A`"),
    ("set_headers: {X-A: «''}",
     "set_headers.X-A: `` is not a header value: visible ASCII, no blanks at its ends, not empty"),
    ("set_headers: {«Content-Length: 1}",
     "set_headers.Content-Length: `Content-Length` frames the message: it says nothing about who sent it"),
    ("max_body: «65MiB", "max_body: `65MiB` is more than 64MiB"),
    ("timeout: «0s", "timeout: `0s` is less than 1ms"),
    ("in_flight: «0", "in_flight: `0` is less than 1"),
    ("memory: «1KiB", "memory: `1KiB` is less than 64KiB"),
    ("control: «yes", "control: `yes` is not `true` or `false`"),
    ("alert_below: «0.99", "alert_below: `0.99` is not a percentage, such as `99%` or `99.9%`, and not `none`"),
    ("methods: [«get]", "methods[0]: methods are case-sensitive: write `GET`"),
])
def test_a_mistake_is_named_at_its_place(shadow: str, message: str) -> None:
    """`«` marks the place that must be named."""
    text = f"{ROUTE}{shadow}}}}}]"
    assert problems(VERSIONS + text.replace("«", "")) == [f"f:3:{text.index('«') + 1}: routes[0].shadow.{message}"]


def test_a_share_has_steps_of_a_hundredth() -> None:
    assert problems(VERSIONS + ROUTE.replace("percent: 1", "percent: 0.005%") + "}}]") == [
        "f:3:72: routes[0].shadow.percent: `0.005%`: must be a number from 0 to 100, in steps of 0.01"]


def test_several_mistakes_in_one_shadow_are_told_at_once() -> None:
    text = ROUTE + "by: x, memory: 1, compare: {ignore: [x, $.a, $.a], nonsense: 1}}}]"
    assert [problem.split(": ")[1] for problem in problems(VERSIONS + text)] == [
        f"routes[0].shadow.{key}" for key in ("by", "memory", "compare.ignore[0]", "compare.ignore[2]",
                                              "compare.nonsense")]


@pytest.mark.parametrize(("shadow", "messages"), [
    ("methods: [GET, POST, DELETE]", ["methods: a copy of POST or DELETE does its work a second time"]),
    ("by: key", ["by: without `sticky` no client has a key: nothing is copied"]),
    ("memory: 1MiB, max_body: 512KiB",
     ["memory: `1MiB` are 512KiB for each of 2 workers; a copy and the answers may need 1MiB"]),
    ("memory: 1500KiB, control: true",
     ["memory: `1500KiB` are 750KiB for each of 2 workers; a copy and the answers may need 832KiB"]),
    ("control: true, compare: off", ["control: means nothing with `compare: off`"]),
    ("alert_below: 99%, compare: off", ["alert_below: means nothing with `compare: off`"]),
    ("drop_headers: [X-A], set_headers: {x-a: 1}",
     ["drop_headers: `x-a` is also in `set_headers`, which replaces it anyway"]),
    ("methods: [GET, HEAD, OPTIONS]", []),
    ("memory: 1MiB, max_body: 512KiB, compare: off", []),
])
def test_what_is_probably_not_meant_is_a_warning(shadow: str, messages: list[str]) -> None:
    warnings = load_bytes(f"{VERSIONS}{ROUTE}{shadow}}}}}]".encode(), "f", {}).warnings
    assert [f"{warning.path}: {warning.message}" for warning in warnings] == [
        f"routes[0].shadow.{message}" for message in messages]


@pytest.mark.parametrize(("split", "warned"), [
    ("{old: 1, new: 1}", False), ("{old: 0, new: 1}", True), ("{new: 1, old: 0}", True), ("{old: 1, new: 0}", False),
])
def test_a_version_that_answers_everything_itself_gets_no_copies(split: str, warned: bool) -> None:
    text = f"{VERSIONS}routes: [{{name: r, split: {split}, shadow: {{to: new, percent: 1}}}}]"
    warnings = [str(warning) for warning in load_bytes(text.encode(), "f", {}).warnings]
    assert warnings == (["f:3:58: routes[0].shadow.to: `new` answers every request itself: nothing is copied while no "
                         "other version has a weight"] if warned else [])


def test_whole_clients_are_copied_by_the_key_of_sticky() -> None:
    text = f"{VERSIONS}{ROUTE}by: key}}, sticky: {{by: address}}}}]"
    settings = load_bytes(text.encode(), "f", {})
    assert settings.warnings == ()
    assert settings.routes[0].copying.by == "key"


@pytest.mark.parametrize(("written", "key", "expected"), [
    ("headers: '*'", "headers", ["*"]), ("headers: X-A", "headers", ["x-a"]), ("headers: ['*']", "headers", ["*"]),
    ("unordered: [$]", "unordered", ["$"]), ("unordered: [$$]", "unordered", ["$"]), ("ignore: [$]", "ignore", ["$"]),
])
def test_every_header_and_the_whole_document_are_written_by_their_sign_alone(
    written: str, key: str, expected: list[str],
) -> None:
    settings = load_bytes(f"{VERSIONS}{ROUTE}compare: {{{written}}}}}}}]".encode(), "f", {})
    assert json.loads(settings.routes[0].copying.compare or "{}")[key] == expected
