from __future__ import annotations

import pytest

from proxy.cli.address import parse_admin


@pytest.mark.parametrize(("admin", "address"), [
    ("http://127.0.0.1:9900", ("127.0.0.1", 9900)),
    ("127.0.0.1:9900", ("127.0.0.1", 9900)),
    ("http://127.0.0.1:9900/", ("127.0.0.1", 9900)),
    ("HTTP://admin.example.com", ("admin.example.com", 80)),
    ("http://[::1]:9900", ("::1", 9900)),
    ("[::1]", ("::1", 80)),
    ("unix:/run/turnout/admin", "/run/turnout/admin"),
])
def test_an_address_is_written_in_one_of_three_ways(admin: str, address: object) -> None:
    assert parse_admin(admin) == address


@pytest.mark.parametrize("admin", [
    "", "http://", "ftp://x", "http://[", "http://[::1]x", "http://x:y", "http://x:0", "http://x:65536", "http://x:1:2",
    "http://x:٣", "http://user@x:1", "http://x:1/api", "x y", "http://x:" + "1" * 5000,
])
def test_what_is_no_address_is_told_with_an_example(admin: str) -> None:
    with pytest.raises(ValueError, match="such as http://127"):
        parse_admin(admin)


def test_tls_is_told_what_to_do_instead() -> None:
    with pytest.raises(ValueError, match="ssh -L"):
        parse_admin("https://admin.example.com")


def test_a_unix_socket_needs_a_path() -> None:
    with pytest.raises(ValueError, match="names no socket"):
        parse_admin("unix:")
