"""Requests find their route: host, then the longest path prefix, then conditions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.route import HeaderMatch, Match, Override, Route, Sticky
from tests.support.deciding import Request, a_route, a_router
from tests.support.exploring import examples

HOSTS = (None, "test", "a.test", "b.a.test", "*.test", "*.a.test", "*.b.a.test", "[::1]")
PATHS = ("/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/%61", "//", "/a//", "/a//b", "/ä")
ASKED_HOSTS = (b"", b"test", b"a.test", b"b.a.test", b"c.b.a.test", b"x.y.test", b".test", b"atest", b"[::1]", b"other")
METHODS = (b"GET", b"POST", b"get")
HEADERS = (HeaderMatch("x-beta"), HeaderMatch("x-beta", "1"), HeaderMatch("x-team", "ä"))

matches = st.builds(
    Match, host=st.sampled_from(HOSTS) | st.none(), path=st.sampled_from(PATHS) | st.just("/a"),
    methods=st.sampled_from(((), (), ("GET",), ("GET", "POST"))),
    headers=st.lists(st.sampled_from(HEADERS), max_size=2, unique=True).map(tuple))
targets = st.one_of(
    st.sampled_from((b"*", b"/", b"/?", b"//", b"///", b"/?a/b", b"/a?/b")),
    st.lists(st.sampled_from((b"/", b"a", b"b", b"c", b"?", b"%61", "ä".encode())), max_size=8)
    .map(lambda parts: b"/" + b"".join(parts)))
requests = st.builds(
    Request, method=st.sampled_from(METHODS), target=targets,
    headers=st.dictionaries(st.sampled_from((b"x-beta", b"x-team")),
                            st.sampled_from((b"", b"1", b"2", "ä".encode())), max_size=2))


def by_the_book(routes: list[Route], host: bytes, request: Request) -> str | None:
    """Every route that fits, sorted by what counts more: the rules of `Match`, as slow and plain as can be."""
    fitting = []
    for index, route in enumerate(routes):
        match = route.match
        wanted = None if match.host is None else match.host.encode()
        if wanted is None:
            rank = 1_000
        elif wanted.startswith(b"*."):
            rest = host.removesuffix(wanted[1:])
            if rest in (host, b""):
                continue
            rank = 100 - wanted.count(b".")
        elif wanted == host:
            rank = 0
        else:
            continue
        path = b"/" if request.target == b"*" else request.target.partition(b"?")[0]
        prefix = match.path.encode().removesuffix(b"/")
        if path != prefix and not path.startswith(prefix + b"/"):
            continue
        if match.methods and request.method.decode() not in match.methods:
            continue
        if any((value := request.header(h.name.encode())) is None
               or (h.equals is not None and value != h.equals.encode()) for h in match.headers):
            continue
        fitting.append((rank, -prefix.count(b"/"), not match.methods, -len(match.headers), index))
    return routes[min(fitting)[-1]].name if fitting else None


@examples(600)
@given(wanted=st.lists(matches, min_size=1, max_size=10), asked=st.lists(requests, min_size=1, max_size=8))
def test_a_request_finds_the_route_that_the_rules_name(wanted: list[Match], asked: list[Request]) -> None:
    routes = [a_route(f"route {i}", match=match) for i, match in enumerate(wanted)]
    router = a_router(*routes)
    for host in ASKED_HOSTS:
        table = router.table(host)
        for request in asked:
            found = None if table is None else table.find(request)
            assert (None if found is None else found.name) == by_the_book(routes, host, request)
            if table is not None and table.only is not None:
                assert table.only is found


def found(target: bytes, *paths: str) -> str | None:
    table = a_router(*(a_route(path, match=Match(path=path)) for path in paths)).table(b"")
    assert table is not None
    route = table.find(Request(target=target))
    return None if route is None else route.route.match.path


@pytest.mark.parametrize(("target", "path"), [
    (b"/a", "/a"), (b"/a/", "/a"), (b"/a/b", "/a"), (b"/a?x=/b", "/a"), (b"/ab", None), (b"/A", None), (b"/%61", None),
    (b"//a", None), (b"/", None), (b"*", None), (b"/a/b/c", "/a/b/c"), (b"/a/b/cd", "/a"), (b"/a/b?/c", "/a"),
])
def test_a_prefix_matches_whole_segments_of_the_bytes_received(target: bytes, path: str | None) -> None:
    assert found(target, "/a", "/a/b/c") == path


def test_the_asterisk_goes_where_the_root_goes() -> None:
    assert found(b"*", "/", "/a") == "/"


def test_a_host_that_covers_one_path_does_not_hide_the_rest_of_the_site() -> None:
    router = a_router(a_route("site"), a_route("api", match=Match(host="a.test", path="/api")),
                      a_route("wild", match=Match(host="*.test", path="/shop")))
    table = router.table(b"a.test")
    assert table is not None
    names = [route.name for target in (b"/api/x", b"/shop", b"/") if (route := table.find(Request(target=target)))]
    assert names == ["api", "wild", "site"]


def test_host_counts_more_than_path() -> None:
    router = a_router(a_route("deep", match=Match(path="/a/b/c")), a_route("own", match=Match(host="a.test")))
    table = router.table(b"a.test")
    assert table is not None
    assert table.only is router.routes[1]


def test_only_is_set_exactly_where_every_request_goes_to_one_route() -> None:
    router = a_router(a_route("plain", match=Match(host="one.test")),
                      a_route("never reached", match=Match(host="one.test")),
                      a_route("conditional", match=Match(host="two.test", methods=("GET",))),
                      a_route("deep", match=Match(host="three.test", path="/a")),
                      a_route("top", match=Match(host="four.test")),
                      a_route("below", match=Match(host="four.test", path="/a")), a_route("rest"))
    hosts = (b"one.test", b"two.test", b"three.test", b"four.test", b"x")
    only = {host: table.only.name if table.only else None for host in hosts if (table := router.table(host))}
    assert only == {b"one.test": "plain", b"two.test": None, b"three.test": None, b"four.test": None, b"x": "rest"}


def test_of_equal_paths_the_more_specific_conditions_come_first() -> None:
    beta, team = HeaderMatch("x-beta"), HeaderMatch("x-team")
    router = a_router(a_route("any"), a_route("beta", match=Match(headers=(beta,))),
                      a_route("both", match=Match(headers=(beta, team))),
                      a_route("reads", match=Match(methods=("GET",))),
                      a_route("beta reads", match=Match(methods=("GET",), headers=(beta,))))

    def name(method: bytes, *headers: bytes) -> str | None:
        table = router.table(b"")
        route = table.find(Request(method=method, headers=dict.fromkeys(headers, b"1"))) if table else None
        return route.name if route else None

    assert [name(b"GET"), name(b"GET", b"x-beta"), name(b"GET", b"x-beta", b"x-team")] == [
        "reads", "beta reads", "beta reads"]
    assert [name(b"PUT"), name(b"PUT", b"x-beta"), name(b"PUT", b"x-beta", b"x-team")] == ["any", "beta", "both"]


def test_without_a_route_for_any_host_an_unknown_host_has_no_table() -> None:
    router = a_router(a_route(match=Match(host="a.test")))
    assert router.table(b"b.test") is None
    assert router.table(b"") is None


def test_routes_say_which_headers_they_read() -> None:
    quiet = a_route("quiet", override=Override(header="X-Nobody"))          # nobody may: it is not even looked at
    loud = a_route("loud", match=Match(headers=(HeaderMatch("x-beta"),)), sticky=Sticky("header", name="X-User"),
                   override=Override(header="X-Version", cookie="v", networks=("10.0.0.0/8",)))
    router = a_router(quiet, loud)
    assert router.routes[0].needs == frozenset()
    assert router.routes[1].needs == {b"x-beta", b"x-user", b"x-version", b"cookie"} == router.needs


def calls(function: Callable[[], Any]) -> int:
    """How many calls, of Python and C, a function makes: what it costs, without a clock."""
    count = 0

    def tick(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(tick)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_finding_costs_the_same_among_1000_routes_as_among_few() -> None:
    def cost(routes: int) -> int:
        router = a_router(*(a_route(f"{i}", match=Match(host=f"h{i % 10}.test" if i % 2 else None, path=f"/p{i}/x"))
                            for i in range(routes)), a_route("deep", match=Match(path="/a/b/c/d")))
        request = Request(target=b"/p1/x/item?id=1")
        table = router.table(b"h1.test")
        assert table is not None
        assert table.find(request) is router.routes[1]
        return calls(lambda: (router.table(b"h1.test"), table.find(request)))

    assert cost(1_000) == cost(2)


@pytest.mark.parametrize("target", [b"/" * 16_384, b"/a/b" * 4_096, b"/" + b"a" * 16_384, b"/?" + b"/a" * 8_192])
def test_a_hostile_target_costs_no_more_than_the_deepest_prefix(target: bytes) -> None:
    table = a_router(a_route(match=Match(path="/a/b/c/d")), a_route("rest")).table(b"")
    assert table is not None
    assert calls(lambda: table.find(Request(target=target))) <= 20


def test_a_host_of_a_thousand_labels_costs_no_more_than_the_longest_wildcard() -> None:
    router = a_router(a_route(match=Match(host="*.a.b.test")))
    assert calls(lambda: router.table(b"x." * 5_000 + b"test")) <= 20
    assert router.table(b"x." * 5_000 + b"a.b.test") is not None
