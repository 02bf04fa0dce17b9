"""Shadow servers that do everything wrong: clients notice nothing, and everything is given back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest

from tests.support.deadline import wait_until
from tests.support.origins import Peer, answering_once, never_ending, ok, silent
from tests.support.shadowing import shadowed
from tests.support.story import Story, dead_address, full_backlog, get
from tests.support.wire import Address

TIMEOUT_S = 5.0


def closes_at_once(peer: Peer) -> None:
    peer.reset()


def closes_after_the_request(peer: Peer) -> None:
    peer.read_head()


BAD: dict[str, tuple[Callable[[Peer], None], str]] = {
    "silent": (silent, "timeout"),
    "closes at once": (closes_at_once, "closed or connect"),
    "closes after the request": (closes_after_the_request, "closed"),
    "garbage": (answering_once(b"\x00\xff\x13 garbage \r\n\r\n" * 50), "broken"),
    "another protocol": (answering_once(b"SSH-2.0-OpenSSH_9.2\r\n"), "broken"),
    "half a head": (answering_once(b"HTTP/1.1 200 OK\r\nContent-Le"), "timeout"),
    "half a body": (answering_once(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), "timeout"),
    "a head without end": (answering_once(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 20_000), "broken"),
    "two lengths": (answering_once(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), "broken"),
    "broken chunks": (answering_once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "broken"),
    "too many interim answers": (answering_once(b"HTTP/1.1 102 Processing\r\n\r\n" * 40), "broken"),
    "switches protocols": (answering_once(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), "broken"),
    "never ends": (never_ending, "endless"),
    "says too much": (answering_once(ok(b"fine") + b"HTTP/1.1 200 OK\r\n\r\n"), "answered"),
}


@pytest.mark.parametrize(("script", "outcome"), BAD.values(), ids=BAD.keys())
def test_clients_notice_nothing_of_a_shadow_that(story: Story, script: Callable[[Peer], None], outcome: str) -> None:
    old, new = story.strict(), story.origin(script)
    worker = shadowed(story, old, new, timeout_s=TIMEOUT_S)
    client = story.client(worker)
    for number in range(8):
        assert client.ask(get(f"/{number}")).body == b"GET /%d 0" % number
    if outcome == "timeout":
        wait_until(lambda: sum(b"\r\n\r\n" in peer.got for peer in new.peers) == 8, "the shadow has every copy")
        worker.expire(TIMEOUT_S)
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert sum(worker.count("shadow_requests_total", "all", each) for each in outcome.split(" or ")) == 8
    assert client.ask(get("/after")).body == b"GET /after 0"
    worker.expire(TIMEOUT_S)


@pytest.mark.parametrize("place", [nullcontext(dead_address()), full_backlog()], ids=["refuses", "accepts nothing"])
def test_clients_notice_nothing_of_a_shadow_that_cannot_be_reached(
        story: Story, place: AbstractContextManager[Address]) -> None:
    with place as address:
        old = story.strict()
        worker = shadowed(story, old, address, timeout_s=TIMEOUT_S, timeouts={"connect": 0.2})
        client = story.client(worker)
        for number in range(8):
            assert client.ask(get(f"/{number}")).body == b"GET /%d 0" % number
        worker.wait_until(lambda worker: worker.shadows.is_quiet)
        assert worker.count("shadow_requests_total", "all", "connect") == 8


def test_no_more_copies_than_allowed_wait_for_a_silent_shadow(story: Story) -> None:
    old, new = story.strict(), story.origin(silent)
    worker = shadowed(story, old, new, in_flight=3, timeout_s=TIMEOUT_S)
    client = story.client(worker)
    for number in range(10):
        client.ask(get(f"/{number}"))
    assert worker.count("shadow_skipped_total", "all", "in_flight") == 7
    assert new.connections <= 3
    worker.expire(TIMEOUT_S)
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert worker.count("shadow_requests_total", "all", "timeout") == 3


def test_an_idle_connection_that_the_shadow_closed_says_nothing_about_it(story: Story) -> None:
    def once_each(peer: Peer) -> None:
        peer.read_head()
        peer.send(ok(b"x"))
        peer.read_head()        # and hangs up on the second request, as a server does whose keep-alive has run out

    old, new = story.strict(), story.origin(once_each)
    worker = shadowed(story, old, new)
    client = story.client(worker)
    for number in range(6):
        client.ask(get(f"/{number}"))
        worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert worker.count("shadow_requests_total", "all", "answered") == 6


def test_the_clients_answer_may_be_the_last_to_come(story: Story) -> None:
    def slow(peer: Peer) -> None:
        while peer.read_head():
            new.wait_requests(1)
            worker.wait_until(lambda worker: not any(budget.copies for budget in worker.shadows._budgets.values()))
            peer.send(ok(b"at last"))

    old, new = story.origin(slow), story.strict()
    worker = shadowed(story, old, new)
    assert story.client(worker).ask(get("/")).body == b"at last"


def test_a_worker_that_leaves_does_not_wait_for_a_shadow(story: Story) -> None:
    old, new = story.strict(), story.origin(silent)
    worker = shadowed(story, old, new)
    with worker.connect() as client:
        client.ask(get("/"))
    new.wait_until(lambda: new.connections == 1)
    assert worker.drain(10.0) == 0
    new.wait_ended(1)


def test_a_failing_primary_leaves_no_copy_behind(story: Story) -> None:
    def fails(peer: Peer) -> None:
        peer.read_head()

    old, new = story.origin(fails), story.strict()
    worker = shadowed(story, old, new)
    assert worker.ask(get("/")).status == 502
    worker.wait_until(lambda worker: worker.shadows.is_quiet)


