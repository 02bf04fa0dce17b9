from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.listen import Listen
from proxy.core.route import Server
from proxy.settings import addresses, grammar


def refusal(read: Callable[[object], object], text: str) -> str:
    """What a reader says against a text; nothing if it takes it."""
    try:
        read(text)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("http://127.0.0.1:9001", Server("127.0.0.1", 9001)),
        ("HTTP://App-Old:8000", Server("app-old", 8000)),
        ("http://my_app", Server("my_app", 80)),
        ("http://[::1]", Server("::1", 80)),
        ("http://[0:0:0:0:0:0:0:1]:9001", Server("::1", 9001)),
        ("unix:/run/app.sock", Server("", 0, "/run/app.sock")),
    ],
)
def test_a_server_is_read(text: str, server: Server) -> None:
    assert addresses.parse_server(text) == server


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://127.0.0.1:9001", "https to servers is not there yet"),
        ("127.0.0.1:9001", "write `http://127.0.0.1:9001`"),
        ("localhost:9001", "write `http://localhost:9001`"),
        ("ftp://h", "`ftp` is not spoken"),
        ("http://h:9001/", "write `http://h:9001`"),
        ("http://h:9001?x", "write `http://h:9001`"),
        ("http://u:hunter2@h:9001", "takes no credentials"),
        ("http://h:0", "not a port"),
        ("http://h:65536", "not a port"),
        ("http://h:080", "not a port"),
        ("http://:80", "not a server"),
        ("http://", "not a server"),
        ("http://::1:80", "not a server"),
        ("http://[fe80::1%25eth0]:80", "zone"),
        ("http://127.1:80", "not an IPv4 address"),
        ("http://2130706433:80", "not an IPv4 address"),
        ("http://0x7f000001:80", "not an IPv4 address"),
        ("http://a..b:80", "not a host name"),
        ("http://bücher.example:80", "xn--"),
        ("http://a b:80", "not a host name"),
        ("http://h:80\r\nx", "not a port"),
        ("unix:run/app.sock", "absolute path"),
        ("unix:@abstract", "absolute path"),
        ("unix:/" + "x" * 107, "longer than 107 bytes"),
        ("unix:/a\nb", "control character"),
    ],
)
def test_what_is_no_server_is_refused_with_the_way_to_write_it(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        addresses.parse_server(text)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:8080", Listen("127.0.0.1", 8080)),
        ("[::]:80", Listen("::", 80)),
        ("localhost:0", Listen("localhost", 0)),
        ("unix:/run/x", Listen("", 0, "/run/x")),
    ],
)
def test_an_address_to_listen_on_is_read_and_written_back(text: str, listen: Listen) -> None:
    assert addresses.parse_listen(text) == listen
    assert listen.address == text


@pytest.mark.parametrize(
    "text", ["8080", ":8080", "*:8080", "127.0.0.1", "::1:8080", "http://127.0.0.1:80", "[::1]", "a:b:c", ""]
)
def test_what_is_no_address_to_listen_on_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        addresses.parse_listen(text)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("0.0.0.0:80", "[::]:80", False),
        ("[::]:80", "[::1]:80", True),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("unix:/a", "unix:/a", True),
        ("unix:/a", "127.0.0.1:80", False),
    ],
)
def test_addresses_that_cannot_be_bound_together_overlap(one: str, other: str, expected: bool) -> None:
    assert addresses.overlaps(addresses.parse_listen(one), addresses.parse_listen(other)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.2:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/a", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("my-host:1", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(text: str, expected: bool) -> None:
    assert addresses.is_loopback(addresses.parse_listen(text)) is expected


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Shop.Example.COM", "shop.example.com"),
        ("*.Example.com", "*.example.com"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::0001]", "[::1]"),
        ("::1", "[::1]"),
        ("localhost", "localhost"),
    ],
)
def test_a_host_to_match_is_kept_as_requests_are_compared(text: str, host: str) -> None:
    assert grammar.parse_match_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "a.*.com",
        "*a.com",
        "*.*.com",
        "example.com:80",
        "[::1]:80",
        "example.com.",
        "http://a",
        "a/b",
        "*.127.0.0.1",
        "",
        "a b",
        "-a.com",
        "é.com",
    ],
)
def test_what_is_no_host_to_match_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        grammar.parse_match_host(text)


@pytest.mark.parametrize(
    ("text", "path"), [("/", "/"), ("/a/", "/a"), ("/a/b", "/a/b"), ("/%C3%A9;v=1", "/%C3%A9;v=1"), ("/...", "/...")]
)
def test_a_path_is_kept_without_its_last_slash(text: str, path: str) -> None:
    assert grammar.parse_path(text) == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "/a?b",
        "/a#b",
        "/a//b",
        "//",
        "/a/../b",
        "/.",
        "/%2e%2E/a",
        "/.%2e",
        "/a b",
        "/é",
        "/a\x00",
        "/a\n",
        "/a*",
        "/a%2",
        "/a\\b",
    ],
)
def test_what_is_no_path_prefix_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        grammar.parse_path(text)


@pytest.mark.parametrize(
    "text", sorted(grammar.HOP_BY_HOP) + ["Host", "Content-Length", "X Beta", "", "X:Y", "Ünicode"]
)
def test_headers_that_say_nothing_about_a_request_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        grammar.parse_header_name(text.title())


@pytest.mark.parametrize(
    ("text", "network"), [("10.0.0.0/8", "10.0.0.0/8"), ("10.1.2.3", "10.1.2.3/32"), ("::1", "::1/128")]
)
def test_a_network_is_kept_in_its_canonical_form(text: str, network: str) -> None:
    assert grammar.parse_network(text) == network


def test_a_network_with_bits_behind_its_prefix_is_answered_with_the_one_meant() -> None:
    with pytest.raises(ValueError, match=r"did you mean `10\.0\.0\.0/8`"):
        grammar.parse_network("10.1.2.3/8")


@given(st.text())
def test_any_word_is_read_or_refused_in_words(text: str) -> None:
    readers: list[Callable[[object], object]] = [
        grammar.parse_name,
        grammar.parse_cookie_name,
        grammar.parse_header_name,
        grammar.parse_field_value,
        grammar.parse_query_name,
        grammar.parse_method,
        grammar.parse_host,
        grammar.parse_match_host,
        grammar.parse_path,
        grammar.parse_network,
        addresses.parse_listen,
        addresses.parse_server,
    ]
    for read in readers:
        assert "\n" not in refusal(read, text)
