"""What `explain` tells is what happens."""

from __future__ import annotations

import json
from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.choose import choose
from proxy.core.explain import NOBODY, Detour, explain
from proxy.core.route import HeaderMatch, Match, Override, Route, Sticky
from proxy.core.split import Race
from tests.support.deciding import Request, Script, a_route, a_router
from tests.support.exploring import examples

KEY = b"0123456789abcdef01234567"
weights = st.sampled_from((0.0, 0.01, 1.0, 5.0, 95.0))
splits = st.tuples(weights, weights, weights).filter(any).map(
    lambda values: tuple(zip(("old", "new", "newer"), values, strict=True)))
routes = st.builds(
    Route, name=st.sampled_from(("shop", "api")), split=splits, baseline=st.just("old"),
    match=st.builds(Match, host=st.sampled_from((None, "a.test", "*.test")), path=st.sampled_from(("/", "/a", "/a/b")),
                    methods=st.sampled_from(((), ("POST",))),
                    headers=st.sampled_from(((), (HeaderMatch("x-beta", "1"),)))),
    sticky=st.sampled_from((None, Sticky("cookie"), Sticky("cookie", mode="session"), Sticky("app_cookie", name="sid"),
                            Sticky("header", name="x-user"), Sticky("address"))),
    override=st.sampled_from((None, Override(header="x-version"),
                              Override(header="x-version", query="v", networks=("10.0.0.0/8",)))))
requests = st.builds(
    Request, method=st.sampled_from((b"GET", b"POST")),
    target=st.sampled_from((b"/", b"/a", b"/a/b?v=new", b"/ab?v=no")),
    client=st.sampled_from(("10.0.0.1", "192.0.2.1", "")),
    headers=st.fixed_dictionaries({}, optional={
        b"x-beta": st.sampled_from((b"1", b"2")), b"x-version": st.sampled_from((b"old", b"newer", b"nwe")),
        b"x-user": st.sampled_from((b"7", b"")), b"cookie": st.sampled_from((b"turnout=" + KEY, b"sid=4; turnout=x"))}))


@examples(500)
@given(routes=st.lists(routes, min_size=1, max_size=5), request=requests, x=st.floats(0, 1, exclude_max=True),
       host=st.sampled_from((b"", b"a.test", b"b.test", b"c")))
def test_explaining_reaches_what_finding_and_choosing_reach(
        routes: list[Route], request: Request, x: float, host: bytes) -> None:
    router = a_router(*routes)
    table = router.table(host)
    route = None if table is None else table.find(request)
    chance = Script([x], [KEY])
    told = explain(router, request, host, deepcopy(chance))
    if route is None:
        assert (told.route, told.version) == (None, None)
        assert all(step.refused for step in told.tried)
        return
    choice = choose(route, request, chance)
    assert (told.route, told.version, told.reason) == (route.name, choice.version, choice.reason)
    assert told.issues_cookie == (choice.set_cookie is not None)
    assert [step.refused is None for step in told.tried] == [False] * (len(told.tried) - 1) + [True]
    # The steps told lead to the same end by themselves.
    if choice.reason == "override":
        assert any(seen.ignored is None and seen.named == choice.version for seen in told.overrides)
    elif told.position is not None:
        running = [odds for odds in told.versions if odds.time is not None]
        assert min(running, key=lambda odds: odds.time or 0.0).version == choice.version
    elif told.draw is not None:
        interval = told.versions[choice.index].interval
        assert interval is not None
        assert interval[0] <= told.draw < interval[1]
    json.dumps(told.as_dict())


def test_each_refusal_is_told_in_the_words_of_the_route() -> None:
    router = a_router(a_route("beta", match=Match(path="/a", headers=(HeaderMatch("x-beta", "1"),))),
                      a_route("writes", match=Match(methods=("POST", "PUT"))), a_route("rest"))
    told = explain(router, Request(target=b"/a/b"), b"", Script([0.5]))
    assert [(step.route, step.refused) for step in told.tried] == [
        ("beta", "asks for header x-beta = '1'"), ("writes", "asks for method POST or PUT"), ("rest", None)]


def test_an_override_that_does_not_count_is_told_with_its_reason() -> None:
    def seen(rule: Override, client: str, named: bytes) -> list[str | None]:
        request = Request(client=client, headers={b"x-version": named})
        return [o.ignored for o in explain(a_router(a_route(override=rule)), request, b"", Script([0.5])).overrides]

    rule = Override(header="x-version", networks=("10.0.0.0/8",))
    assert seen(rule, "10.0.0.1", b"new") == [None]
    assert seen(rule, "10.0.0.1", b"nwe") == ["no version of this route has that name"]
    assert seen(rule, "192.0.2.1", b"new") == ["the client is not in a network that may name its version (`from`)"]
    assert seen(Override(header="x-version"), "10.0.0.1", b"new") == [NOBODY]


@examples(80)
@given(key=st.integers(0, 10**24 - 1).map(lambda n: b"%024d" % n), split=splits)
def test_a_client_joins_a_version_at_the_share_that_is_told(key: bytes, split: tuple[tuple[str, float], ...]) -> None:
    request = Request(headers={b"cookie": b"turnout=" + key})
    told = explain(a_router(a_route("shop", split, sticky=Sticky("cookie"))), request, b"", Script())
    names, values = [name for name, _ in split], [value for _, value in split]
    for index, odds in enumerate(told.versions):
        assert odds.joins_at is not None
        rest = sum(values) - values[index]
        if rest == 0.0:
            assert odds.joins_at == 0.0
            continue
        for share, joined in ((odds.joins_at * 0.999, False), (min(odds.joins_at * 1.001, 1 - 1e-12), True)):
            weight = rest * share / (1 - share)
            pick = Race("shop", names, [weight if i == index else value for i, value in enumerate(values)]).pick
            assert (pick(key) == index) is joined


def test_a_version_that_is_not_up_is_told_with_who_is_sent_its_requests() -> None:
    router = a_router(a_route("shop", (("old", 9.0), ("new", 1.0), ("newer", 0.0))))
    told = explain(router, Request(), b"", Script([0.5]), {"new": "down", "newer": "down"})
    assert told.detours == (Detour("new", "down", "old", "baseline"),)  # nobody gives the other anything
    assert told.version == "old"
    panic = explain(router, Request(), b"", Script([0.5]), {"old": "down"})
    assert panic.detours == (Detour("old", "down", "old", "baseline"),)
