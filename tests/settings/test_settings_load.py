from __future__ import annotations

import dataclasses
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.compare.rules import rules_from
from proxy.core.compare.values import Rules
from proxy.core.listen import Listen
from proxy.core.route import Copying, HeaderMatch, Match, Override, Server, Shadow, Sticky, Version
from proxy.core.snapshot import Limits, Policy, Snapshot, Timeouts
from proxy.errors import ConfigError
from proxy.settings import Settings, from_urls, load_bytes, load_file
from proxy.settings.cpus import usable_cpus
from proxy.settings.limits_model import LimitsSection, TimeoutsSection
from proxy.settings.shadow_model import CompareSection

VERSIONS = "versions: {old: {servers: ['http://h:1']}, new: {servers: ['http://h:2']}}\n"


def read(rest: str) -> Settings:
    return load_bytes((VERSIONS + rest).encode(), "f", {"TOKEN": "0123456789abcdef"})


def read_route(rest: str) -> Settings:
    return read(f"routes: [{{name: r, split: {{old: 1, new: 1}}, {rest}}}]")


def test_everything_that_is_left_out_has_its_default() -> None:
    settings = read("routes: [{name: r, split: {old: 95, new: 5}}]")
    assert settings.policy == Policy()
    assert settings.listen == (Listen("127.0.0.1", 8080),)
    assert settings.admin.listen == Listen("127.0.0.1", 9900)
    assert settings.workers == usable_cpus()
    assert settings.versions[1] == Version("new", (Server("h", 2),))
    route = settings.routes[0]
    assert (route.match, route.split, route.baseline, route.salt) == (
        Match(),
        (("old", 95.0), ("new", 5.0)),
        "old",
        "r",
    )
    assert (route.sticky, route.override, route.shadow) == (None, None, None)


def test_a_key_without_a_value_is_as_good_as_left_out() -> None:
    rest = "routes: [{name: r, split: {old: 1, new: 1}, sticky: , match: }]\n"
    assert read(rest + "limits:\nlisten:\nadmin: ~\nsecret: null\n") == read(rest)


def test_every_limit_and_timeout_of_the_core_can_be_configured() -> None:
    assert set(LimitsSection.model_fields) == {field.name for field in dataclasses.fields(Limits)}
    assert set(TimeoutsSection.model_fields) == {field.name for field in dataclasses.fields(Timeouts)}


def test_limits_and_timeouts_reach_the_policy() -> None:
    policy = read(
        "routes: [{name: r, split: {old: 1, new: 0}}]\n"
        "limits: {head: 1MiB, headers: 5, body: 0B, body_rate: none}\ntimeouts: {drain: 0s, connect: 250ms}"
    ).policy
    assert policy.limits == Limits(head=1 << 20, headers=5, body=0, body_rate=0)
    assert policy.timeouts == Timeouts(drain=0.0, connect=0.25)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{host: Shop.Example.com, path: /a/}", Match("shop.example.com", "/a")),
        ("{methods: [GET, PURGE]}", Match(methods=("GET", "PURGE"))),
        ("{headers: {X-Beta: 1}}", Match(headers=(HeaderMatch("x-beta", "1"),))),
        (
            "{headers: {X-Beta: 012, X-No: no}}",
            Match(headers=(HeaderMatch("x-beta", "012"), HeaderMatch("x-no", "no"))),
        ),
        ("{headers: {X-Beta: {present: true}}}", Match(headers=(HeaderMatch("x-beta"),))),
    ],
)
def test_a_match_is_read(text: str, match: Match) -> None:
    assert read_route(f"match: {text}").routes[0].match == match


@pytest.mark.parametrize(
    ("text", "sticky"),
    [
        ("{by: cookie}", Sticky("cookie", "turnout", "ramp", 2_592_000)),
        ("{by: cookie, name: s, mode: session, max_age: none}", Sticky("cookie", "s", "session", None)),
        ("{by: cookie, max_age: 1500ms}", Sticky("cookie", "turnout", "ramp", 2)),
        ("{app_cookie: JSESSIONID}", Sticky("app_cookie", "JSESSIONID")),
        ("{by: app_cookie, app_cookie: JSESSIONID}", Sticky("app_cookie", "JSESSIONID")),
        ("{by: header, name: X-Api-Key}", Sticky("header", "x-api-key")),
        ("{by: address}", Sticky("address", "")),
    ],
)
def test_stickiness_is_read(text: str, sticky: Sticky) -> None:
    assert read_route(f"sticky: {text}").routes[0].sticky == sticky


def test_overrides_and_shadows_are_read() -> None:
    route = read_route(
        "override: {header: X-V, query: null, from: [10.0.0.1, 'fd00::/8']}, "
        "shadow: {to: new, percent: 12.5%}"
    ).routes[0]
    assert route.override == Override("x-v", None, None, ("10.0.0.1/32", "fd00::/8"))
    assert route.shadow == Shadow("new", 12.5, ("GET", "HEAD"))
    assert route.copying == Copying()


def test_how_copies_are_made_is_read() -> None:
    copying = read_route(
        "shadow: {to: new, percent: 0.01%, by: key, match: {path: /a/, header: {X-M: 1}}, host: New.example.com:81, "
        "drop_headers: [Cookie, X-B], set_headers: {Authorization: Bearer x}, max_body: 1MiB, timeout: 250ms, "
        "in_flight: 9, memory: 1GiB, control: true, alert_below: 99.5%}"
    ).routes[0].copying
    assert copying == Copying(
        "key", "/a", HeaderMatch("x-m", "1"), "New.example.com:81", ("cookie", "x-b"),
        (("authorization", "Bearer x"),), 1 << 20, 0.25, 9, 1 << 30, True, "{}", 0.995,
    )


def test_how_answers_are_compared_is_one_text_whatever_the_order_and_the_defaults() -> None:
    def compare(text: str) -> str | None:
        return read_route(f"shadow: {{to: new, percent: 1, {text}}}").routes[0].copying.compare

    assert compare("compare: off") is None
    assert compare("compare: {}") == compare("compare: ~") == compare("compare: {samples: 5, ignore: []}") == "{}"
    one = compare("compare: {ignore: [status, 'header:X-A'], tolerance: 0.1%, max_body: 1MiB}")
    assert one == compare("compare: {max_body: 1024KiB, tolerance: 0.001, ignore: [status, header:x-a]}")
    assert one is not None
    assert rules_from(one) == Rules(
        ignore=("status", "header:x-a"), tolerance=0.001, max_body=1 << 20)


def test_every_rule_of_a_comparison_can_be_configured() -> None:
    assert set(CompareSection.model_fields) == {field.name for field in dataclasses.fields(Rules)} - {"control"}


def test_names_that_old_yaml_takes_for_booleans_and_numbers_are_names() -> None:
    settings = load_bytes(
        b"versions: {no: {servers: ['http://h:1']}, 012: {servers: ['http://h:2']}, null: {servers: ['http://h:3']}}\n"
        b"routes: [{name: on, split: {no: 1, 012: 1, null: 1}, baseline: 012}]",
        "f",
        {},
    )
    assert [version.name for version in settings.versions] == ["no", "012", "null"]
    assert settings.routes[0].baseline == "012"


def test_percentages_of_a_split_may_be_written_as_such() -> None:
    route = read("routes: [{name: r, split: {old: 87.5%, new: 12.5%}}]").routes[0]
    assert route.split == (("old", 87.5), ("new", 12.5))


def test_a_snapshot_carries_what_workers_need() -> None:
    settings = read("routes: [{name: r, split: {old: 1, new: 1}}]\nsecret: 0123456789abcdef")
    assert settings.secret == b"0123456789abcdef"
    assert settings.snapshot(7, b"key") == Snapshot(7, settings.versions, settings.routes, settings.policy, b"key")
    hash(settings.snapshot(7, b"key"))  # frozen all the way down


def test_secrets_stay_out_of_what_is_printed() -> None:
    settings = read(
        "routes: [{name: r, split: {old: 1, new: 1}}]\nsecret: sssssssssssssssss\n"
        "admin: {tokens: [{name: a, role: viewer, token_env: TOKEN}]}"
    )
    assert settings.admin.tokens[0].digest == sha256(b"0123456789abcdef").digest()
    assert "0123456789abcdef" not in repr(settings)
    assert "sssss" not in repr(settings)


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "turnout.yaml"
    file.write_text(VERSIONS + "routes: [{name: r, split: {old: 1, new: 1}}]\naccess_log: ./log/access.log\n")
    settings = load_file(file)
    assert settings.file == str(file)
    assert settings.state_dir == str(tmp_path / ".turnout")
    assert settings.policy.access_log == str(tmp_path / "log/access.log")


def test_memory_keeps_no_state() -> None:
    assert read("routes: [{name: r, split: {old: 1, new: 1}}]\nstate_dir: memory").state_dir is None


@given(st.floats(0, 100))
def test_without_a_file_the_weight_is_the_share_of_new_in_percent(weight: float) -> None:
    weight = round(weight, 3)
    ((_, old), (_, new)) = from_urls("http://h:1", "http://h:2", f"{weight:.3f}").routes[0].split
    assert new == weight
    assert old + new == pytest.approx(100)


def test_without_a_file_there_is_one_sticky_route_and_nothing_on_disk() -> None:
    settings = from_urls("http://h:1", ["http://h:2", "http://h:3"], 5, listen=["127.0.0.1:0", "[::1]:0"], workers=1)
    (route,) = settings.routes
    assert (route.name, route.match, route.baseline, route.sticky) == ("default", Match(), "old", Sticky("cookie"))
    assert settings.versions[1].servers == (Server("h", 2), Server("h", 3))
    assert (settings.state_dir, settings.workers, settings.file) == (None, 1, None)
    assert settings.listen == (Listen("127.0.0.1", 0), Listen("::1", 0))
    assert from_urls("http://h:1", "http://h:2", 5, sticky=None).routes[0].sticky is None


def test_without_a_file_problems_name_the_flags() -> None:
    with pytest.raises(ConfigError) as caught:
        from_urls("h:1", ["x", "https://y"], 5, listen="80", admin="0.0.0.0:9900", workers=0, sticky="a b")
    assert str(caught.value).splitlines() == [
        "--listen: `80` is a port alone: write `127.0.0.1:80`, or `0.0.0.0:80` for everybody",
        "--workers: `0` is less than 1",
        "--old: `h:1` has no scheme: write `http://h:1` or `unix:/path`",
        "--new: `x` has no scheme: write `http://x` or `unix:/path`",
        "--new: https to servers is not there yet: use `http://`, in a network that you trust",
        "--sticky: `a b` is not a cookie name: letters, digits and !#$%&'*+-.^_`|~",
        "--admin: `0.0.0.0:9900` is reachable from other machines: add `tokens`, or listen on 127.0.0.1",
    ]
    with pytest.raises(ConfigError, match=r"^--weight: `101` is more than 100%$"):
        from_urls("http://h:1", "http://h:2", 101)


@pytest.mark.parametrize(
    ("text", "quota"), [("max 100000", None), ("50000 100000", 1), ("150000 100000", 2), ("nonsense", None)]
)
def test_a_container_with_a_quota_gets_no_more_workers_than_it_pays_for(
    tmp_path: Path, text: str, quota: int | None
) -> None:
    (tmp_path / "cpu.max").write_text(text)
    every = usable_cpus(tmp_path / "none")
    assert usable_cpus(tmp_path / "cpu.max") == min(every, quota or every)
