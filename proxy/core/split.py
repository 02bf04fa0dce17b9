"""How a route's weights become versions: by draw for clients nobody recognises, by key for those somebody does.

Invariant: a key's version depends on the salt, the key, and the names and positive weights of the versions; on
nothing else, neither their order nor the process. Raising one weight moves keys only to that version.

The key's version is found by *weighted rendezvous hashing*: every version runs a race with an exponentially
distributed time of its own, -ln(1-u)/weight, and the shortest time wins. The minimum of independent exponentials falls
on each in proportion to its rate, so shares are exact; and a version's time depends on its own weight alone, so others
keep their order when it changes. Sources: Thaler and Ravishankar, "Using name-based mappings to increase hit rates"
(1998), for rendezvous hashing; Schindelhauer and Schomaker, "Weighted distributed hash tables" (2005), for the
logarithmic weights; Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006), for the same race.

The independent u of every version come out of one digest d of the key: u = (d * f mod 2^128) / 2^128, where f is an odd
constant made from the version's name. With d uniform each u is uniform (an odd factor permutes the residues). The
tuples (u1 … un) form a lattice of 2^128 points; what they have in common are its short dual vectors, small integers h
with h1*f1 + … + hn*fn = 0 mod 2^128. For factors from a hash the chance that one shorter than B exists is about
B^n / 2^128: 2^-64 for B = 2^32 and two versions, B = 2^16 and four, B = 2^8 and eight. A dependence that only shows at
such frequencies is far below anything a share could reveal.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from math import fsum, log1p

Racer = tuple[int, float, int]             # a version's factor, weight (> 0) and index

GOLDEN = 0.6180339887498949                # (sqrt(5) - 1) / 2
_BITS = 128
_UNSALTED = blake2b(digest_size=_BITS // 8, person=b"turnout position")
_MASK = (1 << _BITS) - 1
_SCALE = -(1 - 2**-53) * 2.0**-_BITS       # 0 … 2^128 → 0 … -(1 - 2^-53): as a double never -1, whose log1p is none


def advance(x: float) -> float:
    """The next draw after `x`, both in [0, 1): the Weyl sequence of the golden ratio, x + (sqrt 5 - 1)/2 modulo 1.

    It is the additive sequence of lowest discrepancy (Kuipers and Niederreiter, "Uniform Distribution of Sequences",
    §2.3): among n successive draws a share p is met p*n times within a few, and the draws it gets are spread evenly.
    """
    x += GOLDEN
    return x - 1.0 if x >= 1.0 else x


def shares(weights: Sequence[float]) -> tuple[float, ...]:
    """Each weight divided by their sum. Weights are >= 0, at least one is positive, and their sum is finite."""
    total = fsum(weights)
    return tuple(weight / total for weight in weights)


class Draw:
    """Versions laid side by side on [0, 1), each as wide as its share, in the order of the file."""

    __slots__ = ("bounds", "indices", "shares")

    def __init__(self, weights: Sequence[float]) -> None:
        self.shares = shares(weights)
        positive = tuple(index for index, weight in enumerate(weights) if weight > 0)
        cumulative = tuple(accumulate(self.shares[index] for index in positive))
        self.indices = positive
        self.bounds = cumulative[:-1]      # the last bound is 1 by definition, whatever rounding makes of it

    def pick(self, x: float) -> int:
        """The index of the version whose interval holds `x`, in [0, 1). A weight of 0 has none."""
        return self.indices[bisect_right(self.bounds, x)]

    def interval(self, index: int) -> tuple[float, float] | None:
        """Where [lower, upper) the draws of a version lie; None if its weight is 0."""
        if index not in self.indices:
            return None
        place = self.indices.index(index)
        edges = (0.0, *self.bounds, 1.0)
        return edges[place], edges[place + 1]


class Race:
    """Weighted rendezvous hashing of keys over the versions of one route."""

    __slots__ = ("_factors", "_pair", "_racers", "_salt", "pick")

    pick: Callable[[bytes], int]
    """The index of the version that a key belongs to; keys are bytes of any length."""

    def __init__(self, salt: str, names: Sequence[str], weights: Sequence[float]) -> None:
        # Hashed, so that it may have any length and yet always takes the same room in front of the key. Such a prefix
        # keys BLAKE2 as well as its key parameter does, takes one compression instead of two, and lets all routes
        # start from one prepared state.
        self._salt = _digest(b"turnout salt", salt)
        self._factors = tuple(map(_factor, names))
        # In the order of names: should two times ever be equal, the order in the file has no say.
        places = sorted((place for place, weight in enumerate(weights) if weight > 0), key=names.__getitem__)
        self._racers: tuple[Racer, ...] = tuple((self._factors[place], _shared(weights[place]), place)
                                                for place in places)
        self._pair = (self._salt, *self._racers[0], *self._racers[1]) if len(self._racers) == 2 else None
        self.pick = {1: self._pick_sole, 2: self._pick_of_two}.get(len(self._racers), self._pick_any)

    def position(self, key: bytes) -> float:
        """The key's place in [0, 1) for this route: the top 53 bits of its digest, the same whatever the weights."""
        return (self.digest(key) >> (_BITS - 53)) * 2.0**-53

    def costs(self, key: bytes) -> tuple[float, ...]:
        """What the way to a key costs each version, in their order: the lowest cost / weight wins. Weights aside, it is
        exponentially distributed with mean 1.
        """
        digest = self.digest(key)
        return tuple(-_speed(digest, factor, 1.0) for factor in self._factors)

    def digest(self, key: bytes) -> int:
        """The salted 128-bit hash of a key, that all else is made of."""
        hashed = _UNSALTED.copy()
        hashed.update(self._salt + key)
        return int.from_bytes(hashed.digest(), "big")

    def _pick_sole(self, _key: bytes) -> int:
        return self._racers[0][2]

    def _pick_of_two(self, key: bytes) -> int:
        """The usual case and on the hot path: `digest` and `_speed` written out, nothing called but C.

        What it reads of the route stands in one tuple: with a thousand routes, reading memory is what costs.
        """
        salt, factor_a, weight_a, index_a, factor_b, weight_b, index_b = self._pair  # type: ignore[misc]  # it is there
        hashed = _UNSALTED.copy()
        hashed.update(salt + key)
        digest = int.from_bytes(hashed.digest(), "big")
        a = log1p((digest * factor_a & _MASK) * _SCALE) / weight_a
        b = log1p((digest * factor_b & _MASK) * _SCALE) / weight_b
        return index_a if a >= b else index_b

    def _pick_any(self, key: bytes) -> int:
        digest = self.digest(key)
        return max((_speed(digest, factor, weight), -place, index)
                   for place, (factor, weight, index) in enumerate(self._racers))[2]


def _speed(digest: int, factor: int, weight: float) -> float:
    """The negated time of a version: the greater, the better. Divided and not multiplied by an inverse, since a
    division rounds monotonously and cannot overflow into `0 * inf`.
    """
    return log1p((digest * factor & _MASK) * _SCALE) / weight


@lru_cache(1024)
def _shared(weight: float) -> float:
    """The same weight, as the one object that all routes share."""
    return weight


@lru_cache(1024)
def _factor(name: str) -> int:
    """The odd 128-bit constant of a version's name."""
    return int.from_bytes(_digest(b"turnout version", name)[: _BITS // 8], "big") | 1


def _digest(purpose: bytes, text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=32, person=purpose).digest()
