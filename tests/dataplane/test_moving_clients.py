"""Which version answers: splits, stickiness and overrides, seen from outside."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

from proxy.core.route import HeaderMatch, Match, Override, Route, Sticky
from proxy.core.snapshot import Snapshot
from tests.support.origins import Origin, answering, ok
from tests.support.story import Story, get
from tests.support.wire import Wire
from tests.support.worker import a_snapshot


def versions(story: Story) -> tuple[Origin, Origin]:
    return story.origin(answering(ok(b"old"))), story.origin(answering(ok(b"new")))


def split(story: Story, weight: float, **route: object) -> Snapshot:
    old, new = versions(story)
    whole = a_snapshot(old, new=(new,), weight=weight)
    return replace(whole, routes=(replace(whole.routes[0], **route),))  # type: ignore[arg-type]


def moved(snapshot: Snapshot, weight: float, revision: int = 2, **route: object) -> Snapshot:
    changed = replace(snapshot.routes[0], split=(("old", 100 - weight), ("new", weight)), **route)  # type: ignore[arg-type]
    return replace(snapshot, routes=(changed,), revision=revision)


def cookie_of(client: Wire) -> tuple[bytes, bytes]:
    """The version that answered a newcomer, and the cookie that came with it."""
    answer = client.ask(get())
    given = answer.value(b"set-cookie")
    assert given is not None
    assert re.search(rb"; HttpOnly", given)
    return answer.body, given.partition(b";")[0]


def test_a_split_is_kept_exactly(story: Story) -> None:
    client = story.client(story.serving(split(story, 25.0)))
    seen = Counter(client.ask(get()).body for _ in range(200))
    assert 45 <= seen[b"new"] <= 55


def test_a_weight_of_nothing_gets_nothing(story: Story) -> None:
    client = story.client(story.serving(split(story, 0.0)))
    assert {client.ask(get()).body for _ in range(100)} == {b"old"}


def test_a_cookie_is_issued_once_and_honoured(story: Story) -> None:
    worker = story.serving(split(story, 50.0, sticky=Sticky(by="cookie")))
    client = story.client(worker)
    for _ in range(10):
        version, cookie = cookie_of(client)
        for _ in range(3):
            again = client.ask(get("/", f"Cookie: a=b; {cookie.decode()}"))
            assert again.body == version
            assert again.value(b"set-cookie") is None


def test_a_raised_share_moves_nobody_back_and_none_moves_everybody_home(story: Story) -> None:
    snapshot = split(story, 30.0, sticky=Sticky(by="cookie"))
    worker = story.serving(snapshot)
    client = story.client(worker)
    known = [cookie_of(client) for _ in range(60)]

    def now() -> list[bytes]:
        return [client.ask(get("/", f"Cookie: {cookie.decode()}")).body for _, cookie in known]

    worker.apply(moved(snapshot, 60.0))
    later = now()
    assert all(after == b"new" for (before, _), after in zip(known, later, strict=True) if before == b"new")
    assert later.count(b"new") > [before for before, _ in known].count(b"new")
    worker.apply(moved(snapshot, 0.0, 3))
    assert set(now()) == {b"old"}


def test_a_session_stays_with_its_version_until_the_generation_changes(story: Story) -> None:
    snapshot = split(story, 50.0, sticky=Sticky(by="cookie", mode="session"))
    worker = story.serving(snapshot)
    client = story.client(worker)
    known = [cookie_of(client) for _ in range(10)]
    assert {version for version, _ in known} == {b"old", b"new"}
    worker.apply(moved(snapshot, 0.0))
    for version, cookie in known:
        kept = client.ask(get("/", f"Cookie: {cookie.decode()}"))
        assert (kept.body, kept.value(b"set-cookie")) == (version, None)
    worker.apply(moved(snapshot, 0.0, 3, generation=1))
    for _, cookie in known:
        home = client.ask(get("/", f"Cookie: {cookie.decode()}"))
        assert home.body == b"old"
        assert home.value(b"set-cookie") is not None


def test_a_forged_session_counts_for_nothing(story: Story) -> None:
    client = story.client(story.serving(split(story, 0.0, sticky=Sticky(by="cookie", mode="session"))))
    assert client.ask(get("/", "Cookie: turnout=new.0." + "0" * 32)).body == b"old"


def test_the_cookie_of_the_application_and_a_header_may_be_the_key(story: Story) -> None:
    for sticky, field in ((Sticky(by="app_cookie", name="sid"), "Cookie: sid={}"),
                          (Sticky(by="header", name="X-User"), "X-User: {}")):
        client = story.client(story.serving(split(story, 50.0, sticky=sticky)))
        seen = {user: {client.ask(get("/", field.format(user))).body for _ in range(4)} for user in range(20)}
        assert all(len(versions_seen) == 1 for versions_seen in seen.values())
        assert len({next(iter(versions_seen)) for versions_seen in seen.values()}) == 2


def test_the_cookie_goes_out_with_every_kind_of_answer(story: Story) -> None:
    kinds = (b"HTTP/1.1 304 Not Modified\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n",
             b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    for kind in kinds:
        whole = a_snapshot(story.origin(answering(kind)))
        worker = story.serving(replace(whole, routes=(replace(whole.routes[0], sticky=Sticky(by="cookie")),)))
        assert worker.ask(get()).value(b"set-cookie") is not None


def test_an_override_counts_from_an_allowed_network_only(story: Story) -> None:
    rule = Override(header="X-Version", cookie="pick", query="version", networks=("127.0.0.0/8",))
    allowed = story.client(story.serving(split(story, 0.0, override=rule, sticky=Sticky(by="cookie"))))
    assert allowed.ask(get("/", "X-Version: new")).body == b"new"
    assert allowed.ask(get("/", "Cookie: pick=new")).body == b"new"
    assert allowed.ask(get("/page?a=b&version=new")).body == b"new"
    assert allowed.ask(get("/", "X-Version: other")).body == b"old"
    assert allowed.ask(get()).body == b"old"
    foreign = replace(rule, networks=("10.0.0.0/8",))
    refused = story.client(story.serving(split(story, 0.0, override=foreign)))
    assert refused.ask(get("/?version=new", "X-Version: new", "Cookie: pick=new")).body == b"old"


def test_a_trusted_proxy_says_for_whom_an_override_counts(story: Story) -> None:
    rule = Override(header="X-Version", networks=("10.1.0.0/16",))
    snapshot = split(story, 0.0, override=rule)
    trusting = replace(snapshot, policy=replace(snapshot.policy, trusted_proxies=("127.0.0.0/8", "10.9.0.0/16")))
    for worker, seen in ((story.serving(trusting), b"new"), (story.serving(snapshot), b"old")):
        client = story.client(worker)
        assert client.ask(get("/", "X-Version: new", "X-Forwarded-For: 9.9.9.9, 10.1.2.3, 10.9.0.1")).body == seen
        assert client.ask(get("/", "X-Version: new", "X-Forwarded-For: 10.1.2.3, 9.9.9.9")).body == b"old"


def test_routes_by_host_path_method_and_header(story: Story) -> None:
    old, new = versions(story)
    whole = a_snapshot(old, new=(new,))
    to_old, to_new = (("old", 1.0),), (("new", 1.0),)
    worker = story.serving(replace(whole, routes=(
        Route("any", Match(host="shop.example"), to_old, "old"),
        Route("api", Match(host="shop.example", path="/api"), to_new, "new"),
        Route("beta", Match(host="shop.example", headers=(HeaderMatch("x-beta", "yes"),)), to_new, "new"),
    )))
    client = story.client(worker)
    assert client.ask(get("/")).body == b"old"
    assert client.ask(get("/api/x?y")).body == b"new"
    assert client.ask(get("/apiary")).body == b"old"
    assert client.ask(get("/", "X-Beta: yes")).body == b"new"
    lost = client.ask(b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n")
    assert lost.status == 404
    assert client.ask(get("/")).body == b"old"
    assert worker.codes("new", "api") == {200: 1}
    assert worker.count("refusals_total", "no-route") == 1
