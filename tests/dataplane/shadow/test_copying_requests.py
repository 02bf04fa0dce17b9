"""Which requests are copied, and what the copies look like."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from proxy.core.route import HeaderMatch, Server, Sticky
from tests.support.origins import Peer, StrictOrigin, ok
from tests.support.shadowing import MARK, shadow_snapshot, shadowed
from tests.support.story import Story, get, request
from tests.support.wire import DEADLINE_S


def targets(origin: StrictOrigin) -> list[bytes]:
    return [message.target for message in origin.requests]


def test_a_copy_is_the_request_with_a_mark(story: Story) -> None:
    old, new = story.strict(), story.strict()
    client = story.client(shadowed(story, old, new))
    assert client.ask(get("/a?b=c", "Cookie: x=y", "X-Thing: 1")).body == b"GET /a?b=c 0"
    (primary,), (copy,) = old.wait_requests(1), new.wait_requests(1)
    assert copy.start == primary.start
    assert copy.fields == (*primary.fields, (MARK, b"1"))


def test_the_client_never_gets_the_shadows_answer(story: Story) -> None:
    old, new = story.strict(lambda _: ok(b"old")), story.strict(lambda _: ok(b"new"))
    client = story.client(shadowed(story, old, new))
    assert {client.ask(get(f"/{number}")).body for number in range(50)} == {b"old"}
    assert len(new.wait_requests(50)) == 50


def test_copies_reuse_connections_of_their_own(story: Story) -> None:
    both = story.strict()
    worker = shadowed(story, both, both)
    client = story.client(worker)
    for number in range(20):
        client.ask(get(f"/{number}"))
        both.wait_requests(2 * (number + 1))
        worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert both.connections == 2
    marked = [any(name == MARK for name, _ in message.fields) for message in both.requests]
    assert sum(marked) == 20
    by_peer = [peer.got.count(b"X-Turnout-Shadow") for peer in both.peers]
    assert sorted(by_peer) == [0, 20]


def test_a_drained_server_gets_no_copies_and_a_drained_version_none_at_all(story: Story) -> None:
    old, stay, leave = story.strict(), story.strict(), story.strict()
    both = shadow_snapshot(old, stay)
    versions = tuple(replace(version, servers=(*version.servers, Server(*leave.address)))
                     if version.name == "new" else version for version in both.versions)
    servers = {("new", server.address) for server in versions[1].servers}
    leaving = frozenset({("new", Server(*leave.address).address)})
    worker = story.serving(replace(both, versions=versions, drained=leaving))
    client = story.client(worker)
    for number in range(20):
        client.ask(get(f"/{number}"))
    stay.wait_requests(20)
    worker.apply(replace(both, versions=versions, drained=frozenset(servers), revision=2))
    client.ask(get("/none"))
    worker.apply(replace(both, versions=versions, revision=3))
    for number in range(20, 40):
        client.ask(get(f"/{number}"))
        worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert len(stay.requests) + len(leave.requests) == 40
    assert b"/none" not in targets(stay) + targets(leave)
    assert leave.requests


def test_a_drained_version_that_answers_gets_no_second_copies_either(story: Story) -> None:
    old, new = story.strict(), story.strict()
    snapshot = shadow_snapshot(old, new, control=True, revision=1)
    worker = story.serving(snapshot)
    client = story.client(worker)
    client.ask(get("/both"))
    old.wait_requests(2)
    drained = frozenset({("old", snapshot.versions[0].servers[0].address)})
    worker.apply(replace(snapshot, drained=drained, revision=2))
    assert client.ask(get("/none")).status == 503
    assert b"/none" not in targets(old)


def test_what_is_a_copy_is_never_copied_again(story: Story) -> None:
    old, new = story.strict(), story.strict()
    client = story.client(shadowed(story, old, new))
    client.ask(get("/copy", "X-Turnout-Shadow: 1"))
    client.ask(get("/request"))
    assert [message.target for message in new.wait_requests(1)] == [b"/request"]


def test_two_turnouts_that_shadow_to_each_other_copy_each_request_once(story: Story) -> None:
    old = story.strict()
    first = shadowed(story, old, ("127.0.0.1", 1))
    second = shadowed(story, old, first.address)
    first.apply(shadow_snapshot(old, second.address, revision=2))
    client = story.client(first)
    for number in range(5):
        client.ask(get(f"/{number}"))
    old.wait_requests(10)
    for worker in (first, second):
        worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert sorted(targets(old)) == sorted([b"/%d" % number for number in range(5)] * 2)


@pytest.mark.parametrize(("method", "copied"), [("GET", True), ("HEAD", True), ("POST", False), ("DELETE", False)])
def test_only_safe_methods_are_copied_unless_told_otherwise(story: Story, method: str, copied: bool) -> None:
    old, new = story.strict(), story.strict()
    client = story.client(shadowed(story, old, new))
    client.ask(request(method, "/x"), method.encode())
    client.ask(get("/after"))
    assert (b"/x" in [message.target for message in new.wait_requests(2 if copied else 1)]) is copied


def test_a_method_that_is_listed_is_copied_with_its_body(story: Story) -> None:
    old, new = story.strict(), story.strict()
    client = story.client(shadowed(story, old, new, methods=("POST",)))
    client.ask(request("POST", "/x", body=b"hello"))
    (copy,) = new.wait_requests(1)
    assert (copy.method, copy.body) == (b"POST", b"hello")


def test_copies_lose_and_get_fields_as_configured(story: Story) -> None:
    old, new = story.strict(), story.strict()
    client = story.client(shadowed(story, old, new, host="shadow.internal", drop_headers=("cookie", "authorization"),
                                   set_headers=(("Authorization", "Bearer shadow"), ("X-Env", "b"))))
    client.ask(get("/x", "Cookie: a=b", "authorization: Bearer client", "X-Env: a", "X-Kept: c", "Cookie: d=e"))
    (primary,), (copy,) = old.wait_requests(1), new.wait_requests(1)
    assert primary.value(b"authorization") == b"Bearer client"
    assert copy.value(b"host") == b"shadow.internal"
    assert copy.value(b"authorization") == b"Bearer shadow"
    assert (copy.values(b"cookie"), copy.value(b"x-env"), copy.value(b"x-kept")) == ([], b"b", b"c")


def test_the_control_is_asked_as_the_client_asked_whatever_is_set_for_the_shadow(story: Story) -> None:
    old, new = story.strict(), story.strict()
    client = story.client(shadowed(story, old, new, control=True, host="shadow.internal", drop_headers=("cookie",),
                                   set_headers=(("Authorization", "Bearer shadow"),)))
    client.ask(get("/", "Authorization: Bearer client", "Cookie: a=b"))
    primary, control = sorted(old.wait_requests(2), key=lambda message: bool(message.value(MARK)))
    (copy,) = new.wait_requests(1)
    assert (copy.value(b"authorization"), copy.value(b"host")) == (b"Bearer shadow", b"shadow.internal")
    assert control.fields == (*primary.fields, (MARK, b"1"))


def test_heads_for_shadow_and_control_are_both_counted_as_memory(story: Story) -> None:
    old, new = story.strict(), story.strict()
    worker = shadowed(story, old, new, control=True, set_headers=(("X-Env", "b"),), memory=3_000)
    client = story.client(worker)
    client.ask(get("/", "X-Long: " + 2_000 * "x"))
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert worker.count("shadow_skipped_total", "all", "memory") == 1
    assert not new.connections


def test_framing_cannot_be_configured_away(story: Story) -> None:
    old, new = story.strict(), story.strict()
    client = story.client(shadowed(story, old, new, methods=("POST",), drop_headers=("content-length",),
                                   set_headers=(("Transfer-Encoding", "chunked"),)))
    client.ask(request("POST", "/x", body=b"hello"))
    assert new.wait_requests(1)[0].body == b"hello"


@pytest.mark.parametrize(("path", "header", "copied"), [
    ("/api", None, [b"/api", b"/api/x?a=/api", b"/api?x"]),
    (None, HeaderMatch("X-Test", "yes"), [b"/api/x?a=/api"]),
    ("/", None, [b"/api", b"/apiary", b"/api/x?a=/api", b"/other", b"/api?x"]),
])
def test_a_part_of_the_route_can_be_copied(story: Story, path: str | None, header: HeaderMatch | None,
                                           copied: list[bytes]) -> None:
    old, new = story.strict(), story.strict()
    worker = shadowed(story, old, new, path=path, header=header)
    client = story.client(worker)
    for target in ("/api", "/apiary", "/api/x?a=/api", "/other", "/api?x"):
        client.ask(get(target, *(["X-Test: yes"] if target.startswith("/api/x") else [])))
    new.wait_requests(len(copied))
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert sorted(targets(new)) == sorted(copied)


def test_a_hundredth_of_a_percent_can_be_copied(story: Story) -> None:
    old, new = story.strict(), story.strict()
    worker = shadowed(story, old, new, percent=12.34)
    client = story.client(worker)
    for number in range(1000):
        client.ask(get(f"/{number}"))
    new.wait_requests(122)
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert 122 <= len(new.requests) <= 125, "drawn smoothly: a deviation is one of rounding, not of chance"


def test_by_key_whole_clients_are_copied_and_stay_as_the_share_grows(story: Story) -> None:
    old, new = story.strict(), story.strict()
    sticky = Sticky("header", "X-User")
    worker = shadowed(story, old, new, percent=20, by="key", sticky=sticky)
    client = story.client(worker)

    def copied_users() -> set[bytes | None]:
        before, answered = len(new.requests), len(old.requests)
        for number in range(200):
            client.ask(get("/", f"X-User: user-{number % 100}"))
        assert len(old.requests) == answered + 200
        worker.wait_until(lambda worker: worker.shadows.is_quiet)
        seen = [message.value(b"x-user") for message in new.requests[before:]]
        assert all(seen.count(user) == 2 for user in seen), "each of them with all requests"
        return set(seen)

    few = copied_users()
    worker.apply(shadow_snapshot(old, new, percent=60, by="key", sticky=sticky, revision=2))
    many = copied_users()
    assert 8 <= len(few) <= 34
    assert 45 <= len(many) <= 75
    assert few < many


def test_who_is_not_recognised_is_not_copied_by_key(story: Story) -> None:
    old, new = story.strict(), story.strict()
    worker = shadowed(story, old, new, by="key", sticky=Sticky("header", "X-User"))
    client = story.client(worker)
    client.ask(get("/nobody"))
    client.ask(get("/somebody", "X-User: a"))
    assert [message.target for message in new.wait_requests(1)] == [b"/somebody"]


def test_nothing_is_copied_to_the_version_that_answers(story: Story) -> None:
    old, new = story.strict(), story.strict()
    worker = shadowed(story, old, new, weight=50)
    client = story.client(worker)
    for number in range(40):
        client.ask(get(f"/{number}"))
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert sorted(targets(new)) == sorted(b"/%d" % number for number in range(40))
    copies = [message.target for message in new.requests if message.values(MARK)]
    assert sorted(copies) == sorted(targets(old))


def test_the_baseline_can_be_the_shadow_of_the_candidate(story: Story) -> None:
    old, new = story.strict(lambda _: ok(b"old")), story.strict(lambda _: ok(b"new"))
    client = story.client(shadowed(story, old, new, weight=100, to="old"))
    assert client.ask(get("/x")).body == b"new"
    assert old.wait_requests(1)[0].value(MARK) == b"1"


def test_a_request_to_switch_protocols_is_not_copied(story: Story) -> None:
    old, new = story.strict(), story.strict()
    worker = shadowed(story, old, new)
    client = story.client(worker)
    client.ask(get("/chat", "Connection: Upgrade", "Upgrade: websocket"))
    assert worker.count("shadow_skipped_total", "all", "upgrade") == 1
    assert targets(new) == []


def test_without_a_share_nothing_is_copied_and_no_connection_made(story: Story) -> None:
    old, new = story.strict(), story.strict()
    worker = shadowed(story, old, new, percent=0)
    story.client(worker).ask(get("/x"))
    assert new.connections == 0


def test_turning_it_off_lets_go_of_the_connections(story: Story) -> None:
    old, new = story.strict(), story.strict()
    worker = shadowed(story, old, new)
    story.client(worker).ask(get("/x"))
    new.wait_requests(1)
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    worker.apply(shadow_snapshot(old, new, percent=0, revision=2))
    new.wait_ended(1)


def test_copies_under_way_end_well_when_shadowing_is_turned_off(story: Story) -> None:
    may_answer = threading.Event()

    def slow(peer: Peer) -> None:
        peer.read_head()
        assert may_answer.wait(DEADLINE_S)
        peer.send(ok(b"late"))
        peer.read_to_end()

    old, new = story.strict(), story.origin(slow)
    worker = shadowed(story, old, new)
    story.client(worker).ask(get("/x"))
    new.wait_until(lambda: new.connections == 1)
    worker.apply(shadow_snapshot(old, new, percent=0, revision=2))
    may_answer.set()
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert worker.count("shadow_requests_total", "all", "answered") == 1
