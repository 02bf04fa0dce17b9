"""Requests of one client address at a rate: over it 429, and neither servers nor other clients notice."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dataplane.admission import key_of
from tests.support.story import Story, get, request
from tests.support.worker import a_snapshot

LOCAL = ("127.0.0.0/8",)
THREE = {"client_rate": 0.01, "client_burst": 3}
"""Three at once, and no other in the time of a test."""


def statuses(client: object, count: int, *fields: str) -> list[int]:
    return [client.ask(get("/", *fields)).status for _ in range(count)]  # type: ignore[attr-defined]


def test_beyond_its_burst_a_client_is_told_when_to_come_again_and_no_server_is_asked(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin, limits=THREE)
    client = story.client(worker)
    assert statuses(client, 3) == [200, 200, 200]
    refused = client.ask(get("/again"))
    assert refused.status == 429
    assert 98 <= int(refused.value(b"retry-after") or 0) <= 100
    assert json.loads(refused.body)["culprit"] == "client"
    assert refused.value(b"connection") is None
    assert len(origin.requests) == 3


def test_it_is_served_again_on_the_same_connection_when_it_has_waited(story: Story) -> None:
    worker = story.worker(story.strict(), limits=THREE)
    client = story.client(worker)
    assert statuses(client, 4) == [200, 200, 200, 429]
    worker.pass_time(100)
    # Older connections may not be idle for so long; it is the address that counts.
    assert statuses(story.client(worker), 2) == [200, 429]


def test_other_connections_of_the_same_address_share_its_burst_and_other_addresses_do_not(story: Story) -> None:
    worker = story.worker(story.strict(), limits=THREE, trusted=LOCAL)
    first, second = story.client(worker), story.client(worker)
    assert statuses(first, 2, "X-Forwarded-For: 192.0.2.1") == [200, 200]
    assert statuses(second, 2, "X-Forwarded-For: 192.0.2.1") == [200, 429]
    assert statuses(second, 2, "X-Forwarded-For: 192.0.2.2") == [200, 200]


def test_addresses_of_one_ipv6_subscriber_are_one_client(story: Story) -> None:
    client = story.client(story.worker(story.strict(), limits=THREE, trusted=LOCAL))
    asked = [client.ask(get("/", f"X-Forwarded-For: {address}")).status
             for address in ("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", "2001:DB8:0:1::3", "2001:db8::1:0:0:0:4",
                             "2001:db8:0:2::1")]
    assert asked == [200, 200, 200, 429, 200]


@given(st.ip_addresses(v=6), st.ip_addresses(v=6), st.integers(0, 128))
def test_two_ipv6_addresses_are_one_client_exactly_when_their_first_64_bits_agree(
    one: IPv6Address, other: IPv6Address, alike: int,
) -> None:
    low = (1 << (128 - alike)) - 1
    other = IPv6Address((int(one) & ~low) | (int(other) & low))
    if one.ipv4_mapped is None and other.ipv4_mapped is None:
        assert (key_of(str(one)) == key_of(other.exploded)) is (int(one) >> 64 == int(other) >> 64)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_a_client_of_its_own_however_it_is_written(address: IPv4Address) -> None:
    assert key_of(str(address)) == key_of(f"::ffff:{address}") == str(address)


def test_the_zone_of_a_link_local_address_does_not_matter() -> None:
    assert key_of("fe80::1%eth0") == key_of("fe80::2")


def test_ipv4_addresses_written_as_ipv6_are_those_ipv4_addresses(story: Story) -> None:
    client = story.client(story.worker(story.strict(), limits=THREE, trusted=LOCAL))
    asked = [client.ask(get("/", f"X-Forwarded-For: {address}")).status
             for address in ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201", "192.0.2.1", "::ffff:192.0.2.2")]
    assert asked == [200, 200, 200, 429, 200]


@pytest.mark.parametrize("field", [(), ("X-Forwarded-For: who knows",)])
def test_a_trusted_proxy_that_names_nobody_may_speak_for_anybody(story: Story, field: tuple[str, ...]) -> None:
    client = story.client(story.worker(story.strict(), limits=THREE, trusted=LOCAL))
    assert statuses(client, 6, *field) == [200] * 6


def test_what_a_stranger_says_of_its_address_helps_it_not(story: Story) -> None:
    client = story.client(story.worker(story.strict(), limits=THREE))
    asked = [client.ask(get("/", f"X-Forwarded-For: 192.0.2.{number}")).status for number in range(4)]
    assert asked == [200, 200, 200, 429]


def test_clients_on_a_unix_socket_are_not_limited(story: Story, tmp_path: Path) -> None:
    worker = story.worker(story.strict(), limits=THREE, unix_path=str(tmp_path / "s"))
    assert statuses(story.client(worker), 6) == [200] * 6


def test_the_body_of_a_refused_request_is_not_taken_for_the_next_one(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin, limits=THREE)
    client = story.client(worker)
    assert statuses(client, 3) == [200, 200, 200]
    client.send(request("POST", "/", body=get("/smuggled")))
    refused = client.response(b"POST")
    assert (refused.status, refused.value(b"connection")) == (429, b"close")
    client.half_close()
    assert client.is_closed()
    assert len(origin.requests) == 3


def test_an_answer_to_head_has_no_body_and_the_connection_goes_on(story: Story) -> None:
    worker = story.worker(story.strict(), limits=THREE, trusted=LOCAL)
    client = story.client(worker)
    assert statuses(client, 3, "X-Forwarded-For: 192.0.2.1") == [200, 200, 200]
    refused = client.ask(request("HEAD", "/", "X-Forwarded-For: 192.0.2.1"), b"HEAD")
    assert (refused.status, refused.body) == (429, b"")
    assert client.ask(get("/next")).body == b"GET /next 0"


def test_pipelined_requests_are_answered_in_their_order_whatever_becomes_of_them(story: Story) -> None:
    client = story.client(story.worker(story.strict(), limits=THREE))
    client.send(b"".join(get(f"/{number}") for number in range(40)))
    answers = [client.response() for _ in range(40)]
    assert [answer.body for answer in answers[:3]] == [b"GET /0 0", b"GET /1 0", b"GET /2 0"]
    assert {answer.status for answer in answers[3:]} == {429}


def test_refused_requests_are_counted_and_not_as_anybodys_requests(story: Story) -> None:
    worker = story.worker(story.strict(), limits=THREE)
    statuses(story.client(worker), 5)
    assert worker.count("client_limited_total", "rate") == 2
    assert worker.count("refusals_total", "too-many-requests") == 2
    assert worker.codes() == {200: 3}


def test_a_change_of_the_limit_holds_from_the_next_request_on(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin, limits=THREE)
    client = story.client(worker)
    assert statuses(client, 4)[-1] == 429
    worker.apply(a_snapshot(origin, revision=2))
    assert statuses(client, 4) == [200] * 4
    worker.apply(a_snapshot(origin, limits=THREE, revision=3))
    assert statuses(client, 4) == [200, 200, 200, 429]


def test_a_change_of_something_else_gives_nobody_another_burst(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin, limits=THREE)
    client = story.client(worker)
    assert statuses(client, 2) == [200, 200]
    worker.apply(a_snapshot(origin, limits={**THREE, "connections": 100}, revision=2))
    assert statuses(client, 2) == [200, 429]


def test_clients_of_yesterday_are_forgotten_although_nobody_comes(story: Story) -> None:
    worker = story.worker(story.strict(), limits={"client_rate": 1.0}, trusted=LOCAL)
    client = story.client(worker)
    for number in range(20):
        assert client.ask(get("/", f"X-Forwarded-For: 192.0.2.{number}")).status == 200

    def remembered(w: object) -> int:
        return len(w.admission.rates)  # type: ignore[attr-defined]

    worker.pass_time(2)
    worker.wait_until(lambda w: remembered(w) == 0)
