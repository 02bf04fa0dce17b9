"""Without tokens the admin API is for this machine alone: every way to say otherwise is refused."""

from __future__ import annotations

import socket

import pytest

from proxy.errors import ConfigError
from proxy.settings import load_bytes
from proxy.settings.addresses import exposed, parse_listen, resolved

BASE = "versions: {old: {servers: ['http://h:1']}}\nroutes: [{name: r, split: {old: 1}}]\n"
TOKENS = ", tokens: [{name: a, role: operator, token_env: A}]"
ELSEWHERE = [
    "0.0.0.0:9900", "[::]:9900", "10.0.0.1:9900", "[fd00::1]:9900", "[0:0:0:0:0:0:0:0]:9900", "128.0.0.1:9900",
    "169.254.0.1:9900", "localhost.localdomain:9900", "ip6-localhost:9900", "localhost.example.com:9900",
    "127.0.0.1.nip.io:9900", "admin:9900",
]  # fmt: skip
HERE = ["127.0.0.1:9900", "127.255.255.254:9900", "[::1]:9900", "localhost:9900", "LOCALHOST:9900", "unix:/run/t.sock"]


def load(listen: str, tokens: str = "") -> None:
    load_bytes(f"{BASE}admin: {{listen: '{listen}'{tokens}}}".encode(), "f", {"A": "0123456789abcdef"})


@pytest.mark.parametrize("listen", ELSEWHERE)
def test_what_others_may_reach_needs_tokens(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"add `tokens`, or listen on 127\.0\.0\.1"):
        load(listen)
    load(listen, TOKENS)
    with pytest.raises(ConfigError, match="add `tokens`"):
        load(listen, ", tokens: []")
    with pytest.raises(ConfigError, match="add `tokens`"):
        load(listen, ", tokens: null")


@pytest.mark.parametrize("listen", HERE)
def test_what_only_this_machine_reaches_needs_none(listen: str) -> None:
    load(listen)


@pytest.mark.parametrize("listen", ["[::ffff:127.0.0.1]:9900", "[::ffff:0.0.0.0]:9900", "[::FFFF:7f00:1]:9900"])
def test_an_ipv4_address_in_the_form_of_ipv6_is_refused_altogether(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"in the form of IPv6: write `(127\.0\.0\.1|0\.0\.0\.0):9900`"):
        load(listen, TOKENS)


@pytest.mark.parametrize("addresses", [["192.0.2.1"], ["127.0.0.1", "192.0.2.1"], ["::1", "2001:db8::1"]])
def test_a_localhost_that_means_another_address_is_not_believed(addresses: list[str]) -> None:
    why = exposed(parse_listen("localhost:9900"), lambda _name: addresses)
    assert why == f"`localhost` means {addresses[-1]} on this machine, which others may reach"


def test_a_localhost_that_means_this_machine_or_nothing_is_fine() -> None:
    assert exposed(parse_listen("localhost:9900"), lambda _name: ["127.0.0.1", "::1"]) is None
    assert exposed(parse_listen("localhost:9900"), lambda _name: []) is None


def test_a_name_is_not_looked_up_to_be_believed() -> None:
    why = exposed(parse_listen("admin:9900"), lambda _name: ["127.0.0.1"])
    assert why == "`admin` is a name: other machines may reach what it means, now or later"


def test_a_name_is_resolved_to_plain_addresses() -> None:
    assert set(resolved("localhost")) <= {"127.0.0.1", "::1"}
    assert resolved("no-such-host.invalid") == []
    assert resolved(socket.inet_ntoa(b"\x7f\0\0\x01")) == ["127.0.0.1"]
