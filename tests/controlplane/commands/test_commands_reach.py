from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from proxy.clock import monotonic
from proxy.controlplane.commands.reach import known_down
from proxy.core.route import Server, Version


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def down(*servers: Server) -> dict[str, tuple[str, ...]]:
    return asyncio.run(known_down([Version("old", servers)]))


def refused_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def listening(opened: ExitStack) -> Server:
    sock = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    return Server("127.0.0.1", sock.getsockname()[1])


def deaf(opened: ExitStack) -> Server:
    """A server whose queue is full: it neither accepts nor refuses."""
    sock = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    for _ in range(4):
        filling = opened.enter_context(socket.socket())
        filling.setblocking(False)
        filling.connect_ex(sock.getsockname())
    return Server("127.0.0.1", sock.getsockname()[1])


def test_a_version_is_down_when_every_server_refuses(tmp_path: Path) -> None:
    port = refused_port()
    assert down(Server("127.0.0.1", port), Server("", 0, str(tmp_path / "none"))) == {
        "old": (f"http://127.0.0.1:{port}: connection refused", f"unix:{tmp_path / 'none'}: no such file or directory")}


def test_a_name_that_leads_to_refusals_only_is_down_too() -> None:
    assert down(Server("localhost", refused_port())).keys() == {"old"}


def test_one_server_that_accepts_is_enough(opened: ExitStack) -> None:
    assert down(Server("127.0.0.1", refused_port()), listening(opened)) == {}


def test_one_that_accepts_is_not_kept_waiting_by_one_that_does_not(opened: ExitStack) -> None:
    began = monotonic()
    assert asyncio.run(known_down([Version("old", (deaf(opened), listening(opened)))], within_s=30.0)) == {}
    assert monotonic() - began < 10


def test_taking_too_long_is_no_knowledge_and_takes_no_longer(opened: ExitStack) -> None:
    began = monotonic()
    assert down(Server("127.0.0.1", refused_port()), deaf(opened)) == {}
    assert monotonic() - began < 5


def test_a_name_that_does_not_resolve_is_no_knowledge() -> None:
    assert down(Server("nobody.invalid", 80)) == {}


def test_each_version_is_known_for_itself(opened: ExitStack) -> None:
    versions = [Version("silent", (deaf(opened),)), Version("gone", (Server("127.0.0.1", refused_port()),)),
                Version("there", (listening(opened),))]
    assert asyncio.run(known_down(versions, within_s=1.0)).keys() == {"gone"}
