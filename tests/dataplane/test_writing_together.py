"""Small heads that are written together at the end of a turn: each is sent once, however full the outbox is."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from proxy.dataplane.outbox import MESSAGES
from proxy.dataplane.worker import Worker
from tests.support.story import Story, request


class Nowhere:
    """Takes what is written."""

    def write(self, data: bytes) -> None:
        """Nobody reads it."""


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("before", [0, MESSAGES - 2, MESSAGES - 1, MESSAGES])
def test_a_request_is_sent_once_whether_its_head_fills_the_outbox_or_not(
        story: Story, method: str, before: int) -> None:
    origin = story.strict()
    worker = story.worker(origin)
    client = story.client(worker)
    client.ask(request(method, "/warm"), method.encode())

    def ask_behind_others(inner: Worker) -> None:
        for _ in range(before):
            inner.outbox.add(cast(asyncio.Transport, Nowhere()), b"")
        (connection,) = inner.clients
        connection.data_received(request(method, "/once"))

    worker.call(ask_behind_others)
    assert client.response(method.encode()).status == 200
    assert client.ask(request(method, "/after"), method.encode()).status == 200
    assert [message.target for message in origin.requests] == [b"/warm", b"/once", b"/after"]
    assert origin.connections == 1
