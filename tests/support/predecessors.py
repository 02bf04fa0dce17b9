"""Workers of an earlier supervisor, played by a test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class Former:
    """A predecessor that does as it is told, when the test says so."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.is_quiet = asyncio.Event()
        self.is_gone = asyncio.Event()

    @property
    def has_gone(self) -> bool:
        return self.is_gone.is_set()

    def leave(self, within_s: float) -> None:
        self.told.append(("leave", within_s))

    async def quiet(self) -> None:
        await self.is_quiet.wait()

    async def gone(self) -> None:
        await self.is_gone.wait()

    def cut_off(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.told.append(("cut", tuple(pairs)))

    def kill(self, reason: str, *, unless_quiet: bool = False) -> None:
        self.told.append("kill the loud" if unless_quiet else "kill")
        self.is_quiet.set()
        self.is_gone.set()

    def forget(self) -> None:
        self.told.append("forget")
