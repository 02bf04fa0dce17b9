"""What a copy does with a connection that was idle: the shadow may have said something, or gone, in the meantime."""

from __future__ import annotations

import select

from proxy.dataplane.servers import ServerConnection
from proxy.dataplane.worker import Worker
from tests.support.shadowing import shadowed
from tests.support.story import Story, get, request


def idle(worker: Worker) -> ServerConnection:
    (pool,) = worker.shadows._pools.values()
    return next(iter(pool.idle))


def test_what_a_shadow_says_before_it_is_asked_is_no_answer(story: Story) -> None:
    old, new = story.strict(), story.strict()
    worker = shadowed(story, old, new)
    story.client(worker).ask(get("/first"))
    worker.wait_until(lambda worker: worker.shadows.is_quiet)

    def ask_while_it_speaks(worker: Worker) -> None:
        (client,), shadow = worker.clients, idle(worker)
        client.data_received(get("/second"))
        shadow.data_received(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")

    worker.call(ask_while_it_speaks)
    assert [message.target for message in new.wait_requests(2)] == [b"/first", b"/second"]
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert worker.count("shadow_requests_total", "all", "answered") == 2
    assert new.connections == 2


def test_what_cannot_be_sent_twice_is_not_sent_where_the_shadow_has_hung_up(story: Story) -> None:
    old, new = story.strict(), story.strict()
    worker = shadowed(story, old, new, methods=("POST",))
    story.client(worker).ask(request("POST", "/first", body=b"x"), b"POST")
    worker.wait_until(lambda worker: worker.shadows.is_quiet)

    def ask_when_it_has_gone(worker: Worker) -> None:
        (client,), shadow = worker.clients, idle(worker)
        new.peers[0].half_close()
        waiting = select.poll()
        waiting.register(shadow.transport.get_extra_info("socket").fileno(), select.POLLIN)
        assert waiting.poll(5_000)
        client.data_received(request("POST", "/second", body=b"y"))

    worker.call(ask_when_it_has_gone)
    assert [message.target for message in new.wait_requests(2)] == [b"/first", b"/second"]
    worker.wait_until(lambda worker: worker.shadows.is_quiet)
    assert worker.count("shadow_requests_total", "all", "answered") == 2
