"""Which turns of servers and versions are said to people: a server that flaps must not fill the journal.

Invariant: of each server and version at most one turn is said in `EVERY_S` seconds, and what was said last is how it
is, at the latest after so long a time. Those left out are counted in the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from proxy.controlplane.health.pages import Key, Turn

EVERY_S = 10.0


@dataclass(slots=True)
class _Said:
    """What was said last of one server or version, and what was not. `unsaid` includes `last`."""

    turn: Turn
    at: float
    last: Turn | None = None
    unsaid: int = 0


class Telling:
    """See the module. `say` is told a turn and how many before it were left out. `now`: seconds, never going back."""

    def __init__(self, say: Callable[[Turn, int], None]) -> None:
        self._say = say
        self._said: dict[Key, _Said] = {}
        self._waiting: dict[Key, None] = {}  # in the order in which they came

    def hear(self, turn: Turn, now: float) -> None:
        """Take in a turn, and say it unless one was said just now."""
        key = turn.version, turn.server
        said = self._said.get(key)
        if said is None:
            self._said[key] = _Said(turn, now)
            self._say(turn, 0)
        elif key in self._waiting or now - said.at < EVERY_S:
            said.last = turn
            said.unsaid += 1
            self._waiting[key] = None
        else:
            self._speak(said, turn, now, said.unsaid)

    def settle(self, now: float) -> None:
        """Say what is due: turns that had to wait, unless all is again as was said. Cheap when nothing waits."""
        for key in [key for key in self._waiting if now - self._said[key].at >= EVERY_S]:
            self._waiting.pop(key, None)
            said = self._said[key]
            turn, said.last = said.last, None
            if turn is not None and (turn.out, turn.by) != (said.turn.out, said.turn.by):
                self._speak(said, turn, now, said.unsaid - 1)

    def retain(self, keys: Collection[Key]) -> None:
        """Forget all others."""
        for key in [key for key in self._said if key not in keys]:
            del self._said[key]
            self._waiting.pop(key, None)

    def _speak(self, said: _Said, turn: Turn, now: float, unsaid: int) -> None:
        said.turn, said.at, said.last, said.unsaid = turn, now, None, 0
        self._say(turn, unsaid)
