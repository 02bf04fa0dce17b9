"""The admin API of the whole program: what an operator does with it while traffic runs."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.clock import monotonic
from tests.support.deadline import WITHIN_S
from tests.support.front import write_file
from tests.support.origins import Origin, answering, ok
from tests.support.turnout import Turnout, running

ROUTE = {"name": "shop", "split": {"old": 50, "new": 50}}


@contextmanager
def two_versions(folder: Path, **settings: Any) -> Iterator[Turnout]:
    with Origin(answering(ok(b"old"))) as old, Origin(answering(ok(b"new"))) as new:
        file = write_file(folder, {"old": old.url, "new": new.url}, [ROUTE], **settings)
        with running("-c", str(file)) as turnout:
            assert turnout.event("serving")
            yield turnout


def call(turnout: Turnout, method: str, path: str, body: Any = None, **fields: str) -> tuple[int, Any]:
    """Ask the admin API on a connection of its own."""
    host, _, port = turnout.admin.removeprefix("http://").rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=WITHIN_S)
    try:
        headers = {"Content-Type": "application/json", **{name.replace("_", "-"): fields[name] for name in fields}}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_after_the_answer_of_a_rollback_nobody_is_sent_to_the_candidate(tmp_path: Path) -> None:
    with two_versions(tmp_path) as turnout:
        assert {turnout.ask()[1] for _ in range(40)} == {b"old", b"new"}
        for _ in range(5):
            status, view = call(turnout, "POST", "/api/v1/routes/shop/rollback", {"reason": "errors"})
            assert (status, view["applied"]["workers"]) == (200, 2)
            assert {turnout.ask()[1] for _ in range(20)} == {b"old"}
            status, view = call(turnout, "POST", "/api/v1/routes/shop/undo", {"reason": "fixed"})
            assert view["route"]["shares"] == {"old": 0.5, "new": 0.5}
            assert {turnout.ask()[1] for _ in range(40)} == {b"old", b"new"}


def test_what_was_changed_and_why_is_there_after_a_restart(tmp_path: Path) -> None:
    folder = str(tmp_path / "state")
    with two_versions(tmp_path, state_dir=folder) as turnout:
        call(turnout, "PUT", "/api/v1/routes/shop/split", {"split": {"old": 10, "new": 90}, "reason": "release 7"})
        turnout.tell(signal.SIGTERM)
        assert turnout.wait() == 0
    with two_versions(tmp_path, state_dir=folder) as turnout:
        (route,) = call(turnout, "GET", "/api/v1/routes")[1]["routes"]
        assert (route["split"], route["revision"], route["as_written"]) == ({"old": 10, "new": 90}, 2, False)
        events = call(turnout, "GET", "/api/v1/events?limit=1000")[1]["events"]
        assert "release 7" in [event["reason"] for event in events]
        assert [event["verb"] for event in events].count("start") == 2


def test_a_stream_ends_at_once_when_turnout_leaves(tmp_path: Path) -> None:
    with two_versions(tmp_path, timeouts={"drain": "5s"}) as turnout:
        host, _, port = turnout.admin.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=WITHIN_S) as stream:
            stream.sendall(b"GET /api/v1/events/stream?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            text = b""
            while b"event: start" not in text:
                text += stream.recv(65536)
            began = monotonic()
            turnout.tell(signal.SIGTERM)
            while stream.recv(65536):
                pass
            assert turnout.wait() == 0
            assert monotonic() - began < 5.0


def test_a_flood_of_bad_requests_keeps_no_operator_from_a_rollback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "the-token-of-the-operator"
    monkeypatch.setenv("TURNOUT_TEST_TOKEN", token)
    tokens = [{"name": "ann", "role": "operator", "token_env": "TURNOUT_TEST_TOKEN"}]
    with two_versions(tmp_path, admin={"listen": "127.0.0.1:0", "tokens": tokens}) as turnout:
        done = threading.Event()
        attackers = [threading.Thread(target=_attack, args=(turnout, done)) for _ in range(4)]
        for attacker in attackers:
            attacker.start()
        try:
            for _ in range(10):
                for verb in ("rollback", "undo"):
                    began, path = monotonic(), f"/api/v1/routes/shop/{verb}"
                    status, _ = call(turnout, "POST", path, {}, Authorization=f"Bearer {token}")
                    assert status == 200
                    assert monotonic() - began < 2.0
                assert turnout.ask()[0] == 200
        finally:
            done.set()
            for attacker in attackers:
                attacker.join()


def _attack(turnout: Turnout, done: threading.Event) -> None:
    """Wrong tokens, garbage, and connections that say nothing, as fast as one thread can."""
    host, _, port = turnout.admin.removeprefix("http://").rpartition(":")
    held: list[socket.socket] = []
    while not done.is_set():
        held.append(socket.create_connection((host, int(port)), timeout=WITHIN_S))
        if len(held) % 3:
            held[-1].sendall(b"POST /api/v1/rollback HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer guess\r\n\r\n"
                             if len(held) % 2 else b"\x16\x03\x01")
        if len(held) > 200:
            held.pop(0).close()
    for sock in held:
        sock.close()
