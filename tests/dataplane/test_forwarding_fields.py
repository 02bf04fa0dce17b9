"""What servers and clients are told about each other, and what they are not."""

from __future__ import annotations

import pytest

from tests.support.origins import answering, ok
from tests.support.story import Story, get, request

LOCAL = ("127.0.0.0/8",)


def test_claims_of_strangers_are_replaced(story: Story) -> None:
    origin = story.strict()
    story.worker(origin).ask(get("/", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil",
                                 "X-Forwarded-User: root", "X_Forwarded_For: 5.6.7.8", "Forwarded: for=1.2.3.4",
                                 "X-Real-IP: 1.2.3.4", "X-Request-Id: mine"))
    seen = origin.requests[0]
    assert seen.value(b"x-forwarded-for") == b"127.0.0.1"
    assert seen.value(b"x-forwarded-proto") == b"http"
    assert seen.value(b"x-forwarded-host") == b"shop.example"
    assert seen.value(b"via") == b"1.1 turnout"
    for name in (b"x-forwarded-user", b"x_forwarded_for", b"forwarded", b"x-real-ip"):
        assert seen.values(name) == []
    given = seen.value(b"x-request-id")
    assert given is not None
    assert given != b"mine"


def test_a_trusted_proxy_is_believed_and_continued(story: Story) -> None:
    origin = story.strict()
    story.worker(origin, trusted=LOCAL).ask(get("/", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https",
                                                "X-Forwarded-Host: real.example", "X-Request-Id: theirs"))
    seen = origin.requests[0]
    assert seen.value(b"x-forwarded-for") == b"1.2.3.4, 127.0.0.1"
    assert seen.value(b"x-forwarded-proto") == b"https"
    assert seen.value(b"x-forwarded-host") == b"real.example"
    assert seen.value(b"x-request-id") == b"theirs"


def test_every_request_has_an_id_of_its_own(story: Story) -> None:
    origin = story.strict()
    client = story.client(story.worker(origin))
    for _ in range(20):
        client.ask(get())
    assert len({message.value(b"x-request-id") for message in origin.requests}) == 20


def test_an_unusable_id_of_a_trusted_proxy_is_replaced(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin, trusted=LOCAL)
    worker.ask(get("/", "X-Request-Id: " + "x" * 500))
    given = origin.requests[0].value(b"x-request-id")
    assert given is not None
    assert len(given) < 129


def test_via_of_others_stays(story: Story) -> None:
    origin = story.strict()
    story.worker(origin).ask(get("/", "Via: 1.0 fred"))
    assert origin.requests[0].values(b"via") == [b"1.0 fred", b"1.1 turnout"]


def test_hop_by_hop_fields_end_here_in_requests(story: Story) -> None:
    origin = story.strict()
    story.worker(origin).ask(get("/", "Connection: keep-alive, X-Private, Cookie, Host", "Keep-Alive: timeout=5",
                                 "X-Private: secret", "Proxy-Connection: keep-alive", "Cookie: a=b", "X-Public: yes",
                                 "TE: gzip", "Trailer: X-Sum", "Upgrade: h2c", "HTTP2-Settings: AAA"))
    seen = origin.requests[0]
    for name in (b"connection", b"keep-alive", b"x-private", b"proxy-connection", b"te", b"trailer", b"upgrade",
                 b"http2-settings"):
        assert seen.values(name) == [], name
    assert seen.value(b"cookie") == b"a=b"
    assert seen.value(b"x-public") == b"yes"
    assert seen.value(b"host") == b"shop.example"


def test_hop_by_hop_fields_end_here_in_answers(story: Story) -> None:
    origin = story.origin(answering(ok(b"x", b"Connection: X-Private", b"X-Private: 1", b"Keep-Alive: timeout=5",
                                       b"Proxy-Connection: x", b"X-Public: yes",
                                       b"Set-Cookie: a=1", b"Set-Cookie: b=2")))
    answer = story.worker(origin).ask(get())
    for name in (b"connection", b"x-private", b"keep-alive", b"proxy-connection"):
        assert answer.values(name) == [], name
    assert answer.value(b"x-public") == b"yes"
    assert answer.values(b"set-cookie") == [b"a=1", b"b=2"]


@pytest.mark.parametrize("target", [
    "//", "///a//b", "/%zz", "/%00%ff", "/a/../b", "/./a", "/a;b=c;d", "/?", "/??", "/?a=b&c", "/a?b/../c",
    "/~'()*!$&,", "/a\"b<c>`{|}^[]\\", "/" + "x" * 8000, "/?" + "%41" * 1000, "/:80", "/@host", "/http://other/",
])
def test_target_bytes_pass_exactly_as_they_came(story: Story, target: str) -> None:
    origin = story.strict()
    story.worker(origin).ask(get(target))
    assert origin.requests[0].target == target.encode()


@pytest.mark.parametrize(("target", "passed"), [
    ("http://shop.example/a?b", "/a?b"), ("http://shop.example", "/"), ("http://SHOP.example?x", "/?x"),
    ("HTTP://shop.example//", "//"),
])
def test_an_absolute_target_is_reduced_to_its_path(story: Story, target: str, passed: str) -> None:
    origin = story.strict()
    story.worker(origin).ask(get(target))
    assert (origin.requests[0].target, origin.requests[0].value(b"host")) in (
        (passed.encode(), b"shop.example"), (passed.encode(), b"SHOP.example"))


def test_an_absolute_target_for_another_host_is_refused(story: Story) -> None:
    assert story.worker(story.strict()).ask(get("http://other.example/")).status == 400


def test_options_for_the_server_itself(story: Story) -> None:
    origin = story.strict()
    worker = story.worker(origin)
    worker.ask(request("OPTIONS", "*"), b"OPTIONS")
    worker.ask(request("OPTIONS", "http://shop.example"), b"OPTIONS")
    assert [message.target for message in origin.requests] == [b"*", b"*"]


def test_odd_spellings_of_fields_pass_as_they_came(story: Story) -> None:
    origin = story.strict()
    raw = b"GET / HTTP/1.1\r\nhOsT: shop.example\r\nX-Odd:\r\nx-ODD:  spaced  \r\nX-Bytes: \xc3\xa9\xff\r\n\r\n"
    story.worker(origin).ask(raw)
    assert b"\r\nX-Odd:\r\nx-ODD:  spaced  \r\nX-Bytes: \xc3\xa9\xff\r\n" in origin.requests[0].raw


def test_answers_pass_byte_for_byte(story: Story) -> None:
    raw = (b"HTTP/1.1 299 All Sorts\r\nDate: x\r\nX-Odd:\r\nx-ODD:  spaced\r\nContent-Length: 3\r\n"
           b"X-Bytes: \xff\r\n\r\nabc")
    assert story.worker(story.origin(answering(raw))).ask(get()).raw == raw
