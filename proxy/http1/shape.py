"""What follows from the *names* of the fields a head carries, worked out once per combination of names.

Clients send few combinations and many values. A shape says where each value stands and what must be done with it; a
head whose shape is `plain` needs no further thought than its values. Shapes are kept by the names alone, in a
bounded table: what does not fit is worked out again each time, with the same result.
"""

from __future__ import annotations

from proxy.http1.fields import HOP_BY_HOP

SHAPES_KEPT = 1024
"""A browser family sends two or three shapes; beyond this many, somebody is inventing them."""


class Shape:
    """Where the fields of one combination of names stand in the parts that a scanner yields."""

    __slots__ = ("aliases", "connection", "names", "values")

    def __init__(self, raw_names: tuple[bytes, ...], known: frozenset[bytes]) -> None:
        """`known`: the names the scanner was made for; others that it found mean nothing here."""
        self.names: tuple[bytes, ...] = tuple(raw.strip(b"\n: \t").lower() for raw in raw_names)
        self.values: dict[bytes, tuple[int, ...]] = {}
        self.aliases: list[int] = []
        """Places of names that are a known one but for an underscore: never believed, never passed on.

        Servers that turn names into variables cannot tell the two apart (Puma CVE-2024-45614).
        """
        for place, name in enumerate(self.names):
            at = 3 * place + 2
            if b"_" in name and name not in known and _is_known(name.replace(b"_", b"-"), known):
                self.aliases.append(at)
            else:
                self.values[name] = (*self.values.get(name, ()), at)
        self.connection: tuple[int, ...] = self.values.get(b"connection", ())

    def places(self, *names: bytes) -> list[int]:
        """Where the values of these fields stand, in no particular order."""
        return [at for name in names for at in self.values.get(name, ())]

    def hop_by_hop(self) -> list[int]:
        """Where fields stand that never go on: hop-by-hop ones and aliases."""
        return self.aliases + self.places(*HOP_BY_HOP)


def _is_known(name: bytes, known: frozenset[bytes]) -> bool:
    return name in known or name.startswith(b"x-forwarded-")


def remove(parts: list[bytes], places: list[int] | tuple[int, ...]) -> None:
    """Take fields out of a head that is going to be joined again."""
    for at in places:
        parts[at - 1] = parts[at] = b""


def joined(parts: list[bytes], places: tuple[int, ...], separator: bytes = b", ") -> bytes:
    """The value of a field that may stand in several lines (RFC 9110 §5.3)."""
    if len(places) == 1:
        return parts[places[0]].strip(b" \t\r")
    return separator.join(parts[at].strip(b" \t\r") for at in places)
