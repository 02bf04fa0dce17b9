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
    total = sum(split.values())
    return {
        "name": name, "revision": 84, "generation": 0, "host": None, "path": "/", "methods": [],
        "baseline": next(iter(split)), "sticky": None, "split": split,
        "shares": {version: weight / total for version, weight in split.items()}, "shadow": None, "as_written": False,
        "can_undo": True, "pending": None, **more,
    }


def changed(*routes: Json, several: bool = False, workers: int = 4, **more: Any) -> Answer:
    """The answer to a change."""
    concerned = {"routes": list(routes)} if several else {"route": routes[0]}
    return Answer({
        "revision": 84, "dry_run": False, "applied": {"workers": workers, "of": 4, "replaced": []}, "took_ms": 2.1,
        "notes": [], **concerned, **more,
    })


def turnout(*arguments: str, admin: str, token: str | None = None) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(main, arguments, env={"TURNOUT_ADMIN": admin, "TURNOUT_TOKEN": token})
