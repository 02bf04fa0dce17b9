"""Targets in absolute form, and what may stand in Host."""

from __future__ import annotations

import pytest

from proxy.http1.target import host_name, reduce_absolute


@pytest.mark.parametrize(("target", "reduced"), [
    (b"http://a/b?c", (b"a", b"/b?c")),
    (b"HTTPS://a:1", (b"a:1", b"")),
    (b"http://a?b", (b"a", b"?b")),
    (b"http://[::1]:80/", (b"[::1]:80", b"/")),
    (b"http://a//b", (b"a", b"//b")),
    (b"http:///b", (b"", b"/b")),
    (b"http:/a", None),
    (b"http:a", None),
    (b"//a/b", None),
    (b"ftp://a/b", None),
    (b"http://me@a/b", None),
    (b"http://a\\b/c", None),
    (b"http://a#b", None),
])
def test_the_absolute_form_is_split_where_the_authority_ends(target: bytes,
                                                             reduced: tuple[bytes, bytes] | None) -> None:
    assert reduce_absolute(target) == reduced


@pytest.mark.parametrize(("authority", "name"), [
    (b"a", b"a"),
    (b"A.Example", b"a.example"),
    (b"a.example.", b"a.example"),
    (b"a:80", b"a"),
    (b"a:0", b"a"),
    (b"127.0.0.1:8080", b"127.0.0.1"),
    (b"[::1]", b"[::1]"),
    (b"[2001:DB8::1]:80", b"[2001:db8::1]"),
    (b"my_service", b"my_service"),
    (b"a" * 255, b"a" * 255),
])
def test_a_host_is_found_without_port_and_case(authority: bytes, name: bytes) -> None:
    assert host_name(authority) == name


@pytest.mark.parametrize("authority", [
    b"", b".", b":80", b"a:", b"a:b", b"a:123456", b"a b", b"a/b", b"a?b", b"a#b", b"a@b", b"a,b", b"a;b", b"a%41",
    b"a\\b", b"::1", b"[::1", b"::1]", b"[::1]80", b"[]", b"[g::1]", b"[::1%eth0]", b"a\n", b"a\r", b"a\0",
    b"caf\xc3\xa9", b"a:80\n", b"a\t", b"<a>", b'"a"', b"a" * 256, b"a:80:80", b"*", b"*.a",
])
def test_what_is_no_authority_names_no_host(authority: bytes) -> None:
    assert host_name(authority) is None
