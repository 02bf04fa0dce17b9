"""How unusual a server's silence is, as a number: the φ accrual failure detector.

φ = -log10 of the chance that an answer is still to come after so long a silence, if the times between answers are
normally distributed as those of the last hundred were: at φ = 1 one suspicion in ten is wrong, at φ = 3 one in a
thousand. Source: Hayashibara, Défago, Yared and Katayama, "The φ accrual failure detector" (SRDS 2004).

Invariant: φ never falls while the silence lasts, and is a finite number for any time.
"""

from __future__ import annotations

from collections import deque
from math import exp, isqrt, log, log1p

SAMPLES = 100
"""Times between answers that are remembered: with one a second, what was normal in the last minutes."""
MOST = 1_000.0
"""φ is never more than this: beyond it there is nothing left to tell apart."""

_NS = 1_000_000_000
_LN_10 = log(10)
_SEED_SPREAD = 4    # before anything is known, a quarter of the interval is taken for its standard deviation
_FAR = 100.0        # standard deviations, at which φ is far above MOST already


class Arrivals:
    """The last times between two answers of one server, and their mean and standard deviation in O(1).

    Kept in whole nanoseconds, so that the running sums are exact however long they run. It starts with two made-up
    samples of the `interval_s` (> 0) at which answers are asked for; real ones push them out in time.
    """

    __slots__ = ("_samples", "_squares", "_sum")

    def __init__(self, interval_s: float) -> None:
        self._samples: deque[int] = deque()
        self._sum = self._squares = 0
        seed, spread = round(interval_s * _NS), round(interval_s * _NS / _SEED_SPREAD)
        self._push(max(1, seed - spread))
        self._push(seed + spread)

    def add(self, interval_s: float) -> None:
        """Take in one time between two answers; it replaces the oldest one when there are `SAMPLES`."""
        self._push(max(0, round(interval_s * _NS)))

    def _push(self, sample: int) -> None:
        if len(self._samples) == SAMPLES:
            oldest = self._samples.popleft()
            self._sum -= oldest
            self._squares -= oldest * oldest
        self._samples.append(sample)
        self._sum += sample
        self._squares += sample * sample

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def mean_s(self) -> float:
        """The mean in seconds."""
        return self._sum / len(self._samples) / _NS

    @property
    def sd_s(self) -> float:
        """The standard deviation in seconds."""
        count = len(self._samples)
        return isqrt(count * self._squares - self._sum * self._sum) / count / _NS


def phi(silence_s: float, mean_s: float, sd_s: float) -> float:
    """The suspicion, 0 to `MOST`, after `silence_s` seconds when answers come every `mean_s` on average; `sd_s` > 0.

    It is log10(2) where the silence is as long as the mean. The tail of the normal distribution is the logistic
    approximation of Bowling, Khasawneh, Kaewkuekool and Cho (2009), 1 - F = 1 / (1 + exp(a)) with
    a = y (1.5976 + 0.070566 y²), off by 0.00014 at most; log(1 + exp(a)) is written so that nothing can overflow.
    """
    y = min(max((silence_s - mean_s) / sd_s, -_FAR), _FAR)
    a = y * (1.5976 + 0.070566 * y * y)
    return min(MOST, (max(a, 0.0) + log1p(exp(-abs(a)))) / _LN_10)
