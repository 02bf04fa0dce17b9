"""Colours by name, or none: plain ANSI sequences, and https://no-color.org is respected."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.cli.demo.plan import NEW, OLD

_OF_VERSION = {OLD: "36", NEW: "32"}


@dataclass(frozen=True, slots=True)
class Style:
    """How text is emphasised; with `colour` False it stays as it is."""

    colour: bool

    @property
    def overhead(self) -> int:
        """How many characters an emphasis adds that take no column."""
        return len(self.bold(""))

    def bold(self, text: str) -> str:
        """Emphasise."""
        return self._as("1", text)

    def dim(self, text: str) -> str:
        """Put into the background."""
        return self._as("2", text)

    def bad(self, text: str) -> str:
        """Say that it should not be."""
        return self._as("1;31", text)

    def version(self, version: str) -> str:
        """Return the version's name in its colour."""
        return self.strong(version, version)

    def paint(self, version: str, text: str) -> str:
        """Return text in the colour of a version."""
        return self._as(_OF_VERSION[version], text)

    def strong(self, version: str, text: str) -> str:
        """Return text in the colour of a version, emphasised."""
        return self._as(f"1;{_OF_VERSION[version]}", text)

    def _as(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text
