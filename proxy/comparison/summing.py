"""Once a second: what came since, as increments, for the supervisor's sums.

Invariant: every increment is told once. A summary takes `BUDGET_S` at most and one route more; who is left waits for
the next one, the longest waiting first.
"""

from __future__ import annotations

from proxy.clock import Clock
from proxy.comparison.book import Book
from proxy.comparison.shelf import Shelf
from proxy.ipc.comparing import Summary, Window
from proxy.ipc.messages import HistogramSeries, Series
from proxy.telemetry import shadowing as metric
from proxy.telemetry.names import SHADOW_SKIPPED

BUDGET_S = 0.02


class Summing:
    """Makes summaries of a shelf."""

    def __init__(self, shelf: Shelf, clock: Clock) -> None:
        self._shelf = shelf
        self._clock = clock
        self._windows: dict[str, None] = {}
        """Routes that had pairs in the last minute."""

    def take(self, dropped: int, broken: int) -> Summary:
        """The summary of this moment."""
        now = self._clock()
        counters: list[Series] = [
            (name, (), count) for name, count in ((metric.DROPPED, dropped), (metric.BROKEN, broken)) if count]
        histograms: list[HistogramSeries] = []
        shelf = self._shelf
        while shelf.active and self._clock() - now <= BUDGET_S:
            route = next(iter(shelf.active))
            del shelf.active[route]
            if (book := shelf.books.get(route)) is not None:
                self._windows[route] = None
                _tell(route, book, now, counters, histograms)
        windows = self._open_windows(now)
        gauges: list[Series] = [
            (metric.MATCH_RATIO, (window.route,), window.matched / window.compared) for window in windows]
        return Summary(counters, gauges, histograms, windows)

    def _open_windows(self, now: float) -> list[Window]:
        windows = []
        for route in list(self._windows):
            book = self._shelf.books.get(route)
            compared, matched = (0, 0) if book is None else book.window(now)
            if compared:
                windows.append(Window(route, compared, matched))
            else:
                del self._windows[route]
        return windows


def _tell(route: str, book: Book, now: float, counters: list[Series], histograms: list[HistogramSeries]) -> None:
    new = book.news(now)
    counters += [(metric.COMPARED, (route, result), count)
                 for result, count in (("matched", new.matched), ("different", new.different)) if count]
    counters += [(SHADOW_SKIPPED, (route, reason), count) for reason, count in book.new_skips(new).items()]
    counters += [(metric.MISMATCHES, (route, name), count) for name, count in book.new_mismatches().items()]
    durations, book.durations = book.durations, {}
    histograms += [(metric.DURATION, (route, version), one.buckets, one.sum) for version, one in durations.items()]
