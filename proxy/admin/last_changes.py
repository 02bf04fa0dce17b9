"""The newest event of every route, read from the journal as it grows: looked up for each status, found once."""

from __future__ import annotations

import asyncio

from proxy.controlplane.events import Event
from proxy.controlplane.journal.journal import Journal, JournalError

_AT_ONCE = 500


class LastChanges:
    """`by_route`: the newest event of each route that had one among the newest 500, or since. `newest`: its id."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._reading = asyncio.Lock()
        self.by_route: dict[str, Event] = {}
        self.newest = 0

    async def refresh(self) -> None:
        """Take in what was journaled since; costs nothing when nothing was."""
        if self._journal.last_id == self.newest:
            return
        async with self._reading:
            while (last_id := self._journal.last_id) != self.newest:
                try:
                    self._take(await asyncio.to_thread(self._read, last_id))
                except JournalError:
                    return      # status is needed most when a disk fails; it shows what was read before

    def _read(self, last_id: int) -> list[Event]:
        if self.newest > 0 and last_id - self.newest <= _AT_ONCE:
            return self._journal.events(self.newest, _AT_ONCE)
        # Far behind, or just begun: of what is older than this page nobody asks first.
        return self._journal.events(0, _AT_ONCE, newest_first=True)[::-1]

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if event.route is not None:
                self.by_route[event.route] = event
        self.newest = events[-1].id if events else self._journal.last_id
