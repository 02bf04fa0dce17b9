"""Where routes lie: host first, then the longest path prefix, then conditions. It depends on their matches alone.

So the layout of a thousand routes is shared by all snapshots that only steer them elsewhere. It speaks of routes by
their place in the snapshot; what a place means is the router's to say.

A table holds its prefixes in a tree, one segment per level. The tables of a host form a chain: its own, those of the
wildcards it falls under (the longest first), that of any host. Tables are named by the host as it is configured, in
bytes; the one of any host is named `b""`.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.core.match import path_segments, specificity, to_bytes
from proxy.core.route import Match

ANY_HOST = b""


class Node:
    """A path prefix in the tree of a table."""

    __slots__ = ("above", "children", "places", "sole")

    def __init__(self, above: Node | None) -> None:
        self.above = above                 # the next shorter prefix in the tree
        self.children: dict[bytes, Node] = {}
        self.places: tuple[int, ...] = ()  # routes of exactly this prefix, in the order they are tried
        self.sole: int | None = None       # the first of them, if it takes everything

    def at(self, segments: Sequence[bytes]) -> Node:
        """The node below this one for these segments, made where there is none."""
        node = self
        for segment in segments:
            node = node.children.setdefault(segment, Node(node))
        return node


class Layout:
    """The tables of all hosts. `roots`: their trees by name; `beyond`: the table to go on with, None for the last."""

    __slots__ = ("_deepest", "beyond", "roots")

    def __init__(self, matches: Sequence[Match]) -> None:
        by_host: dict[bytes, list[int]] = {}
        for place, match in enumerate(matches):
            by_host.setdefault(to_bytes(match.host or ""), []).append(place)
        self.roots = {host: _tree(places, matches) for host, places in by_host.items()}
        self._deepest = max((host.count(b".") for host in by_host if host.startswith(b"*.")), default=0)
        self.beyond = {host: None if host == ANY_HOST else self._wildcard_above(host.removeprefix(b"*."))
                       for host in by_host}

    def first(self, host: bytes) -> bytes | None:
        """The first table for a host as a request names it; None if no route is for it."""
        if host in self.roots and not host.startswith(b"*."):
            return host
        return self._wildcard_above(host)

    def _wildcard_above(self, host: bytes) -> bytes | None:
        """The longest wildcard that a host falls under, else any host.

        Only as many labels are split off as the longest wildcard has: a host of a thousand dots costs no more.
        """
        labels = host.rsplit(b".", self._deepest) if self._deepest else []
        for place in range(1 if labels and labels[0] else 2, len(labels)):
            wildcard = b"*." + b".".join(labels[place:])
            if wildcard in self.roots:
                return wildcard
        return ANY_HOST if ANY_HOST in self.roots else None


def _tree(places: Sequence[int], matches: Sequence[Match]) -> Node:
    root = Node(None)
    closed: set[Node] = set()              # behind a route that takes everything none is reached
    # Sorting is stable: what is equally specific stays in the order of the file.
    for place in sorted(places, key=lambda place: specificity(matches[place])):
        match = matches[place]
        node = root.at(path_segments(match.path))
        if node in closed:
            continue
        if not (match.methods or match.headers):
            closed.add(node)
            node.sole = None if node.places else place
        node.places += (place,)
    return root
