"""Sends a recording again: in its order, at most so many at once, at most so many a second."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import click

from proxy.cli.client import printable
from proxy.cli.replay.recorded import Recorded
from proxy.cli.replay.result import NO_ANSWER, NO_BODY, REDACTED, TIMEOUT, UNREACHABLE, Result
from proxy.cli.replay.sending import BrokenOff, Client, Place, Unreachable, message
from proxy.cli.replay.words import as_json as json_text
from proxy.cli.replay.words import render
from proxy.cli.talk import warn
from proxy.core.compare.values import Answer, Rules

_UNREADABLE_SHOWN = 5
_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Terms:
    """How to send, and how to compare. `to`: the place as it was written; `rate`: requests a second, None for as fast
    as they are answered; `timeout`: seconds an answer may take.
    """

    to: str
    place: Place
    rules: Rules
    rate: float | None = None
    concurrency: int = 16
    timeout: float = 10.0
    host: str | None = None
    send_redacted: bool = False


def run(name: str, entries: Iterable[Recorded | str], terms: Terms, *, as_json: bool) -> int:
    """Replay what was recorded, print what came of it, and return the exit code. `name`: of the recording."""
    result = Result(terms.rules)
    try:
        _run(name, entries, terms, result)
    except KeyboardInterrupt:       # what was compared until then is told, but it is not the whole
        result.is_whole = False
    view = result.view(name, terms.to)
    click.echo(json_text(view) if as_json else printable("\n".join(render(view, result.failed)), keep="\n"))
    return result.exit_code()


def _run(name: str, entries: Iterable[Recorded | str], terms: Terms, result: Result) -> None:
    try:
        asyncio.run(_replay(entries, terms, result))
    except* OSError as errors:      # of the file: those of connections are results
        result.is_whole = False
        warn(printable(f"turnout: {name} cannot be read: {errors.exceptions[0]}"))


async def _replay(entries: Iterable[Recorded | str], terms: Terms, result: Result) -> None:
    with closing(Client(terms.place, terms.rules.max_body)) as client:
        sender = _Sender(client, terms, result)
        places = asyncio.Semaphore(terms.concurrency)
        began, progress = time.monotonic(), _Progress(result)
        async with asyncio.TaskGroup() as tasks:
            for number, request in enumerate(_sendable(entries, terms, result)):
                await places.acquire()
                if terms.rate is not None:
                    await asyncio.sleep(max(0.0, began + number / terms.rate - time.monotonic()))
                task = tasks.create_task(sender.send(request), name="replayed request")
                task.add_done_callback(lambda _: places.release())
                progress.show()
        progress.end()


def _sendable(entries: Iterable[Recorded | str], terms: Terms, result: Result) -> Iterator[Recorded]:
    """The requests that can be sent; the others are counted, with why."""
    for entry in entries:
        if isinstance(entry, str):
            result.unreadable += 1
            if result.unreadable <= _UNREADABLE_SHOWN:
                warn(printable(entry))
        elif entry.body_left_out:
            result.skip(entry, NO_BODY + entry.body_left_out)
        elif entry.is_redacted and not terms.send_redacted:
            result.skip(entry, REDACTED)
        else:
            yield entry


class _Sender:
    """Sends one request and has its answer compared."""

    def __init__(self, client: Client, terms: Terms, result: Result) -> None:
        self._client = client
        self._terms = terms
        self._result = result

    async def send(self, request: Recorded) -> None:
        """Never raises for what the server does."""
        result, began = self._result, time.monotonic()
        result.sent += 1
        result.without_fields += bool(request.left_out)
        try:
            async with asyncio.timeout(self._terms.timeout):
                reply = await self._client.ask(request.method, self._message(request))
        except TimeoutError:
            result.fail(request, TIMEOUT)
        except Unreachable:
            result.fail(request, UNREACHABLE)
        except BrokenOff:
            result.fail(request, NO_ANSWER)
        else:
            took_s = time.monotonic() - began
            result.answered(request, Answer(reply.status, reply.fields, reply.body, reply.whole, took_s))

    def _message(self, request: Recorded) -> bytes:
        fields, host = request.fields, self._terms.host
        if host is not None:
            fields = tuple(field for field in fields if field[0].lower() != b"host")
        if not any(name.lower() == b"host" for name, _ in fields):
            fields = ((b"Host", (host or self._terms.place.name).encode("ascii")), *fields)
        # The last field: so that a Turnout on the way makes no copies of it.
        return message(request.method, request.target, (*fields, (b"X-Turnout-Shadow", b"1")), request.body)


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
