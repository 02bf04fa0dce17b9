from __future__ import annotations

from hashlib import sha256

import pytest

from proxy.admin.access import holder_of, is_loopback_host
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
     "[::2]", "localhost:", "localhost:x", "127.0.0.1:9900:1", "user@localhost", "localhost\n", "127.1", "2130706433"],
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
