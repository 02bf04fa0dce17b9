"""How long something that failed stays out, how that grows and is forgotten, and which of two news of it holds.

Ejections of servers and breakers of versions share these rules. Invariant: `outranks` is a total order of news, so
workers that have heard the same news know the same, in whatever order they heard it.
"""

from __future__ import annotations

from math import ceil, log2

PATIENCE = 2.0
"""It must stay in for so many times as long as it was out before one step of the growth is forgotten.

Were the growth forgotten at once when it comes in, something that fails again as soon as it has traffic would be tried
at the shortest interval for ever, and cost clients a row of failures each time. So what fails again sooner is out for
longer the next time: something that flaps is out most of the time, and only what has been in for clearly longer than
out is trusted a step more.
"""


def away_s(first_s: float, most_s: float, times: int) -> float:
    """Return for how many seconds it is out when that happens for the `times`-th time in a row, counted from 1."""
    return min(most_s, first_s * 2.0 ** min(max(times, 1) - 1, 64))


def forgiven(times: int, since: float, now: float, first_s: float, most_s: float) -> tuple[int, float]:
    """Return `times` and `since` of something that has been in from `since` to `now`, after what is forgotten by now.

    One step at a time: each costs `PATIENCE` times the time out that belongs to it. Times beyond the one that first
    reached `most_s` are forgotten together, since they did not make it longer.
    """
    while times > 0:
        good_until = since + PATIENCE * away_s(first_s, most_s, times)
        if now < good_until:
            break
        times, since = min(times, _steps(first_s, most_s)) - 1, good_until
    return times, since


def outranks(news: tuple[int, bool, float, int], known: tuple[int, bool, float, int]) -> bool:
    """Whether `news` replaces `known`; both are (epoch, out, until, times), `until` 0 for what is in.

    The higher epoch holds; of two that are the same age what is out holds, for the longer time. The greater of `times`
    settles the rest.
    """
    return news > known


def _steps(first_s: float, most_s: float) -> int:
    """At which time in a row `most_s` is reached, 1 at least."""
    return 1 + max(0, ceil(log2(most_s / first_s))) if first_s > 0 and most_s > 0 else 1
