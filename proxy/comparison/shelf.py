"""The books of all routes: those that are watched, and those that are kept to be read.

Invariant: what all groups together hold stays below `MOST_BYTES`, checked once a second: the largest book gives way
first. Kept ones are `MOST_KEPT` at most; the one that was put away first is forgotten. Nothing is put away before all
that it has counted is told. Where there are many books, what
they remember of places in documents is worked out anew each second, since each may hold megabytes of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from proxy.comparison.book import Book
from proxy.ipc.comparing import Watched
from proxy.ipc.pairs import Pair

MOST_KEPT = 50
FEW = 8
"""Books that may keep what they remember of places; it takes each of them 10 MB at most."""
MOST_BYTES = 64 * 1024 * 1024
BUSY = "comparer_busy"
"""Why a pair was not compared that found no room, here as in a worker."""
OUTDATED = "outdated"
"""Why a pair was not compared that belongs to a shadow of before the last change."""


class Shelf:
    """See the module."""

    def __init__(self) -> None:
        self.books: dict[str, Book] = {}
        """Of the routes that are watched, and of those that were until now and have counts that are not told yet."""
        self._watched: dict[str, Watched] = {}
        self._cleared: set[str] = set()
        """Of those that were watched until now the ones that are not kept."""
        self.kept: dict[str, Book] = {}
        self.active: dict[str, None] = {}
        """Routes of which something came since they were told of, the longest waiting first."""

    def configure(self, routes: Iterable[Watched], now_s: float) -> None:
        """Watch these from now on; see `ipc.comparing.Configure`."""
        self._watched = {watched.route: watched for watched in routes}
        self._cleared -= self._watched.keys()
        for route, watched in self._watched.items():
            held = self.books.get(route) or self.kept.pop(route, None)
            self.books[route] = held if held is not None and held.watched == watched else Book(watched, now_s, held)
        self._put_away()

    def _put_away(self) -> None:
        """Keep, to be read, what is not watched any more."""
        for route in [route for route in self.books if route not in self._watched and route not in self.active]:
            book = self.books.pop(route)
            if route in self._cleared:
                self._cleared.remove(route)
            else:
                self.kept[route] = book
                book.forget_places()
        while len(self.kept) > MOST_KEPT:
            del self.kept[next(iter(self.kept))]

    def find(self, route: str) -> Book | None:
        """The book of a route, watched or kept."""
        return None if route in self._cleared else self.books.get(route) or self.kept.get(route)

    def clear(self, route: str, now_s: float) -> bool:
        """Begin afresh; whether there was anything."""
        was_there = self.find(route) is not None
        self.kept.pop(route, None)
        if (held := self.books.get(route)) is not None:
            held.clear(now_s)
            if route not in self._watched:
                self._cleared.add(route)
        return was_there

    def take(self, pair: Pair) -> Book | None:
        """Compare; returns the book it went into."""
        book = self.books.get(pair.route)
        if book is None:
            return None
        self.active[pair.route] = None
        if pair.to != book.watched.to:
            book.skip(OUTDATED)
            return None
        book.take(pair)
        return book

    def make_room(self) -> None:
        """Put away what can be, and keep to `MOST_BYTES`."""
        self._put_away()
        if len(self.books) > FEW:
            for route in self.active:
                if (book := self.books.get(route)) is not None:
                    book.forget_places()
        every = [*self.books.values(), *self.kept.values()]
        while sum(book.groups.bytes for book in every) > MOST_BYTES:
            max(every, key=lambda book: book.groups.bytes).shrink()
