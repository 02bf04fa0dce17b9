"""Sends a recording again: in its order, at most so many at once, at most so many a second."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import click
from yarl import URL

from proxy.cli.client import printable
from proxy.cli.replay.recorded import Recorded, recorded
from proxy.cli.replay.result import NO_ANSWER, REDACTED, TIMEOUT, UNREACHABLE, Result
from proxy.cli.replay.words import as_json as json_text
from proxy.cli.replay.words import render
from proxy.cli.talk import warn
from proxy.core.compare.values import Answer, Rules

_AS_RECORDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
"""Fields that the client library would add of its own."""
_UNREADABLE_SHOWN = 5
_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Terms:
    """How to send, and how to compare. `to`: `http://host:port` or `unix:/path`; `rate`: requests a second, None for
    as fast as they are answered; `timeout`: seconds an answer may take.
    """

    to: str
    rules: Rules
    rate: float | None = None
    concurrency: int = 16
    timeout: float = 10.0
    host: str | None = None
    send_redacted: bool = False


def run(file: str, terms: Terms, *, as_json: bool) -> int:
    """Replay the file, print what came of it, and return the exit code. Raises UsageError for a wrong URL."""
    base, socket = _where(terms.to)
    result = Result(terms.rules)
    try:
        _run(file, terms, base, socket, result)
    except KeyboardInterrupt:       # what was compared until then is told, but it is not the whole
        result.is_whole = False
    view = result.view(file, terms.to)
    click.echo(json_text(view) if as_json else printable("\n".join(render(view, result.failed)), keep="\n"))
    return result.exit_code()


def _run(file: str, terms: Terms, base: str, socket: str | None, result: Result) -> None:
    try:
        asyncio.run(_replay(file, terms, base, socket, result))
    except* OSError as errors:      # of the file: those of connections are results
        result.is_whole = False
        warn(printable(f"turnout: {file} cannot be read: {errors.exceptions[0]}"))


def _where(to: str) -> tuple[str, str | None]:
    """The start of every URL, and the path of a Unix socket if it is one."""
    if to.startswith("unix:/"):
        return "http://localhost", to.removeprefix("unix:")
    url = urlsplit(to)
    if url.scheme not in ("http", "https") or not url.hostname or url.path not in ("", "/") or url.query or "@" in to:
        raise click.UsageError(f"--to: `{to}` is not http://host:port, https://host:port or unix:/path")
    return f"{url.scheme}://{url.netloc}", None


async def _replay(file: str, terms: Terms, base: str, socket: str | None, result: Result) -> None:
    connector = aiohttp.UnixConnector(socket, limit=0) if socket else aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_AS_RECORDED, timeout=aiohttp.ClientTimeout(total=terms.timeout),
    ) as session:
        sender = _Sender(session, base, terms, result)
        places = asyncio.Semaphore(terms.concurrency)
        began, progress = time.monotonic(), _Progress(result)
        async with asyncio.TaskGroup() as tasks:
            for number, request in enumerate(_sendable(file, terms, result)):
                await places.acquire()
                if terms.rate is not None:
                    await asyncio.sleep(max(0.0, began + number / terms.rate - time.monotonic()))
                task = tasks.create_task(sender.send(request), name="replayed request")
                task.add_done_callback(lambda _: places.release())
                progress.show()
        progress.end()


def _sendable(file: str, terms: Terms, result: Result) -> Iterator[Recorded]:
    """The requests that can be sent; the others are counted, with why."""
    for entry in recorded(file):
        if isinstance(entry, str):
            result.unreadable += 1
            if result.unreadable <= _UNREADABLE_SHOWN:
                warn(printable(entry))
        elif entry.is_redacted and not terms.send_redacted:
            result.skip(entry, REDACTED)
        else:
            yield entry


class _Sender:
    """Sends one request and has its answer compared."""

    def __init__(self, session: aiohttp.ClientSession, base: str, terms: Terms, result: Result) -> None:
        self._session = session
        self._base = base
        self._terms = terms
        self._result = result

    async def send(self, request: Recorded) -> None:
        """Never raises for what the server does."""
        result, began = self._result, time.monotonic()
        result.sent += 1
        result.without_fields += bool(request.left_out)
        try:
            answer = await self._ask(request, began)
        except TimeoutError:
            result.fail(request, TIMEOUT)
        except aiohttp.ClientConnectorError:
            result.fail(request, UNREACHABLE)
        except (aiohttp.ClientError, OSError, ValueError):      # ValueError: what cannot be sent, or what was answered
            result.fail(request, NO_ANSWER)
        else:
            result.answered(request, answer)

    async def _ask(self, request: Recorded, began: float) -> Answer:
        fields = [(name, value) for name, value in request.fields if name.lower() != "host" or not self._terms.host]
        fields += [("Host", self._terms.host)] if self._terms.host else []
        fields.append(("X-Turnout-Shadow", "1"))        # so that a Turnout on the way makes no copies of it
        most, url = self._terms.rules.max_body, URL(self._base + request.target, encoded=True)
        async with self._session.request(
            request.method, url, headers=fields, data=request.body or None, allow_redirects=False,
        ) as response:
            body = bytearray()
            async for piece in response.content.iter_chunked(64 * 1024):
                body += piece
                if len(body) > most:
                    break               # longer than is compared; leaving the block closes the connection
            return Answer(response.status, response.raw_headers, bytes(body[:most]), len(body) <= most,
                          time.monotonic() - began)


class _Progress:
    """On a terminal, how far it is."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._live = sys.stderr.isatty()
        self._shown_at = 0.0

    def show(self) -> None:
        """Say it, twice a second at most."""
        now = time.monotonic()
        if self._live and now - self._shown_at >= _EVERY_S:
            self._shown_at = now
            different = sum(one.different for one in self._result.groups.endpoints.values())
            sys.stderr.write(f"\r{self._result.sent:,} sent, {different:,} different; Ctrl-C ends it\x1b[K")
            sys.stderr.flush()

    def end(self) -> None:
        """Leave the terminal's line."""
        if self._live:
            sys.stderr.write("\r\x1b[K")
