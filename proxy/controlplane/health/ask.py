"""One probe: ask a server over HTTP, and say how that ended.

Invariant: every probe has a connection of its own. A kept one would tell that a process still reads what it accepted
long ago; a new one tells what the next request of a client needs.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from typing import cast

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from proxy import __version__
from proxy.clock import Clock, monotonic
from proxy.controlplane.health.values import Outcome, ProbeResult
from proxy.core.health.values import Probe
from proxy.core.route import Server

BODY_LIMIT = 64 * 1024
"""Bytes of an answer that are looked at."""
USER_AGENT = f"turnout-probe/{__version__}"

_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""Errors of our own limits (descriptors, memory, ports): they say nothing about the server."""
_NOBODY_THERE = frozenset({errno.ECONNREFUSED, errno.ENOENT})
_RESOLVED_FOR_S = 10


class Asker:
    """Asks servers, any number at once. `clock`: for durations; `wall`: seconds since the epoch. To be closed."""

    def __init__(self, clock: Clock = monotonic, wall: Clock = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self._tcp: aiohttp.ClientSession | None = None

    async def ask(self, server: Server, probe: Probe) -> ProbeResult | OSError:
        """Probe the server once; an error where we cannot even ask, which is no fault of the server's."""
        began = self._clock()
        try:
            async with asyncio.timeout(probe.timeout_s):
                outcome, detail = await self._ask(server, probe)
        except TimeoutError:
            outcome, detail = "timeout", f"no whole answer within {probe.timeout_s:g} s"
        except OSError as error:  # of connecting and of the connection, aiohttp's among them
            if error.errno in _OURS:
                return error
            refused = error.errno in _NOBODY_THERE
            named = isinstance(error.errno, int) and error.errno in errno.errorcode
            detail = os.strerror(cast(int, error.errno)).lower() if named else _words(error)
            outcome = "refused" if refused else "error"
        except (aiohttp.ClientError, ValueError) as error:
            outcome, detail = "error", _words(error)
        return ProbeResult(outcome, self._wall(), self._clock() - began, detail)

    async def close(self) -> None:
        """Close what is open. No `ask` may be under way."""
        if self._tcp is not None:
            await self._tcp.close()

    async def _ask(self, server: Server, probe: Probe) -> tuple[Outcome, str]:
        if server.unix_path is None:
            self._tcp = self._tcp or _session(
                aiohttp.TCPConnector(limit=0, force_close=True, ttl_dns_cache=_RESOLVED_FOR_S))
            return await _exchange(self._tcp, server.address, probe)
        async with _session(aiohttp.UnixConnector(server.unix_path, limit=0, force_close=True)) as session:
            return await _exchange(session, "http://localhost", probe)


def _session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    # What the answer is made of is looked at as it comes: nothing is unpacked, so nothing can be packed to explode.
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False,
                                 timeout=aiohttp.ClientTimeout(total=None))


async def _exchange(session: aiohttp.ClientSession, base: str, probe: Probe) -> tuple[Outcome, str]:
    async with session.get(URL(base + probe.path, encoded=True), headers=_headers(probe),
                           allow_redirects=False) as response:
        try:
            if not any(lowest <= response.status <= highest for lowest, highest in probe.status):
                return "status", f"answered with {response.status}"
            if probe.body is not None and not await _contains(response.content, probe.body.encode()):
                return "body", f"answered with {response.status}, but without the expected text"
            return "ok", f"answered with {response.status}"
        finally:
            response.close()  # what we do not read is not waited for


async def _contains(content: aiohttp.StreamReader, text: bytes) -> bool:
    """Whether the text stands in the first part of the body; returns as soon as it does."""
    seen = bytearray()
    while len(seen) < BODY_LIMIT:
        start = max(0, len(seen) - len(text) + 1)
        piece = await content.read(BODY_LIMIT - len(seen))
        if not piece:
            break
        seen += piece
        if seen.find(text, start) >= 0:
            return True
    return text in seen


def _headers(probe: Probe) -> CIMultiDict[str]:
    """What is sent: the operator's fields in place of ours where both name one."""
    headers = CIMultiDict({"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"})
    if probe.host is not None:
        headers["Host"] = probe.host
    own = CIMultiDict(probe.headers)
    for name in set(own):
        headers.popall(name, None)
    headers.extend(own)
    headers["Connection"] = "close"
    return headers


def _words(error: Exception) -> str:
    """The error for people, on one line of bounded length: a server may have a say in it."""
    text = " ".join((str(error) or type(error).__name__).split())
    return "".join(letter if letter.isprintable() else "?" for letter in text[:200])
