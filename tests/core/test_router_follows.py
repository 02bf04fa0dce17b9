"""A router that shares with the one before it finds and chooses exactly as one that was made from nothing."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.choose import choose
from proxy.core.route import HeaderMatch, Match, Override, Route, Sticky
from proxy.core.router import Router
from proxy.core.snapshot import Snapshot
from tests.support.deciding import Request, Script
from tests.support.exploring import examples

HOSTS = (b"", b"test", b"a.test", b"b.a.test", b"other")

matches = st.builds(
    Match, host=st.sampled_from((None, None, "a.test", "*.test", "*.a.test")),
    path=st.sampled_from(("/", "/", "/a", "/a/b", "/b")), methods=st.sampled_from(((), (), ("GET",))),
    headers=st.sampled_from(((), (), (HeaderMatch("x-beta"),))))
weights = st.sampled_from((0.0, 1.0, 5.0, 100.0))
splits = st.builds(
    lambda names, first, rest: tuple(zip(names, (first, *rest), strict=True)),
    st.sampled_from((("old", "new"), ("new", "old"), ("old", "next"))), st.sampled_from((1.0, 9.0)),
    st.tuples(weights))
routes = st.builds(
    Route, name=st.just("route"), match=matches, split=splits, baseline=st.just("old"),
    sticky=st.sampled_from((None, Sticky("header", "x-user"), Sticky("cookie", mode="session"), Sticky("address"))),
    override=st.sampled_from((None, Override(header="x-version", networks=("192.0.2.0/24",)))),
    generation=st.integers(0, 1))
requests = st.builds(
    Request, method=st.sampled_from((b"GET", b"POST")), target=st.sampled_from((b"/", b"/a", b"/a/b/c", b"/b?x", b"*")),
    headers=st.dictionaries(st.sampled_from((b"x-beta", b"x-user", b"x-version")),
                            st.sampled_from((b"1", b"new", b"next")), max_size=3))


def snapshot(wanted: list[Route], secret: bytes, revision: int) -> Snapshot:
    return Snapshot(revision, (), tuple(replace(r, name=f"r{i}") for i, r in enumerate(wanted)), secret=secret)


@st.composite
def histories(draw: st.DrawFn) -> list[Snapshot]:
    """Snapshots as they follow each other: a route or two change, some come and go, now and then all is new."""
    current = draw(st.lists(routes, min_size=1, max_size=6))
    secret = b"one"
    history = [snapshot(current, secret, 1)]
    for revision in range(2, draw(st.integers(3, 6))):
        current = list(current)
        match draw(st.sampled_from(("split", "split", "route", "add", "remove", "nothing", "secret"))):
            case "split":
                at = draw(st.integers(0, len(current) - 1))
                current[at] = replace(current[at], split=draw(splits))
            case "route":
                current[draw(st.integers(0, len(current) - 1))] = draw(routes)
            case "add":
                current.insert(draw(st.integers(0, len(current))), draw(routes))
            case "remove" if len(current) > 1:
                current.pop(draw(st.integers(0, len(current) - 1)))
            case "secret":
                secret = b"two"
        history.append(snapshot(current, secret, revision))
    return history


def decided(router: Router, host: bytes, request: Request) -> object:
    table = router.table(host)
    route = None if table is None else table.find(request)
    if route is None:
        return None
    script = Script(draws=[0.4], keys=[b"0123456789abcdef01234567"])
    only = table.only if table is not None else None
    return route.index, route.route, only is route, choose(route, request, script)


@examples(400)
@given(history=histories(), asked=st.lists(requests, min_size=1, max_size=6))
def test_it_decides_as_a_fresh_one(history: list[Snapshot], asked: list[Request]) -> None:
    following: Router | None = None
    for current in history:
        following, fresh = Router(current, following), Router(current)
        assert following.needs == fresh.needs
        assert following.pairs == fresh.pairs
        for host in HOSTS:
            for request in asked:
                assert decided(following, host, request) == decided(fresh, host, request)


def many(count: int, changed: int | None = None) -> Snapshot:
    wanted = tuple(Route(f"r{i}", Match(host=f"h{i % 9}.test", path=f"/p{i}"),
                         (("old", 1.0), ("new", 2.0 if i == changed else 1.0)), "old") for i in range(count))
    return Snapshot(1, (), wanted)


def test_one_change_among_many_compiles_one_route() -> None:
    before = Router(many(50))
    after = Router(many(50, changed=7), before)
    assert [place for place in range(50) if after.routes[place] is not before.routes[place]] == [7]
    assert after.pairs is before.pairs
    assert after.needs is before.needs


def test_a_router_in_use_is_not_touched_by_its_successor() -> None:
    before = Router(many(9))
    table = before.table(b"h7.test")
    assert table is not None
    Router(many(9, changed=7), before)
    found = table.find(Request(target=b"/p7"))
    assert found is before.routes[7]
    assert found.route.split == (("old", 1.0), ("new", 1.0))
