"""Host names of servers, resolved without ever blocking the loop, and again while they are in use.

A name that once resolved keeps its addresses until newer ones are known: a resolver that fails takes nothing down.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

REFRESH_S = 5.0
"""How old an answer may become while it is used: about the time-to-live of service discovery by DNS."""


def is_address(host: str) -> bool:
    """Whether this is an IP address and needs no resolving."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class Name:
    """The addresses of one host name."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self._port = port
        self._fixed = is_address(host)
        self.addresses: tuple[str, ...] = (host,) if self._fixed else ()
        self._resolved_at = float("-inf")
        self._lookup: asyncio.Task[None] | None = None
        self.failure: str | None = None

    async def wait(self) -> tuple[str, ...]:
        """The addresses; waits only when none was ever known. Raises OSError when there are none."""
        if not self.addresses:
            self._begin()
            if self._lookup is not None:
                await self._looked_up(self._lookup)
            if not self.addresses:
                raise OSError(f"cannot resolve {self.host}: {self.failure}")
        return self.addresses

    async def _looked_up(self, lookup: asyncio.Task[None]) -> None:
        """Wait for the lookup, which others may wait for as well. Raises OSError when it was given up."""
        try:
            await asyncio.shield(lookup)
        except asyncio.CancelledError:
            if not lookup.cancelled():
                raise
            raise OSError(f"{self.host} is not used any more") from None

    def refresh(self, now: float) -> None:
        """Look the name up again when the answer is old; the result is there some time later."""
        if not self._fixed and now - self._resolved_at > REFRESH_S:
            self._resolved_at = now
            self._begin()

    def _begin(self) -> None:
        if self._lookup is None or self._lookup.done():
            self._lookup = asyncio.get_running_loop().create_task(self._resolve(), name=f"resolve {self.host}")

    async def _resolve(self) -> None:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self.host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # the latter for a label that IDNA cannot have
            self.failure = (error.strerror if isinstance(error, OSError) else None) or str(error)
            return
        self.failure = None
        self.addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))

    def close(self) -> None:
        """Give up a lookup that is under way."""
        if self._lookup is not None:
            self._lookup.cancel()
