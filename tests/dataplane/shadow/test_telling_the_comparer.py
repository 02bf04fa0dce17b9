"""What the comparer is told of both answers, and what never leaves the worker."""

from __future__ import annotations

import gzip
import json
import os
import socket
import threading
import uuid
import zlib
from collections.abc import Callable, Iterator

import pytest

from proxy.comparison.answers import answer_of
from proxy.core.compare.pair import CompiledRules, compare
from proxy.core.compare.values import Difference, Kind, Rules
from proxy.dataplane.shadow.chores import Chores
from proxy.dataplane.worker import Worker
from proxy.ipc.pairs import Answered
from tests.support.origins import Origin, Peer, answering, ok, silent
from tests.support.packing import CODINGS, packed
from tests.support.shadowing import Listener, shadow_snapshot, shadowed
from tests.support.story import Story, WatchedWorker, dead_address, get, request
from tests.support.strict import Message
from tests.support.wire import DEADLINE_S, Address

JSON = b"Content-Type: application/json"


@pytest.fixture
def comparer() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


def told(story: Story, comparer: Listener, old: Origin, new: Origin | Address, **options: object) -> WatchedWorker:
    """A worker that has reached the comparer."""
    worker = shadowed(story, old, new, comparer=comparer.address, **options)
    comparer.wait_for_worker()
    return worker


def test_both_answers_are_told_with_their_request(story: Story, comparer: Listener) -> None:
    old = story.strict(lambda _: ok(b'{"a": 1}', JSON))
    new = story.strict(lambda _: b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nX-A: b\r\n\r\n{}")
    worker = told(story, comparer, old, new)
    worker.ask(get("/items/7?x=1"))
    (pair,) = comparer.wait(1)
    assert (pair.route, pair.version, pair.to) == ("all", "old", "new")
    assert (pair.method, pair.target) == (b"GET", b"/items/7?x=1")
    assert pair.id == old.requests[0].value(b"x-request-id")
    assert (pair.primary.status, pair.primary.body, pair.primary.whole) == (200, b'{"a": 1}', True)
    assert (pair.shadow.status, pair.shadow.body, pair.shadow.whole) == (404, b"{}", True)
    assert b"\r\nX-A: b\r\n" in pair.shadow.head
    assert 0 < pair.primary.took_s < 10 > pair.shadow.took_s > 0
    assert pair.control is None
    assert (pair.head, pair.body) == (b"", b"")


def test_bodies_that_are_all_the_same_are_left_out(story: Story, comparer: Listener) -> None:
    worker = told(story, comparer, story.strict(), story.strict(), control=True)
    worker.ask(get())
    (pair,) = comparer.wait(1)
    assert pair.control is not None
    assert (pair.primary.body, pair.shadow.body, pair.control.body) == (b"", b"", b"")
    assert pair.primary.whole


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-T: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nabcdefg",
])
def test_bodies_are_told_without_their_framing(story: Story, comparer: Listener, answer: bytes) -> None:
    worker = told(story, comparer, story.origin(answering(answer)), story.strict())
    worker.ask(get())
    (pair,) = comparer.wait(1)
    assert (pair.primary.body, pair.shadow.body) == (b"abcdefg", b"GET / 0")


def test_a_body_that_ends_with_the_connection_is_told_too(story: Story, comparer: Listener) -> None:
    def until_close(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n", b"abc", b"def")

    worker = told(story, comparer, story.strict(), story.origin(until_close))
    worker.ask(get())
    (pair,) = comparer.wait(1)
    assert (pair.primary.body, pair.shadow.body, pair.shadow.whole) == (b"GET / 0", b"abcdef", True)


def test_answers_without_a_body_are_told(story: Story, comparer: Listener) -> None:
    worker = told(story, comparer, story.strict(), story.strict())
    worker.ask(request("HEAD", "/x"), b"HEAD")
    (pair,) = comparer.wait(1)
    assert (pair.method, pair.primary.body, pair.shadow.body) == (b"HEAD", b"", b"")


def test_large_answers_are_told_as_not_whole(story: Story, comparer: Listener) -> None:
    large = ok(b"x" * 5_000)
    worker = told(story, comparer, story.strict(lambda _: large), story.strict(lambda _: large),
                  compare='{"max_body": 4000}')
    assert len(worker.ask(get()).body) == 5_000
    (pair,) = comparer.wait(1)
    assert (pair.primary.whole, pair.primary.body, pair.shadow.whole, pair.shadow.body) == (False, b"", False, b"")


def test_nothing_is_told_where_nothing_is_compared(story: Story, comparer: Listener) -> None:
    old, new = story.strict(), story.strict()
    worker = told(story, comparer, old, new, compare=None)
    worker.ask(get("/quiet"))
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    worker.apply(shadow_snapshot(old, new, comparer=comparer.address, revision=2))
    worker.ask(get("/told"))
    assert [pair.target for pair in comparer.wait(1)] == [b"/told"]


def test_secrets_never_leave_the_worker(story: Story, comparer: Listener) -> None:
    def answer(message: Message) -> bytes:
        return ok(b'{"user": {"password": "hush-1"}, "token": "hush-2", "n": 1}', JSON,
                  b"Set-Cookie: session=hush-3; Path=/", b"X-Api-Key: hush-4", b"Location: /x?access_token=hush-5")

    worker = told(story, comparer, story.strict(answer), story.strict(answer), methods=("POST",))
    comparer.want("all")
    worker.wait_until(lambda worker: bool(worker.shadows.line.requests_of))
    worker.ask(request("POST", "/x?api_key=hush-6", "Cookie: session=hush-7", "Authorization: Bearer hush-8",
                       JSON.decode(), body=b'{"credit_card": "hush-9"}'), b"POST")
    (pair,) = comparer.wait(1)
    assert b"hush" not in repr(pair).encode()
    assert b'"n": 1' in pair.primary.body
    assert pair.primary.body == pair.shadow.body, "equal values stay equal"
    assert b"\r\nCookie: session=<redacted" in pair.head
    assert b"credit_card" in pair.body


@pytest.mark.parametrize("name", [b"X-Pin", b"X-User-SSN", b"X-Pwd", b"X-Card-Number", b"Set-Cookie", b"X-Bearer"])
def test_every_header_that_holds_a_secret_is_cleaned_also_beside_known_ones(
        story: Story, comparer: Listener, name: bytes) -> None:
    answers = iter([ok(b"a", b"X-Plain: 1"), ok(b"b", b"X-Plain: 1", name + b": hush", b"X-Plain-2: shown")])
    worker = told(story, comparer, story.strict(), story.strict(lambda _: next(answers)))
    worker.ask(get())
    worker.ask(get())
    head = b"".join(pair.shadow.head for pair in comparer.wait(2))
    assert b"hush" not in head
    assert b"\r\nX-Plain-2: shown\r\n" in head
    assert b"\r\n" + name + b": <redacted " in head


@pytest.mark.parametrize("coding", CODINGS)
def test_secrets_in_compressed_bodies_do_not_leave_either(story: Story, comparer: Listener, coding: str) -> None:
    plain = b'{"password": "hush", "n": 1}'
    one = ok(packed(coding, plain), b"Content-Encoding: " + coding.encode(), JSON)
    other = ok(zlib.compress(plain, 1), b"Content-Encoding: deflate", JSON)
    worker = told(story, comparer, story.strict(lambda _: one), story.strict(lambda _: other))
    worker.ask(get("/", "Accept-Encoding: *"))
    (pair,) = comparer.wait(1)
    assert pair.primary.body == pair.shadow.body
    assert b'"n": 1' in pair.primary.body
    assert b"hush" not in pair.primary.body


@pytest.mark.parametrize("coding", [b"br", b"gzip", b"zstd", b"dcb"])
def test_what_cannot_be_decoded_is_not_told(story: Story, comparer: Listener, coding: bytes) -> None:
    coded = ok(b"\x8b\x04\x80password=hush", b"Content-Encoding: " + coding)
    worker = told(story, comparer, story.strict(lambda _: coded), story.strict())
    worker.ask(get())
    (pair,) = comparer.wait(1)
    assert b"hush" not in pair.primary.body


@pytest.mark.parametrize(("coding", "first", "second", "kind"), [
    ("gzip", gzip.compress(b'{"a": 1}', mtime=0), gzip.compress(b'{"a": 1}', mtime=0)[:-9], "encoding"),
    ("deflate", zlib.compress(b'{"a": 1}'), b"\x78\x9cbroken", "encoding"),
    ("br", packed("br", b'{"a": 1}'), b"\x8b\x04\x80two", "encoding"),
    ("dcb", b"\x8b\x04\x80one", b"\x8b\x04\x80two", "bytes"),
], ids=["gzip", "deflate", "br", "unknown"])
def test_a_body_that_cannot_be_decoded_differs_from_one_that_is_another(
        story: Story, comparer: Listener, coding: str, first: bytes, second: bytes, kind: str) -> None:
    old, new = (ok(body, b"Content-Encoding: " + coding.encode(), JSON) for body in (first, second))
    worker = told(story, comparer, story.strict(lambda _: old), story.strict(lambda _: new))
    worker.ask(get())
    (pair,) = comparer.wait(1)
    found = compare(CompiledRules(Rules()), answer_of(pair.primary), answer_of(pair.shadow))
    assert [(each.path, each.kind) for each in found.differences] == [("body", kind)]
    assert kind == "encoding" or found.differences[0].shadow == "dcb: not decoded", "no digest"


def test_a_body_whose_coding_stands_in_a_second_field_is_decoded(story: Story, comparer: Listener) -> None:
    zipped = gzip.compress(b'{"password": "hush", "n": 1}')
    worker = told(story, comparer, story.strict(), story.strict(
        lambda _: ok(zipped, b"Content-Encoding: identity", b"Content-Encoding: gzip", JSON)))
    worker.ask(get())
    (pair,) = comparer.wait(1)
    assert b'"n": 1' in pair.shadow.body
    assert b"hush" not in pair.shadow.body


def wanted(story: Story, comparer: Listener, **options: object) -> WatchedWorker:
    """A worker whose comparer wants to see requests."""
    worker = told(story, comparer, story.strict(), story.strict(), methods=("GET", "POST"), **options)
    comparer.want("all")
    worker.wait_until(lambda worker: bool(worker.shadows.line.requests_of))
    return worker


def test_a_requests_body_is_told_without_its_framing_which_could_cut_a_secret(
        story: Story, comparer: Listener) -> None:
    worker = wanted(story, comparer)
    worker.ask(request("POST", "/x", "Transfer-Encoding: chunked", "Trailer: X-T")
               + b'7\r\n{"passw\r\n11\r\nord": "hush", "a"\r\n4\r\n: 1}\r\n0\r\nX-T: hush\r\n\r\n', b"POST")
    (pair,) = comparer.wait(1)
    assert b"hush" not in repr(pair).encode()
    assert pair.body.endswith(b', "a": 1}')


def test_a_compressed_body_of_a_request_is_decoded_before_it_is_told(story: Story, comparer: Listener) -> None:
    worker = wanted(story, comparer)
    worker.ask(request("POST", "/x", "Content-Encoding: gzip", body=gzip.compress(b'{"password": "hush", "a": 1}')),
               b"POST")
    (pair,) = comparer.wait(1)
    assert pair.body.endswith(b', "a": 1}')
    assert b"hush" not in pair.body
    assert b"content-encoding" not in pair.head.lower(), "the body that is told has none"


@pytest.mark.parametrize(("fields", "body", "reason"), [
    ((), b"x" * 70_000, "streamed"),
    (("Content-Type: application/json",), b'{"password": "hush"}' * 2_000, "costly"),
    (("Content-Encoding: gzip",), gzip.compress(bytes(200_000)), "costly"),
    (("Content-Encoding: dcb",), b"\x8b\x04\x80", "coding"),
    (("Content-Encoding: gzip",), b"no gzip", "coding"),
], ids=["streamed", "too many secrets", "a bomb", "an unknown coding", "a broken coding"])
def test_a_requests_body_that_is_left_out_is_told_with_the_reason(
        story: Story, comparer: Listener, fields: tuple[str, ...], body: bytes, reason: str) -> None:
    worker = wanted(story, comparer, max_body=100_000)
    worker.ask(request("POST", "/x", *fields, body=body), b"POST")
    (pair,) = comparer.wait(1)
    assert (pair.body, pair.body_left_out) == (b"", reason)
    assert all(field.encode() in pair.head for field in fields), "it is as the client sent it"


def test_a_request_without_a_body_leaves_none_out(story: Story, comparer: Listener) -> None:
    worker = wanted(story, comparer)
    worker.ask(get())
    worker.ask(request("POST", "/x", body=b"kept"), b"POST")
    assert [(pair.body, pair.body_left_out) for pair in comparer.wait(2)] == [(b"", ""), (b"kept", "")]


def test_what_is_set_on_copies_is_nobodys_business(story: Story, comparer: Listener) -> None:
    worker = wanted(story, comparer, set_headers=(("X-Staging", "hush"),))
    worker.ask(get("/", "X-Plain: shown"))
    (pair,) = comparer.wait(1)
    assert b"hush" not in pair.head
    assert b"X-Plain: shown" in pair.head


def test_of_an_answer_that_is_too_large_not_even_the_end_is_told(story: Story, comparer: Listener) -> None:
    def in_two_pieces(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5004\r\n\r\n", bytes(5_000))
        assert got.wait(DEADLINE_S)
        peer.send(b"hush")
        peer.read_to_end()

    got = threading.Event()
    worker = told(story, comparer, story.origin(in_two_pieces), story.strict(), compare='{"max_body": 4000}')
    with worker.connect() as client:
        client.send(get())
        client.read_until(bytes(5_000))
        got.set()
        client.read_until(b"hush")
        (pair,) = comparer.wait(1)
    assert (pair.primary.body, pair.primary.whole) == (b"", False)


@pytest.mark.parametrize(("body", "kind", "coding"), [
    (b"[" + b",".join([b'{"token": "hush"}'] * 5_000) + b"]", "application/json", ""),
    (b"x" * 600_000, "application/json", ""),
    (os.urandom(300_000).hex().encode(), "application/json", "gzip"),
    (os.urandom(600_000), "application/json", "dcb"),
    (b"".join(b"k%d: v\n" % n for n in range(10_000)), "text/plain", ""),
    (b"--b\r\n\r\n" * 10_000, "multipart/form-data; boundary=b", ""),
    (b"http://a:b@c/?x=y " * 5_000, "text/plain", ""),
    (b"<" * 100_000, "text/html", ""),
    (b"a=b&" * 20_000, "", ""),
], ids=["secrets", "long", "packed and long", "long and unknown", "lines", "parts", "URLs", "markup", "a form"])
def test_a_body_that_takes_too_long_to_clean_is_not_told_but_that_it_does(
        story: Story, comparer: Listener, body: bytes, kind: str, coding: str) -> None:
    fields = [f"{name}: {value}".encode() for name, value in (("Content-Type", kind), ("Content-Encoding", coding))
              if value]
    costly = ok(packed("gzip", body) if coding == "gzip" else body, *fields)
    worker = told(story, comparer, story.strict(), story.strict(lambda _: costly), compare='{"max_body": 4000000}')
    worker.ask(get())
    (pair,) = comparer.wait(1)
    assert (pair.shadow.status, pair.shadow.body, pair.shadow.whole) == (200, b"too-costly", False)
    found = compare(CompiledRules(Rules()), answer_of(pair.primary), answer_of(pair.shadow))
    assert found.skipped == "too-costly"


def test_other_work_comes_between_the_bodies_of_a_pair(
        story: Story, comparer: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[object] = []
    add = Chores.add

    def counted(chores: Chores, work: Callable[[], None]) -> None:
        steps.append(work)
        add(chores, work)

    monkeypatch.setattr(Chores, "add", counted)
    answers = iter([ok(packed("gzip", b"first"), b"Content-Encoding: gzip"), ok(b"again")])
    worker = told(story, comparer, story.strict(lambda _: next(answers)), story.strict(), control=True)
    worker.ask(get("/", "Accept-Encoding: gzip"))
    comparer.wait(1)
    assert len(steps) == 5, "to unpack one, to clean three, and to tell of them"


def test_honest_bodies_of_a_quarter_of_a_mebibyte_are_told(story: Story, comparer: Listener) -> None:
    honest = json.dumps([{"id": n, "name": f"item {n}", "tags": ["a", "b"]} for n in range(4_000)]).encode()
    worker = told(story, comparer, story.strict(), story.strict(lambda _: ok(honest, JSON)))
    worker.ask(get())
    (pair,) = comparer.wait(1)
    assert (pair.shadow.body, pair.shadow.whole) == (honest, True)


def test_a_bomb_is_not_unpacked(story: Story, comparer: Listener) -> None:
    bomb = ok(gzip.compress(bytes(20_000_000)), b"Content-Encoding: gzip")
    worker = told(story, comparer, story.strict(), story.strict(lambda _: bomb))
    worker.ask(get())
    (pair,) = comparer.wait(1)
    assert (pair.shadow.body, pair.shadow.whole) == (b"too-large", False)


def test_with_a_control_a_coding_that_only_the_copy_names_is_told(story: Story, comparer: Listener) -> None:
    """The same bytes: whoever believes the copy's field cannot read them."""
    plain, misnamed = ok(b'{"a": 1}', JSON), ok(b'{"a": 1}', b"Content-Encoding: gzip", JSON)
    worker = told(story, comparer, story.strict(lambda _: plain), story.strict(lambda _: misnamed), control=True)
    worker.ask(get())
    (pair,) = comparer.wait(1)
    found = compare(CompiledRules(Rules()), answer_of(pair.primary), answer_of(pair.shadow))
    assert [(each.path, each.kind) for each in found.differences] == [("body", "encoding")]


def test_with_a_control_the_version_that_answered_is_asked_again(story: Story, comparer: Listener) -> None:
    old = story.strict(lambda message: ok(b"again" if message.values(b"x-turnout-shadow") else b"first"))
    new = story.strict(lambda _: ok(b"new"))
    worker = told(story, comparer, old, new, control=True)
    assert worker.ask(get()).body == b"first"
    (pair,) = comparer.wait(1)
    assert pair.control is not None
    assert (pair.primary.body, pair.control.body, pair.shadow.body) == (b"first", b"again", b"new")


def test_a_control_that_fails_leaves_the_pair(story: Story, comparer: Listener) -> None:
    def once(peer: Peer) -> None:
        if peer.read_head() and b"X-Turnout-Shadow" not in peer.got:
            peer.send(ok(b"old"))
            peer.read_to_end()

    worker = told(story, comparer, story.origin(once), story.strict(), control=True)
    worker.ask(get())
    (pair,) = comparer.wait(1)
    assert (pair.primary.body, pair.control) == (b"old", None)


def test_a_request_that_no_server_answered_the_client_is_counted_and_not_told(story: Story, comparer: Listener) -> None:
    worker = told(story, comparer, story.origin(answering(b"nonsense\r\n\r\n")), story.strict())
    worker.ask(get())
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert worker.count("shadow_skipped_total", "all", "no_answer") == 1
    assert comparer.pairs == []


def closes(peer: Peer) -> None:
    peer.read_head()


def stops_within_the_body(peer: Peer) -> None:
    peer.read_head()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it is no answer")


@pytest.mark.parametrize(("script", "outcome"), [
    (closes, "closed"), (stops_within_the_body, "closed"), (answering(b"nonsense\r\n\r\n"), "broken"),
    (silent, "timeout"), (None, "connect"),
], ids=["closes", "stops within the body", "garbage", "silent", "refuses"])
@pytest.mark.parametrize("control", [False, True])
def test_a_shadow_that_does_not_answer_differs_from_who_did(
        story: Story, comparer: Listener, script: Callable[[Peer], None] | None, outcome: str, control: bool) -> None:
    new = dead_address() if script is None else story.origin(script)
    worker = told(story, comparer, story.strict(), new, control=control, timeout_s=5.0)
    worker.ask(get())
    if script is silent:
        assert isinstance(new, Origin)
        new.wait_until(lambda: any(b"\r\n\r\n" in peer.got for peer in new.peers))
        worker.expire(5.0)
    (pair,) = comparer.wait(1)
    assert pair.shadow == Answered(0, b"", outcome.encode(), True, 0.0)
    assert (pair.primary.status, pair.control is not None) == (200, control)
    found = compare(CompiledRules(Rules(ignore=("status",))), answer_of(pair.primary), answer_of(pair.shadow))
    assert found.differences == (Difference("status", Kind.NO_ANSWER, "200", f"no answer: {outcome}"),)
    assert worker.count("shadow_requests_total", "all", outcome) == 1


def test_what_the_client_would_not_finish_is_not_laid_at_the_shadows_door(story: Story, comparer: Listener) -> None:
    """The copy's time is over before all of its body has come."""
    old, new = story.strict(), story.origin(silent)
    worker = told(story, comparer, old, new, methods=("GET", "POST"), max_body=100_000, timeout_s=5.0)
    with worker.connect() as client:
        client.send(request("POST", "/slow", body=b"x" * 70_000)[:-1])
        new.wait_until(lambda: any(len(peer.got) > 1_000 for peer in new.peers))
        worker.pass_time(5.0)
        worker.wait_until(lambda worker: all(not budget.copies for budget in worker.shadows._budgets.values()))
        client.send(b"x")
        assert client.response(b"POST").status == 200
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert worker.count("shadow_requests_total", "all", "timeout") == 1
    worker.ask(get("/after"))
    new.wait_until(lambda: any(b"/after" in peer.got for peer in new.peers))
    worker.expire(5.0)
    assert [pair.target for pair in comparer.wait(1)] == [b"/after"]


def test_without_a_comparer_pairs_are_counted_as_lost(story: Story) -> None:
    worker = shadowed(story, story.strict(), story.strict())
    worker.ask(get())
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert worker.count("shadow_skipped_total", "all", "comparer_busy") == 1


def test_a_comparer_that_does_not_read_costs_pairs_and_nothing_else(story: Story) -> None:
    body, other = ok(b"x" * 200_000), ok(b"y" * 200_000)
    with socket.socket(socket.AF_UNIX) as deaf:
        address = f"turnout-test-{uuid.uuid4().hex}"
        deaf.bind("\0" + address)
        deaf.listen(1)      # the kernel connects; nobody ever reads
        worker = shadowed(story, story.strict(lambda _: body), story.strict(lambda _: other), comparer=address)
        worker.wait_until(lambda worker: worker.shadows.line._transport is not None)
        client = story.client(worker)
        for _ in range(40):
            assert len(client.ask(get()).body) == 200_000
        worker.wait_until(lambda worker: worker.shadows.is_quiet)
        assert worker.count("shadow_skipped_total", "all", "comparer_busy") >= 20


def test_pairs_that_wait_for_a_comparer_that_dies_are_counted_as_lost(story: Story) -> None:
    body, other = ok(b"x" * 200_000), ok(b"y" * 200_000)
    with socket.socket(socket.AF_UNIX) as deaf:
        address = f"turnout-test-{uuid.uuid4().hex}"
        deaf.bind("\0" + address)
        deaf.listen(1)
        worker = shadowed(story, story.strict(lambda _: body), story.strict(lambda _: other), comparer=address)
        worker.wait_until(lambda worker: worker.shadows.line._transport is not None)
        client = story.client(worker)
        for _ in range(8):
            client.ask(get())
        worker.wait_until(lambda worker: worker.shadows.is_quiet)
        assert worker.count("shadow_skipped_total", "all", "comparer_busy") == 0
    worker.wait_until(lambda worker: worker.shadows.line._transport is None)
    assert worker.count("shadow_skipped_total", "all", "comparer_busy") >= 6    # it was written one or two of them


def test_pairs_that_are_not_told_when_the_worker_leaves_are_counted_as_lost(story: Story, comparer: Listener) -> None:
    def have_no_time(worker: Worker) -> None:
        worker.shadows.chores._timer = worker.loop.call_later(3600, lambda: None)

    worker = told(story, comparer, story.strict(), story.strict())
    worker.call(have_no_time)
    with worker.connect() as client:
        for _ in range(3):
            client.ask(get())
    worker.wait_until(lambda worker: len(worker.shadows.chores._waiting) == 3)
    assert worker.drain(5.0) == 0
    assert worker.count("shadow_skipped_total", "all", "comparer_busy") == 3
    assert comparer.pairs == []


def test_a_comparer_that_comes_back_is_found_again(story: Story) -> None:
    old, new = story.strict(), story.strict()
    with Listener() as first:
        worker = told(story, first, old, new)
        worker.ask(get("/first"))
        first.wait(1)
    worker.wait_until(lambda worker: worker.shadows.line._transport is None)
    with Listener() as second:
        worker.apply(shadow_snapshot(old, new, comparer=second.address, revision=2))
        second.wait_for_worker()
        worker.ask(get("/second"))
        assert [pair.target for pair in second.wait(1)] == [b"/second"]


def test_a_comparer_that_ends_late_takes_no_successor_with_it(story: Story, comparer: Listener) -> None:
    old, new = story.strict(lambda _: ok(b"x" * 200_000)), story.strict(lambda _: ok(b"y" * 200_000))
    with socket.socket(socket.AF_UNIX) as deaf:
        address = f"turnout-test-{uuid.uuid4().hex}"
        deaf.bind("\0" + address)
        deaf.listen(1)
        worker = shadowed(story, old, new, comparer=address)
        worker.wait_until(lambda worker: worker.shadows.line._transport is not None)
        for _ in range(4):
            worker.ask(get())
        worker.wait_until(lambda worker: worker.shadows.is_quiet)
        before = worker.call(lambda worker: worker.shadows.line._transport)
        assert before is not None
        worker.apply(shadow_snapshot(old, new, comparer=comparer.address, revision=2))
        comparer.wait_for_worker()
        assert worker.call(lambda _: before.get_write_buffer_size()) > 0, "it has not ended yet"
        worker.wait_until(lambda worker: worker.shadows.line._transport is not None)
        after = worker.call(lambda worker: worker.shadows.line._transport)
    worker.wait_until(lambda _: before.get_write_buffer_size() == 0)
    worker.settle()
    assert worker.call(lambda worker: worker.shadows.line._transport) is after


@pytest.mark.parametrize("nonsense", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x02xx"])
def test_a_comparer_that_talks_nonsense_is_hung_up_on(story: Story, comparer: Listener, nonsense: bytes) -> None:
    worker = told(story, comparer, story.strict(), story.strict())
    comparer.say(nonsense)
    worker.wait_until(lambda worker: worker.shadows.line._transport is None)
    assert worker.ask(get()).status == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_nobody_but_the_own_user_is_told_anything(story: Story) -> None:
    with socket.socket(socket.AF_UNIX) as foreign:
        address = f"turnout-test-{uuid.uuid4().hex}"
        foreign.bind("\0" + address)
        child = os.fork()
        if child == 0:                      # who listens is who is asked for by the other side
            os.setuid(65534)
            foreign.listen(8)
            os._exit(0)
        os.waitpid(child, 0)
        worker = shadowed(story, story.strict(), story.strict(), comparer=address)
        foreign.settimeout(DEADLINE_S)
        peer, _ = foreign.accept()
        worker.ask(get())
        assert peer.recv(1) == b""
        peer.close()
        worker.wait_until(lambda worker: worker.shadows.is_quiet)
        assert worker.count("shadow_skipped_total", "all", "comparer_busy") == 1


def test_requests_are_told_only_of_routes_whose_requests_are_wanted(story: Story, comparer: Listener) -> None:
    worker = told(story, comparer, story.strict(), story.strict())
    comparer.want("another")
    worker.wait_until(lambda worker: bool(worker.shadows.line.requests_of))
    worker.ask(get())
    assert comparer.wait(1)[0].head == b""
