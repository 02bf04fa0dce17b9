"""The file takes hold while everything runs: read, compared, merged with what operators made of the routes, applied.

Invariant: a file with a fault anywhere changes nothing. One that says what is in force already changes nothing either,
and makes no new revision.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from stat import S_ISREG

import structlog

from proxy.controlplane.commands.ask import REASON_LENGTH, Ask, Outcome
from proxy.controlplane.commands.transactions import Plan, Transactions
from proxy.controlplane.errors import CommandError, HandingOver, InvalidChange, NothingToReload, Outdated
from proxy.controlplane.events import Author, Event
from proxy.controlplane.journal.errors import StateError
from proxy.core import draining
from proxy.core.changes import Step
from proxy.core.merge import merged
from proxy.errors import ConfigError, Problem
from proxy.ipc.channel import framed
from proxy.ipc.frames import FrameError
from proxy.ipc.messages import Apply
from proxy.settings import Settings, differences_needing_upgrade, load_file
from proxy.settings.strict_yaml import MAX_FILE_BYTES

log = structlog.get_logger("commands")

SETTLED_S = 0.25
"""A file that was just changed is read once it has stayed the same for so long: it may be half written."""
_OFF_S = 1.0        # between two looks at whether looking was turned on


class Reloader:
    """Reads the file again. `ok`: whether the last reload worked; `at`: when it was, seconds since the epoch."""

    def __init__(self, transactions: Transactions, record: Callable[[Event], None]) -> None:
        self._transactions = transactions
        self._record = record
        self._started_with = transactions.settings
        self._reading = asyncio.Lock()
        self.refusal: str | None = None
        """Why the file is not to be read again now."""
        self.ok = True
        self.at = transactions.wall()

    async def reload(self, ask: Ask) -> Outcome:
        """Bring the file's present content into force, in one revision.

        Raises NothingToReload without a file, ConfigError with every problem of a bad one (also journaled, logged and
        in `ok`), Outdated, and what every change may raise. A dry run leaves no trace.
        """
        file = self._transactions.settings.file
        if file is None:
            raise NothingToReload("Turnout was started without a file: restart it with `turnout run -c FILE`")
        async with self._reading:       # of two at the same time, the one that read later also takes hold later
            if self.refusal is not None:
                raise HandingOver(f"nothing was reloaded: {self.refusal}; ask again when it is through")
            try:
                found = await asyncio.to_thread(_load, file)
                outcome = await self._transactions.run(lambda: self._plan(found, ask), ask)
            except ConfigError as error:
                self._failed(file, error, ask)
                raise
        if not ask.dry_run:
            self.ok, self.at = True, self._transactions.wall()
        return outcome

    async def _plan(self, found: Settings, ask: Ask) -> Plan:
        transactions = self._transactions
        state, settings = transactions.state, _taken_live(found, self._started_with)
        if ask.if_match is not None and state.revision not in ask.if_match:
            raise Outdated("the state", state.revision)
        notes = tuple(f"`{key}` takes effect with `turnout upgrade`"
                      for key in differences_needing_upgrade(self._started_with, found))
        if _content(settings) == _content(transactions.settings):
            return Plan(Step(state), (), notes=(*notes, "the file says what is in force already"))
        step = merged(settings.routes, settings.versions, state, transactions.routes)
        try:
            framed(Apply(transactions.compile(settings, step.state)))
        except FrameError as error:
            raise ConfigError([Problem(str(found.file), "", f"is too large for the workers: {error}")]) from None
        except StateError as error:
            because = f"is not there, and there is no other: {error}"
            raise ConfigError([Problem(str(found.file), "secret", because)]) from None
        notes += draining.refused(step.state, settings.versions, settings.routes)
        touched = {name for name, held in step.state.routes.items() if held.revision == step.state.revision}
        gone = state.routes.keys() - step.state.routes.keys()
        return Plan(step, tuple(sorted(touched | gone)), settings, "reload", notes=notes)

    def _failed(self, file: str, error: ConfigError, ask: Ask) -> None:
        if ask.dry_run:
            return
        transactions = self._transactions
        self.ok, self.at = False, transactions.wall()
        log.error("reload failed, nothing has changed", file=file, problems=list(map(str, error.problems[:20])))
        self._record(Event(self.at, ask.author, "reload-failed", transactions.state.revision,
                           reason=str(error)[:REASON_LENGTH]))


class FileWatch:
    """Reloads when the content of the file changes. `run` is its task, of the owner's; `reload` never reads less than
    the content that was seen.

    Content, not inotify: that misses what a mounted configuration does. The first look always reloads, which changes
    nothing unless the file was changed since it was read at the start. `pause`: waits for so many seconds.
    """

    def __init__(self, settings: Callable[[], Settings], reload: Callable[[Ask], Awaitable[Outcome]],
                 pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._settings = settings
        self._reload = reload
        self._pause = pause
        self._seen: bytes | None = None

    async def run(self) -> None:
        """Look every `settings.watch_s` seconds, until cancelled. While that is None, look for nothing."""
        while True:
            settings = self._settings()
            await self._pause(settings.watch_s or _OFF_S)
            if settings.watch_s is not None and settings.file is not None:
                await self.look(settings.file)

    async def look(self, file: str) -> None:
        """Reload if the content is another one than at the last look and has settled."""
        digest = await asyncio.to_thread(_digest, file)
        if digest is None or digest == self._seen:
            return      # gone for a moment, as while an editor replaces it: what it said stays in force
        await self._pause(SETTLED_S)
        if await asyncio.to_thread(_digest, file) != digest:
            return      # still being written: the next look sees it
        try:
            await self._reload(Ask(Author("file", file), "the content has changed"))
        except (ConfigError, InvalidChange):
            pass        # told by the reload; the same content would fail again
        except CommandError as error:
            log.warning("the file is to be read again", because=error.detail)
            return      # could not be journaled, or we are leaving: it is due still
        self._seen = digest


def _load(file: str) -> Settings:
    """What the file says. Raises ConfigError, also for a pipe: it would make this thread wait for who writes to it."""
    if not _is_readable_again(file):
        raise ConfigError([Problem(file, "", "is not a regular file, so it cannot be read again: restart Turnout")])
    return load_file(file)


def _digest(file: str) -> bytes | None:
    """What the file holds, as a hash of as much as a configuration may be; None when it cannot be read."""
    try:
        if not _is_readable_again(file):
            return None
        with open(file, "rb") as opened:
            return hashlib.blake2b(opened.read(MAX_FILE_BYTES + 1), digest_size=16).digest()
    except OSError:
        return None


def _is_readable_again(file: str) -> bool:
    """Whether it is no pipe, socket or device; of one that is not there, reading says it better."""
    try:
        return S_ISREG(os.stat(file).st_mode)
    except OSError:
        return True


def _taken_live(found: Settings, started_with: Settings) -> Settings:
    """The new settings, with what this process cannot change as it has it: they must say what is in force."""
    return replace(
        found, listen=started_with.listen, workers=started_with.workers, state_dir=started_with.state_dir,
        admin=replace(found.admin, listen=started_with.admin.listen), events_kept=started_with.events_kept,
    )


def _content(settings: Settings) -> Settings:
    """Settings without the places in the file, which move with every comment."""
    return replace(settings, warnings=())


