from __future__ import annotations

from hashlib import sha256

import pytest

from proxy.admin.access import allows, foreign_page, holder_of, is_loopback_host
from proxy.settings import Token

CI = Token("ci", "operator", sha256(b"t0ken").digest())
EYES = Token("eyes", "viewer", sha256(b"other").digest())


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9900", "127.0.0.1", "127.0.0.1:9900", "127.8.9.1:1", "[::1]", "[::1]:80", "a.localhost"],
)
def test_a_name_of_this_machine_is_loopback(host: str) -> None:
    assert is_loopback_host(host)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:9900", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "0.0.0.0",
     "[::2]", "localhost:", "localhost:x", "127.0.0.1:9900:1", "user@localhost", "localhost\n", "127.1", "2130706433",
     "evil.example#.localhost", "evil.example/.localhost", "user@.localhost", "evil.example .localhost", "..localhost",
     "evil.example,.localhost"],
)
def test_any_other_name_is_not(host: str) -> None:
    assert not is_loopback_host(host)


@pytest.mark.parametrize(("field", "holder"), [
    ("Bearer t0ken", CI), ("bearer  t0ken", CI), ("BEARER other", EYES), (None, None), ("", None), ("t0ken", None),
    ("Bearer", None), ("Bearer t0ke", None), ("Bearer t0kenn", None), ("Basic t0ken", None), ("Bearer t0ken x", None),
])
def test_a_token_is_its_holder_s_and_nothing_else_is(field: str | None, holder: Token | None) -> None:
    assert holder_of(field, [CI, EYES]) == holder


def test_nobody_holds_a_token_where_none_was_given_out() -> None:
    assert holder_of("Bearer t0ken", []) is None


def test_an_operator_may_do_what_a_viewer_may_and_not_the_other_way_round() -> None:
    assert allows("operator", "viewer")
    assert allows("operator", "operator")
    assert allows("viewer", "viewer")
    assert not allows("viewer", "operator")
    assert allows("viewer", "nobody")


@pytest.mark.parametrize("fields", [
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": ""}, {"Origin": "http://localhost:3000"},
    {"Origin": "http://localhost:9900.evil.example"}, {"Origin": "http://[::1"}, {"Origin": "file://localhost:9900"},
    {"Origin": "http://user@localhost:9900"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:9900"},
])
def test_a_page_of_somebody_else_changes_nothing(fields: dict[str, str]) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert foreign_page(method, {"Host": "localhost:9900", **fields}) is not None
    assert foreign_page("GET", {"Host": "localhost:9900", **fields}) is None


@pytest.mark.parametrize("fields", [
    {}, {"Origin": "http://localhost:9900"}, {"Origin": "HTTP://LocalHost:9900"}, {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"}, {"Origin": "https://localhost:9900"},
])
def test_its_own_page_and_a_program_may(fields: dict[str, str]) -> None:
    assert foreign_page("POST", {"Host": "localhost:9900", **fields}) is None
