"""An admin API that says what a test wants it to say: real sockets, documented answers, every request kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner, Result

from proxy.cli.main import main
from tests.support.origins import Origin, Peer
from tests.support.strict import Message

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """A status, a body as JSON or as it is, and more header fields."""

    body: object = None
    status: int = 200
    fields: str = ""

    def as_bytes(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        kind = "application/json" if self.status < 400 else "application/problem+json"
        head = f"HTTP/1.1 {self.status} X\r\nContent-Type: {kind}\r\nServer: turnout\r\nContent-Length: {len(body)}\r\n"
        return f"{head}{self.fields}\r\n".encode() + body


class ScriptedApi:
    """Answers by method and path, without the query; what is not in `answers` is a 404 of kind unknown-route."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = dict(answers)
        self.asked: list[Message] = []

    def script(self, peer: Peer) -> None:
        request = peer.request()
        if request is None:
            return
        self.asked.append(request)
        key = f"{request.method.decode()} {request.target.decode().partition('?')[0]}"
        peer.send(self.answers.get(key, refusal(404, "unknown-route", "no route has this name")).as_bytes())

    @property
    def last(self) -> Message:
        return self.asked[-1]

    def body(self) -> Json:
        """The JSON of the last request."""
        body: Json = json.loads(self.last.body)
        return body


@contextmanager
def scripted(answers: Mapping[str, Answer]) -> Iterator[tuple[str, ScriptedApi]]:
    """Serve these answers; yields the URL and what is asked."""
    api = ScriptedApi(answers)
    with Origin(api.script) as origin:
        yield origin.url, api


def refusal(status: int, kind: str, detail: str, fields: str = "", **more: Any) -> Answer:
    """A problem document."""
    type_ = f"urn:turnout:problem:{kind}" if kind else "about:blank"
    return Answer({"type": type_, "title": "X", "status": status, "detail": detail, **more}, status, fields)


def route(name: str = "shop", split: Mapping[str, float] | None = None, **more: Any) -> Json:
    """A route as the API shows one."""
    split = dict(split or {"old": 95.0, "new": 5.0})
    shares = {version: weight / sum(split.values()) for version, weight in split.items()}
    return {
        "name": name, "revision": 84, "generation": 0, "host": None, "path": "/", "methods": [],
        "baseline": next(iter(split)), "sticky": None, "split": split,
        "shares": shares, "effective": shares, "shadow": None, "as_written": False, "can_undo": True, "pending": None,
        **more,
    }


def server(address: str = "http://127.0.0.1:1", **more: Any) -> Json:
    """A server as the API shows one that is well and not probed."""
    return {"address": address, "state": "up", "why": "", "phi": None, "in_flight": 0, "idle": False, "drained": False,
            "probe": None, "ejected_until_s": None, **more}


def version(name: str, *servers: Json, **more: Any) -> Json:
    """A version as the API shows one that is well."""
    return {"name": name, "state": "up", "why": "", "in_flight": sum(each["in_flight"] for each in servers),
            "idle": False, "queue": 0, "limit": None, "servers": list(servers), **more}


def changed(*routes: Json, several: bool = False, workers: int = 4, **more: Any) -> Answer:
    """The answer to a change."""
    concerned = {"routes": list(routes)} if several else {"route": routes[0]}
    return Answer({
        "revision": 84, "dry_run": False, "applied": {"workers": workers, "of": 4, "replaced": []}, "took_ms": 2.1,
        "notes": [], **concerned, **more,
    })


STATUS_VIEW: Json = {
    "turnout": "9.9", "revision": 84, "uptime_s": 7300.0, "ready": False, "reasons": ["worker 1 is starting"],
    "listen": ["127.0.0.1:8080"], "connections": 1234, "restarts": 1,
    "versions": {"old": version("old", server("http://127.0.0.1:1")), "new": version("new", server("http://127.0.0.1:2"))},
    "routes": [{
        "name": "shop", "host": "shop.example.com", "path": "/", "methods": [], "baseline": "old", "sticky": None,
        "split": {"old": 95, "new": 5}, "shares": {"old": 0.95, "new": 0.05}, "effective": {"old": 0.95, "new": 0.05},
        "shadow": {"to": "new", "percent": 25.0, "methods": []},
        "pending": {"until": 1e9, "seconds_left": 544.2, "back_to": {"split": {"old": 100, "new": 0}, "shadow": None}},
        "last_change": {"at": 1e9 - 180, "author": "ci", "verb": "split", "reason": "a twentieth\x1b[2J"},
        "totals": {
            "old": {"requests": 9512, "codes": {"200": 9500, "500": 10, "503": 2}, "retries": 3, "in_flight": 4,
                    "attempts": {"answered": 9500, "error": 12, "reset": 2, "gone": 1}, "rescues": {}, "diverted": 0,
                    "p50_s": 0.0012, "p99_s": 1.5},
            "new": {"requests": 0, "codes": {}, "attempts": {}, "retries": 0, "rescues": {}, "diverted": 0,
                    "in_flight": 0, "p50_s": None, "p99_s": None},
        },
    }],
    "workers": [
        {"index": 0, "pid": 11, "state": "serving", "restarts": 0, "last_end": None, "revision": 84,
         "connections": 1234, "event_loop_lag_s": 0.0004},
        {"index": 1, "pid": None, "state": "dead", "restarts": 1, "last_end": "signal 9", "revision": None,
         "connections": 0, "event_loop_lag_s": 0.0},
    ],
}
"""An answer of GET /api/v1/status: one route with everything that can be said of one, and a dead worker."""


def turnout(*arguments: str, admin: str, token: str | None = None) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(main, arguments, env={"TURNOUT_ADMIN": admin, "TURNOUT_TOKEN": token})
