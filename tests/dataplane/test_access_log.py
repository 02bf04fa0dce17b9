"""The access log: one true JSON line per request, whatever became of it, and never at the cost of one."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from proxy.core.route import Match, Override, Route, Sticky
from proxy.core.snapshot import Snapshot
from tests.support.deadline import wait_until
from tests.support.origins import Origin, Peer, answering, ok
from tests.support.story import Story, WatchedWorker, dead_address, get, request
from tests.support.wire import Address, Wire
from tests.support.worker import a_snapshot, server_at

FIELDS = ["time", "id", "client", "method", "host", "path", "protocol", "route", "version", "reason", "server",
          "attempts", "status", "received_bytes", "sent_bytes", "first_byte_s", "duration_s"]


def logging(snapshot: Snapshot, where: Path | str) -> Snapshot:
    return replace(snapshot, policy=replace(snapshot.policy, access_log=str(where)))


class Logged:
    """A worker with an access log in a file, and the lines in it."""

    def __init__(self, story: Story, *old: Origin | Address, **snapshot: Any) -> None:
        self.path = story.directory / "access.log"
        self.worker: WatchedWorker = story.serving(logging(a_snapshot(*old, **snapshot), self.path))

    def lines(self, count: int) -> list[dict[str, Any]]:
        """All lines, once there are so many."""
        wait_until(lambda: self.path.exists() and self.path.read_bytes().count(b"\n") >= count, f"{count} lines")
        text = self.path.read_bytes()
        assert text.isascii()
        return [json.loads(line) for line in text.splitlines()]

    def line(self) -> dict[str, Any]:
        line, = self.lines(1)
        return line


def test_a_line_says_everything_about_a_request(story: Story) -> None:
    origin = story.strict()
    logged = Logged(story, origin)
    before = datetime.now(UTC)
    client = story.client(logged.worker)
    client.ask(request("POST", "/cart/add?token=secret", body=b"four"))
    line = logged.line()
    assert list(line) == FIELDS
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert abs((datetime.fromisoformat(line["time"]) - before).total_seconds()) < 2
    sent_id, = [value for name, value in origin.requests[0].fields if name.lower() == b"x-request-id"]
    assert line.pop("id") == sent_id.decode()
    assert 0 < line.pop("first_byte_s") <= line.pop("duration_s") < 5
    assert line.pop("time")
    assert line == {
        "client": "127.0.0.1", "method": "POST", "host": "shop.example", "path": "/cart/add", "protocol": "HTTP/1.1",
        "route": "all", "version": "old", "reason": "split", "server": origin.url, "attempts": 1, "status": 200,
        "received_bytes": 4, "sent_bytes": len("POST /cart/add?token=secret 4")}


@pytest.mark.parametrize(("fields", "reason"), [
    ((), "split"), (("X-User: me",), "sticky"), (("X-User: me", "X-Version: new"), "override")])
def test_it_says_why_the_version_was_chosen(story: Story, fields: tuple[str, ...], reason: str) -> None:
    route = Route("shop", Match(), (("old", 50.0), ("new", 50.0)), "old", sticky=Sticky("header", name="X-User"),
                  override=Override(header="X-Version", networks=("127.0.0.0/8",)))
    logged = Logged(story, story.strict(), new=(story.strict(),), routes=(route,))
    logged.worker.ask(get("/", *fields))
    assert logged.line()["reason"] == reason


def test_bytes_are_those_of_bodies_and_the_first_byte_is_not_the_last(story: Story) -> None:
    def slowly(peer: Peer) -> None:
        peer.read_head()
        peer.read_until(b"0\r\n\r\n")
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        peer.read_exactly(0)
        peer.send(b"6\r\n second\r\n0\r\n\r\n".replace(b"6", b"7"))

    logged = Logged(story, story.origin(slowly))
    client = story.client(logged.worker)
    client.send(request("PUT", "/", "Transfer-Encoding: chunked"), b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n")
    assert client.response().body == b"first second"
    line = logged.line()
    assert (line["received_bytes"], line["sent_bytes"]) == (5, 12)
    assert 0 < line["first_byte_s"] <= line["duration_s"]
    assert logged.worker.count("client_sent_bytes_total", "all", "old") > 12, "the framing of chunks included"
    assert logged.worker.count("client_received_bytes_total", "all", "old") > 5


def test_bytes_of_small_messages_are_counted_exactly(story: Story) -> None:
    worker = story.worker(story.origin(answering(ok(b"x" * 100))))
    for _ in range(3):
        worker.ask(request("POST", "/", body=b"y" * 10))
    assert worker.count("client_sent_bytes_total", "all", "old") == 300
    assert worker.count("client_received_bytes_total", "all", "old") == 30


def test_what_was_refused_says_so(story: Story) -> None:
    dead = dead_address()
    logged = Logged(story, dead)
    assert logged.worker.ask(get()).status == 502
    line = logged.line()
    assert (line["status"], line["refused"], line["first_byte_s"]) == (502, "connect-failed", None)
    assert (line["server"], line["version"], line["sent_bytes"]) == (server_at(dead).address, "old", 0)


def test_a_retry_is_one_line_with_two_attempts(story: Story) -> None:
    alive = story.strict()
    logged = Logged(story, dead_address(), alive)
    assert logged.worker.ask(get()).status == 200
    line = logged.line()
    assert (line["attempts"], line["server"], line["status"]) == (2, alive.url, 200)


def test_a_request_without_a_route_has_none_in_its_line(story: Story) -> None:
    route = Route("api", Match(path="/api"), (("old", 1.0),), "old")
    logged = Logged(story, story.strict(), routes=(route,))
    assert logged.worker.ask(get("/other")).status == 404
    line = logged.line()
    assert (line["status"], line["refused"], line["path"]) == (404, "no-route", "/other")
    assert [line[name] for name in ("route", "version", "reason", "server")] == [None] * 4


def test_what_was_no_request_has_a_line_too(story: Story) -> None:
    logged = Logged(story, story.strict())
    logged.worker.ask(b"GET / HTTP/9\r\n\r\n")
    line = logged.line()
    assert (line["client"], line["method"], line["path"], line["refused"]) == ("127.0.0.1", None, None, "bad-request")


@pytest.mark.parametrize("raw", [
    b'GET /"quoted"\\back HTTP/1.1\r\nHost: h\r\n\r\n',
    b'GET / HTTP/1.1\r\nHost: "\\\xff\xc3\xa4\t"\r\n\r\n',
    b'GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: "}\\{"\r\nX-Forwarded-For: fe80::1%"\\\r\n\r\n',
    b'GET /\xff\x80 HTTP/1.1\r\nHost: h\r\n\r\n',
    b'GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n',
    b'\x00\x01\x02\r\n\r\n',
])
def test_a_line_is_valid_json_in_ascii_whatever_came(story: Story, raw: bytes) -> None:
    logged = Logged(story, story.strict(), trusted=("127.0.0.0/8",))
    logged.worker.ask(raw)
    line = logged.line()
    assert set(FIELDS) <= set(line)
    if b"quoted" in raw:
        assert line["path"] == '/"quoted"\\back'
    if b"X-Request-Id" in raw:
        assert line["id"] == '"}\\{"'


def unanswered(story: Story) -> tuple[Logged, Wire]:
    """A request that a server has, and does not answer; and who waits for it."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.read_to_end()

    logged = Logged(story, story.origin(script))
    client = story.client(logged.worker)
    client.send(get())
    logged.worker.wait_until(lambda w: any(c.exchange is not None for c in w.clients))
    return logged, client


def test_a_client_that_leaves_is_a_499(story: Story) -> None:
    logged, client = unanswered(story)
    client.reset()
    line = logged.line()
    assert (line["status"], line["first_byte_s"], line.get("refused")) == (499, None, None)


def test_a_tunnel_is_one_line_when_it_ends(story: Story) -> None:
    def echo(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := peer.read():
            peer.send(data, data)

    logged = Logged(story, story.origin(echo))
    client = story.client(logged.worker)
    assert client.ask(request("GET", "/chat", "Connection: Upgrade", "Upgrade: websocket")).status == 101
    client.send(b"12345")
    client.read_until(b"1234512345")
    logged.worker.settle()
    assert not logged.path.read_bytes()
    client.close()
    line = logged.line()
    assert (line["status"], line["received_bytes"], line["sent_bytes"]) == (101, 5, 10)
    assert 0 < line["first_byte_s"] < line["duration_s"]
    assert logged.worker.count("client_sent_bytes_total", "all", "old") == 10


def test_lines_are_written_within_a_moment_and_all_of_them_at_the_end(story: Story) -> None:
    logged = Logged(story, story.strict())
    client = story.client(logged.worker)
    for number in range(400):
        client.ask(get(f"/{number}"))
    client.close()
    assert logged.worker.drain(5.0) == 0
    assert [line["path"] for line in logged.lines(400)] == [f"/{number}" for number in range(400)]


def test_what_a_drain_cuts_is_in_the_log(story: Story) -> None:
    logged, _ = unanswered(story)
    assert logged.worker.drain(0.3) == 1
    assert logged.path.read_bytes().count(b"\n") == 1
    assert logged.line()["status"] == 499


def asked(worker: WatchedWorker, path: str) -> None:
    assert worker.ask(get(path)).status == 200


def paths(file: Path) -> list[str]:
    return [json.loads(line)["path"] for line in file.read_bytes().splitlines()] if file.exists() else []


def eventually(condition: Callable[[], bool]) -> None:
    wait_until(condition, "the log is as it should be")


def test_it_can_be_turned_on_moved_and_turned_off_while_serving(story: Story) -> None:
    origin = story.strict()
    one, two = story.directory / "one", story.directory / "two"
    worker = story.worker(origin)
    asked(worker, "/before")
    worker.apply(logging(a_snapshot(origin, revision=2), one))
    asked(worker, "/one")
    worker.apply(logging(a_snapshot(origin, revision=3), two))
    asked(worker, "/two")
    worker.apply(a_snapshot(origin, revision=4))
    asked(worker, "/after")
    eventually(lambda: paths(one) == ["/one"] and paths(two) == ["/two"])
    assert worker.call(lambda w: w.log) is None


def test_a_file_that_was_moved_away_is_made_anew(story: Story) -> None:
    logged = Logged(story, story.strict())
    asked(logged.worker, "/1")
    eventually(lambda: paths(logged.path) == ["/1"])
    moved = logged.path.rename(story.directory / "access.log.1")
    asked(logged.worker, "/2")

    def written_anew() -> bool:
        asked(logged.worker, "/3")
        return "/3" in paths(logged.path)

    eventually(written_anew)
    both = paths(moved) + paths(logged.path)
    assert both[:2] == ["/1", "/2"]
    assert len(both) == len([p for p in both if p in ("/1", "/2", "/3")])
    assert logged.path.stat().st_mode & 0o777 & ~0o640 == 0


def test_a_path_that_cannot_be_opened_costs_the_lines_only_and_is_tried_again(story: Story) -> None:
    directory = story.directory / "not yet there"
    worker = story.serving(logging(a_snapshot(story.strict()), directory / "log"))
    asked(worker, "/lost")
    worker.wait_until(lambda w: w.counters.log_failed)
    eventually(lambda: worker.count("log_lines_dropped_total") == 1)
    gauges = worker.call(lambda w: w.counters.collect().gauges)
    assert ("turnout_access_log_failed", (), 1) in gauges
    directory.mkdir()
    worker.wait_until(lambda w: not w.counters.log_failed)
    asked(worker, "/kept")
    eventually(lambda: paths(directory / "log") == ["/kept"])


def test_a_full_pipe_that_nobody_reads_neither_blocks_nor_fails_a_request(story: Story) -> None:
    """It stands for a standard output whose reader is stuck; each line that is lost is counted."""
    pipe = story.directory / "fifo"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        worker = story.serving(logging(a_snapshot(story.strict()), pipe))
        client = story.client(worker)
        path = "/" + "x" * 7000
        for _ in range(400):
            assert client.ask(get(path)).status == 200
        client.close()
        assert worker.drain(3.0) == 0
        written = 0
        while data := os.read(reader, 1 << 20):
            written += data.count(b"\n")
            if len(data) < 1 << 16:
                break
        dropped = worker.count("log_lines_dropped_total")
        assert 0 < written < 20
        assert 400 - written - 2 <= dropped <= 400
    finally:
        os.close(reader)
