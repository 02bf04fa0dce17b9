"""The outcome of choosing a version, and the chance that choosing may need: chance is an argument, never a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from proxy.core.router import CompiledRoute

Reason = Literal["override", "sticky", "split"]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which version takes a request. `index` is its place in the route's `versions`.

    `set_cookie` is the complete value of a Set-Cookie field to add to the response, or None.
    """

    index: int
    version: str
    reason: Reason
    set_cookie: bytes | None = None


class Chance(Protocol):
    """Where randomness comes from: the data plane's generator, or a script in a test."""

    def draw(self, route: CompiledRoute, /) -> float:
        """A number in [0, 1) for a request of this route that is not sticky; see `split.advance` for a smooth one."""

    def fresh_key(self) -> bytes:
        """A new random key for a client: `sticky.KEY_LENGTH` (24) ASCII letters and digits, `secrets.token_hex(12)`."""
