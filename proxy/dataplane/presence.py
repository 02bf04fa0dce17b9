"""Is a client that shut down its sending side still there?

TCP says the same of a client that has only finished its request and of one that is gone: FIN. The first is to get its
answer, for the second the server should stop working. They differ when something is sent to them: the second resets
the connection. So after a moment a client that waits is sent an interim `100 Continue`, which RFC 9110 §15.2 obliges
every HTTP/1.1 client to skip; HTTP/1.0 clients are left alone.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.dataplane.client import ClientConnection
    from proxy.dataplane.exchange import Exchange

ASK_AFTER_S = 0.25
"""Most answers are there by then, and nobody has to be asked."""
LOOK_EVERY_S = 0.05

_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


def watch_half_closed(client: ClientConnection, exchange: Exchange) -> None:
    """Ask this client once whether it is there, and end its connection when it is not."""
    loop = client.worker.loop

    def waits() -> bool:
        return client.exchange is exchange and not exchange.answer_begun

    def ask() -> None:
        if waits() and exchange.request.minor == 1:
            client.transport.write(_INTERIM)
            loop.call_later(LOOK_EVERY_S, look)

    def look() -> None:
        if not waits():
            return
        if _is_reset(client):
            client.transport.abort()
        else:
            loop.call_later(LOOK_EVERY_S, look)

    loop.call_later(ASK_AFTER_S, ask)


def _is_reset(client: ClientConnection) -> bool:
    """Whether the peer has reset the connection: the loop does not look, since there is nothing left to read."""
    sock = client.transport.get_extra_info("socket")
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, events in poll.poll(0))
