from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.origins import Origin, Peer
from tests.support.scripted_api import Answer, scripted, turnout

ROOT = str(Path(__file__).resolve().parents[2])
OLD = {"split": {"old": 100, "new": 0}, "shadow": None}
NEW = {"split": {"old": 90, "new": 10}, "shadow": {"to": "new", "percent": 25, "methods": ["GET"]}}
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def event(number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "at": 1e9, "author": "ci", "origin": "127.0.0.1", "verb": "split", "route": "shop",
            "before": OLD, "after": NEW, "reason": "a tenth", "revision": 84, **more}


def page(*events: dict[str, Any], last_id: int = 9, more: bool = False) -> Answer:
    return Answer({"events": list(events), "last_id": last_id, "more": more})


def test_the_newest_are_shown_unless_told_otherwise() -> None:
    with scripted({"GET /api/v1/events": page(event(7))}) as (url, api):
        result = turnout("events", "--limit", "5", "--route", "shop", admin=url)
        assert api.last.target == b"/api/v1/events?newest=true&limit=5&route=shop"
        turnout("events", "--after", "6", admin=url)
        assert api.last.target == b"/api/v1/events?after=6&limit=20"
    heads, line = result.stdout.splitlines()
    assert heads.split() == ["ID", "TIME", "WHO", "VERB", "ROUTE", "CHANGE", "REASON"]
    assert "ci (127.0.0.1)  split  shop" in line
    assert "old 100 → 90 %, new 0 → 10 %, shadow 25 % to new  a tenth" in line


def test_what_changes_nothing_and_what_others_wrote_is_shown_safely() -> None:
    start = event(1, route=None, before=None, after=None, verb="start", author="turnout", origin="", reason="\x1b[2J")
    with scripted({"GET /api/v1/events": page(start)}) as (url, _):
        assert "turnout  start" in turnout("events", admin=url).stdout
        assert "\x1b" not in turnout("events", admin=url).stdout


def test_what_was_drained_is_named() -> None:
    of = {"version": "old", "server": "unix:/a", "all": False, "drained": []}
    one = event(7, verb="drain", route=None, before=of, after={**of, "drained": ["unix:/a"]}, reason="kernel")
    whole = event(8, verb="restore", route=None, before={**of, "server": None}, after={**of, "server": None}, reason="")
    with scripted({"GET /api/v1/events": page(one, whole)}) as (url, _):
        lines = turnout("events", admin=url).stdout.splitlines()
    assert lines[1].split()[-4:] == ["drain", "old", "unix:/a", "kernel"]
    assert lines[2].split()[-2:] == ["restore", "old"]


def test_no_events_are_told() -> None:
    with scripted({"GET /api/v1/events": page(last_id=0)}) as (url, _):
        assert turnout("events", admin=url).stdout == "No events.\n"


def test_json_is_what_the_api_said() -> None:
    answer = page(event(7))
    with scripted({"GET /api/v1/events": answer}) as (url, _):
        assert json.loads(turnout("events", "--json", admin=url).stdout) == answer.body


def sse(number: int) -> bytes:
    return b"id: %d\nevent: split\ndata: %b\n\n" % (number, json.dumps(event(number)).encode())


class Stream:
    """A page with events 1 and 2, then a stream that brings 3, breaks, and goes on wherever it is asked to."""

    def __init__(self) -> None:
        self.began_after: list[bytes | None] = []

    def __call__(self, peer: Peer) -> None:
        request = peer.request()
        assert request is not None
        if not request.target.startswith(b"/api/v1/events/stream"):
            peer.send(page(event(1), event(2), last_id=2).as_bytes())
            return
        self.began_after.append(request.value(b"last-event-id"))
        if len(self.began_after) == 1:
            peer.send(SSE, b"retry: 2000\n\n: still here\n\n", sse(3), b"id: 4\ndata: {")
            return
        peer.send(SSE, b'event: gap\ndata: {"after": 3, "oldest": 5}\n\n', sse(5))
        peer.read_to_end()


@contextmanager
def following(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Stream]]:
    stream = Stream()
    with Origin(stream) as origin, subprocess.Popen(
        [sys.executable, "-P", "-m", "proxy", "events", "-f", *arguments], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={"PYTHONPATH": ROOT, "TURNOUT_ADMIN": origin.url},
    ) as process:
        try:
            yield process, stream
        finally:
            process.kill()


def test_following_goes_on_after_the_last_event_that_was_shown() -> None:
    with following("--json") as (process, stream):
        assert process.stdout is not None
        assert process.stderr is not None
        assert [json.loads(process.stdout.readline())["id"] for _ in range(4)] == [1, 2, 3, 5]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert "some events after 3 are kept no more" in process.stderr.read()
    assert stream.began_after == [b"2", b"3"]


def test_followed_events_stand_in_columns() -> None:
    with following() as (process, _):
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
    assert [line.index("ci (") for line in lines[1:]] == [lines[0].index("WHO")] * 3


def test_following_what_is_not_there_ends_at_once() -> None:
    assert turnout("events", "-f", admin="http://127.0.0.1:1").exit_code == 4
