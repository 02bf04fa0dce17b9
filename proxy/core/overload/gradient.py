"""How much may be in flight at a version at once, found out by how its latency follows what is in flight.

What a server does at once it does in a time of its own; beyond that requests queue in it, and latency grows with them
while no more is answered. By Little's law answers per second times the latency without a queue are what it does at
once. The limit is a bit more than that, so that it never runs dry. The idea of comparing latency with its own best and
of leaving room for a small queue is that of Vegas (Brakmo and Peterson, 1994) and of Netflix's concurrency-limits
(Gradient2); that of looking for the best again now and then, by having less in flight for a moment, is BBR's (Cardwell
et al., ACM Queue 14(5), 2016).

The best latency must not drift up, or overload would become normal. So it is learnt from traffic only while the limit
does not bind, when whatever comes is kept up with. While all of the limit is used, what is in flight is halved every
`LOOK_AGAIN_S` seconds, until latency is the best known, or no longer falls: that is the best then, also if it is a
worse one, since less in flight does not help. These moments are the same for all workers of a host, as their clock is:
one alone would see the queue that the others make. (Proxies on several hosts do see each other's; there a fixed limit
is better.)

Invariant: the limit is within `smallest` and `largest`.
"""

from __future__ import annotations

from math import sqrt

MORE = 1.3
ROOM = 1.25
"""The limit is MORE times what the version does at once, and ROOM times its root: the few need more of a queue so as
not to run dry, and of several workers the one with less in flight catches up with the others by it."""
SLOW = 1.5
"""Latency is too high at so many times the best one. Answers come at random: the mean of `ENOUGH` of them is within 15
% of what it should be two times out of three, where their times are distributed exponentially."""
ENOUGH = 50
"""Answers that a mean needs to decide anything; fewer where fewer can be in flight, and where they do not come within
`LONG_S` seconds, but never fewer than `FEW`."""
FEW = 10
LONG_S = 10.0
LEARN_S = 10.0
"""While the limit does not bind, the best latency follows the present one in about this time."""
FULL = 0.75
"""All of the limit is used when so much of it is in flight on average. A limit that binds only for moments refuses
little, and says nothing about capacity."""
BETTER = 0.8
"""A mean that is below this part of the best latency improves it also while the limit binds."""
LOOK_AGAIN_S = 15.0
"""So often is the best latency looked for while all of the limit is used. It costs a part of a second's answers."""
DEEP = 4
"""One in so many searches does not end with the best latency known, but where it no longer falls: else one that
was found too high once would be found again and again."""
LASTING_S = 0.2
"""Where an answer takes longer at best, a search takes many seconds: then there are only the deep ones."""
STEP_S = 0.5
"""A step of the search lasts twice this: first what was begun before comes to its end, then it is measured."""
AS_GOOD = 1.1
FALLS = 0.9
"""Latency is the best again below `AS_GOOD` times that; it falls if it is less than `FALLS` times the one before."""
ALIKE = 1.25
"""What is found within this factor of what was known is averaged with it, since both were measured with few answers."""


class Gradient:
    """The limit of one version in one worker, from `smallest` to `largest`.

    `limit`: requests that may be in flight now. `best_s`: the latency, in seconds, that the version has without a
    queue; None before it is known. All for reading. The limit starts at `smallest`, from which it grows by a third or
    more with each round as long as latency stays. `smallest` and `largest` may be changed at any time.
    """

    __slots__ = ("_answered", "_answered_s", "_full", "_limit", "_looked_at", "_mean_s", "_most", "_search", "_since",
                 "best_s", "largest", "limit", "smallest")

    def __init__(self, smallest: int, largest: int) -> None:
        self.smallest = max(1, smallest)
        self.largest = max(self.smallest, largest)
        self.best_s: float | None = None
        self._limit = float(self.smallest)
        self.limit = int(self._limit)
        self._mean_s = 0.0                          # of the last round
        self._full = False                          # whether all of the limit was used in it
        self._search: _Search | None = None
        self._looked_at = 0.0
        self._since: float | None = None            # the begin of the round
        self._answered = self._most = 0
        self._answered_s = 0.0

    def look(self, now: float, answered: int, answered_s: float, most_in_flight: int) -> int:
        """Take in what happened since the look before; returns the limit.

        `answered`: requests that were answered well, `answered_s`: how many seconds they took together; what failed
        says nothing about latency. `most_in_flight`: the most that were in flight at once.
        """
        if self._since is None or (self._search is not None and now <= self._search.counts_from):
            self._begin_round(now)                  # what ends now was begun when more was in flight
        else:
            self._answered += answered
            self._answered_s += answered_s
            self._most = max(self._most, most_in_flight)
            self._end_round(now, now - self._since)
        self._search_when_due(now)
        bound = self._limit if self._search is None else min(self._limit, self._search.limit)
        self.limit = int(min(self.largest, max(self.smallest, bound)))
        return self.limit

    def _begin_round(self, now: float) -> None:
        self._since, self._answered, self._answered_s, self._most = now, 0, 0.0, 0

    def _end_round(self, now: float, passed_s: float) -> None:
        if self._is_enough(passed_s):
            self._mean_s = self._answered_s / self._answered
            if self._search is None:
                self._decide(passed_s)
            else:
                self._go_on_searching(now, self._search)
        elif passed_s >= LONG_S:
            self._search, self._full = None, False  # hardly anything is answered: nothing can be said
        else:
            return
        self._begin_round(now)

    def _is_enough(self, passed_s: float) -> bool:
        """Whether a round is over: what is decided shows no sooner than one latency later."""
        if self._answered < FEW or passed_s <= 0.0:
            return False
        if self._search is not None and passed_s < STEP_S:
            return False                            # all workers measure for the same time
        enough = min(ENOUGH, 4 * self.limit)
        return passed_s >= LONG_S or (self._answered >= enough and passed_s >= min(self.best_s or 0.0, LONG_S))

    def _decide(self, passed_s: float) -> None:
        if self.best_s is None:
            self.best_s = self._mean_s
        in_flight = min(self._most, self._answered_s / passed_s)     # on average, by Little's law
        self._full = in_flight >= FULL * self._limit
        binds = self._most >= self.limit
        if not binds or self._most <= self.smallest:
            self.best_s += (self._mean_s - self.best_s) * min(1.0, passed_s / LEARN_S)
        elif self._mean_s < BETTER * self.best_s:
            self.best_s = (self.best_s + self._mean_s) / 2
        self._follow(self._answered / passed_s * self.best_s, self._mean_s > SLOW * self.best_s, binds)

    def _follow(self, at_once: float, slow: bool, binds: bool) -> None:
        """Go to what is right for a version that does so much at once, to half or double at most.

        As long as it could do more than it is given, that is underrated, so this never goes too far up. Down it goes
        half the way, as answers per second are only a sample.
        """
        room = ROOM * sqrt(self._limit)
        right = MORE * at_once + room
        limit = self._limit
        if self._full:
            limit = min(right, 2 * limit) if right > limit else max(limit / 2, (limit + right) / 2)
        elif slow and self._most > self.smallest:   # so few are never too many: it is slow for another reason
            limit = max(limit / 2, min(limit, right))
        elif binds and not slow:
            limit += room / 2                       # it comes in bursts
        self._limit = min(float(self.largest), max(float(self.smallest), limit))

    def _search_when_due(self, now: float) -> None:
        before, self._looked_at = self._looked_at, now
        if self._search is not None or not self._full or self.best_s is None:
            return
        every_s = LOOK_AGAIN_S if self.best_s < LASTING_S else DEEP * LOOK_AGAIN_S
        if now // every_s > before // every_s:
            self._search = _Search(self._limit / 2, self._mean_s, now, now // LOOK_AGAIN_S % DEEP == 0)
            self._begin_round(now)

    def _go_on_searching(self, now: float, search: _Search) -> None:
        assert self.best_s is not None
        least_s = min(self._mean_s, search.mean_s)  # where others have ended their search, their queue is back already
        falls = self._mean_s < FALLS * search.mean_s
        worse = least_s > AS_GOOD * self.best_s
        # A much worse one is believed at the second time it did not fall: capacity may have changed during the first.
        goes_on = (worse or search.deep) if falls else (least_s > ALIKE * self.best_s and not search.stood)
        if goes_on and search.limit > self.smallest:
            self._search = _Search(search.limit / 2, least_s, now, search.deep, stood=not falls)
        else:
            alike = self.best_s / ALIKE < least_s < self.best_s * ALIKE
            self.best_s = (self.best_s + least_s) / 2 if alike else least_s
            self._search = None


class _Search:
    """One step of the search for the best latency: so many in flight for a while, compared with `mean_s` before."""

    __slots__ = ("counts_from", "deep", "limit", "mean_s", "stood")

    def __init__(self, limit: float, mean_s: float, now: float, deep: bool, *, stood: bool = False) -> None:
        self.limit = limit
        self.deep = deep
        self.stood = stood                          # whether the step before did not make it fall
        self.mean_s = mean_s
        self.counts_from = now + min(max(STEP_S, 1.5 * mean_s), LONG_S / 2)
