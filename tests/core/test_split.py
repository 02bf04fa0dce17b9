"""Weights become shares: by draw and by key."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from decimal import Decimal, localcontext
from hashlib import blake2b
from math import sqrt
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from proxy.core.split import Draw, Race, advance, shares
from tests.support.deciding import plausible
from tests.support.exploring import examples

NAMES = ("old", "new", "newer", "v4", "v5", "v6")
Bound = examples(60)

weight = st.one_of(st.just(0.0), st.floats(1e-4, 1e4))
splits = st.lists(weight, min_size=2, max_size=6).filter(lambda weights: max(weights) > 0)
salts = st.text(max_size=80)
keys = st.lists(st.binary(max_size=64), min_size=1, max_size=40)

FAMILIES: dict[str, Callable[[int], bytes]] = {
    "counting": lambda i: b"%d" % i,
    "two bytes": lambda i: i.to_bytes(2, "little"),
    "one long prefix": lambda i: b"session-of-the-shop-in-production-eu-west-" * 5 + b"%08x" % i,
    "one long suffix": lambda i: b"%x" % i + b"=" * 200,
    "issued": lambda i: b"%024x" % (i * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**96),
}


def race(weights: list[float], salt: str = "shop") -> Race:
    return Race(salt, NAMES[: len(weights)], weights)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("percent", [0.01, 1.0, 5.0, 33.3, 50.0, 99.99])
def test_a_share_of_keys_is_the_share_of_the_weight(family: str, percent: float) -> None:
    trials = 40_000
    pick = race([100.0 - percent, percent]).pick
    won = sum(pick(FAMILIES[family](i)) for i in range(trials))
    assert plausible(won, trials, percent / 100)


@examples(25)
@given(weights=splits, salt=salts, family=st.sampled_from(sorted(FAMILIES)))
def test_every_version_gets_its_share_whatever_the_weights(weights: list[float], salt: str, family: str) -> None:
    trials = 3_000
    got = Counter(map(race(weights, salt).pick, map(FAMILIES[family], range(trials))))
    for index, share in enumerate(shares(weights)):
        assert plausible(got[index], trials, share, odds=1e-8)     # 1e-6 for all of the examples together


def test_who_comes_second_is_decided_independently_of_who_came_first() -> None:
    weights = [50.0, 30.0, 15.0, 5.0]
    every = race(weights)
    trials, orders = 30_000, Counter[tuple[int, int]]()
    for i in range(trials):
        costs = every.costs(b"%d" % i)
        first, second = sorted(range(4), key=lambda v: costs[v] / weights[v])[:2]
        orders[first, second] += 1
    for first in range(4):
        for second in {0, 1, 2, 3} - {first}:
            expected = weights[first] / 100 * weights[second] / (100 - weights[first])
            assert plausible(orders[first, second], trials, expected)


@Bound
@given(weights=splits, salt=salts, keys=keys, which=st.integers(0, 5), by=st.floats(1e-6, 1e5))
def test_raising_a_share_moves_keys_only_to_the_raised_version(
        weights: list[float], salt: str, keys: list[bytes], which: int, by: float) -> None:
    raised = which % len(weights)
    before = race(weights, salt).pick
    after = race([w + by if i == raised else w for i, w in enumerate(weights)], salt).pick
    assert all(after(key) in (before(key), raised) for key in keys)


@Bound
@given(weights=splits, salt=salts, keys=keys, which=st.integers(0, 5), part=st.floats(0, 1))
def test_lowering_a_share_moves_keys_only_away_from_the_lowered_version(
        weights: list[float], salt: str, keys: list[bytes], which: int, part: float) -> None:
    lowered = which % len(weights)
    less = [w * part if i == lowered else w for i, w in enumerate(weights)]
    assume(max(less) > 0)
    before, after = race(weights, salt).pick, race(less, salt).pick
    assert all(before(key) in (after(key), lowered) for key in keys)


def test_raising_a_share_moves_as_many_keys_as_the_formula_says() -> None:
    trials = 30_000
    before, after = race([95.0, 5.0]).pick, race([95.0, 20.0]).pick
    moved = sum(before(b"%d" % i) != after(b"%d" % i) for i in range(trials))
    assert plausible(moved, trials, 20 / 115 - 5 / 100)


@Bound
@given(weights=splits, salt=salts, keys=keys, x=st.floats(0, 1, exclude_max=True))
@example(weights=[0.1, 0.2, 0.3, 0.0], salt="", keys=[b""], x=1 - 2**-53)
def test_weight_zero_gets_nothing(weights: list[float], salt: str, keys: list[bytes], x: float) -> None:
    assert all(weights[race(weights, salt).pick(key)] > 0 for key in keys)
    assert weights[Draw(weights).pick(x)] > 0


@Bound
@given(weights=splits, salt=salts, keys=keys, order=st.permutations(range(6)))
def test_the_order_of_versions_in_the_file_has_no_say_for_keys(
        weights: list[float], salt: str, keys: list[bytes], order: list[int]) -> None:
    places = [place for place in order if place < len(weights)]
    there = Race(salt, [NAMES[place] for place in places], [weights[place] for place in places])
    here = race(weights, salt)
    assert all(places[there.pick(key)] == here.pick(key) for key in keys)


@Bound
@given(weights=st.lists(st.floats(1e-4, 1e4), min_size=2, max_size=2), salt=salts, keys=keys)
def test_the_race_of_two_is_the_race_of_many(weights: list[float], salt: str, keys: list[bytes]) -> None:
    two = race(weights, salt)
    for key in keys:
        times = [cost / weight for cost, weight in zip(two.costs(key), weights, strict=True)]
        assert two.pick(key) == times.index(min(times))
        assert two.pick(key) == race([*weights, 0.0], salt).pick(key)


def test_a_key_of_a_version_that_left_goes_where_it_would_have_come_second() -> None:
    for i in range(500):
        key = b"%d" % i
        costs = race([1.0, 1.0, 1.0]).costs(key)
        assert race([1.0, 0.0, 1.0]).pick(key) == min((0, 2), key=costs.__getitem__)


@pytest.mark.parametrize(("a", "b"), [("shop", "shop2"), ("a", "b"), ("", "\0"), ("x" * 64, "x" * 65)])
@pytest.mark.parametrize("percent", [5.0, 50.0])
def test_the_salt_of_one_route_says_nothing_about_another(a: str, b: str, percent: float) -> None:
    trials, share = 20_000, percent / 100
    here, there = race([100 - percent, percent], a), race([100 - percent, percent], b)
    picks = [(here.pick(key), there.pick(key)) for key in (b"%d" % i for i in range(trials))]
    assert plausible(sum(x & y for x, y in picks), trials, share * share)
    # The correlation of the positions is normal with deviation 1/sqrt(n): beyond 4.9 of it lies a chance of 1e-6.
    product = sum((here.position(b"%d" % i) - 0.5) * (there.position(b"%d" % i) - 0.5) for i in range(trials))
    assert abs(product / trials * 12) < 4.9 / sqrt(trials)


def test_positions_fill_the_interval_evenly() -> None:
    tenths = Counter(int(race([1.0, 1.0]).position(b"%d" % i) * 10) for i in range(20_000))
    assert sorted(tenths) == list(range(10))
    assert all(plausible(count, 20_000, 0.1) for count in tenths.values())


def by_the_book(salt: str, names: tuple[str, ...], weights: list[float], key: bytes) -> int:
    """The race with 50 decimal digits, from the formula in the module's docstring and RFC 7693 only."""
    def digest(text: str, purpose: bytes) -> bytes:
        return blake2b(text.encode(), digest_size=32, person=purpose).digest()

    salted = digest(salt, b"turnout salt") + key
    hashed = int.from_bytes(blake2b(salted, digest_size=16, person=b"turnout position").digest(), "big")
    times = {}
    with localcontext() as context:
        context.prec = 50
        for index, (name, weight) in enumerate(zip(names, weights, strict=True)):
            factor = int.from_bytes(digest(name, b"turnout version")[:16], "big") | 1
            u = Decimal(hashed * factor % 2**128) / 2**128
            times[index] = -(1 - u).ln() / Decimal(weight)
    return min(times, key=times.__getitem__)


def test_keys_go_where_the_formula_sends_them() -> None:
    for weights in ([95.0, 5.0], [0.01, 99.99], [60.0, 30.0, 10.0]):
        pick = race(weights).pick
        for i in range(150):
            assert pick(b"key %d" % i) == by_the_book("shop", NAMES[: len(weights)], weights, b"key %d" % i)


def fingerprint(salt: str = "shop") -> str:
    every = Race(salt, ("old", "new", "newer"), (70.0, 20.0, 10.0))
    two = Race(salt, ("old", "new"), (80.0, 20.0))
    return "".join(f"{every.pick(b'%d' % i)}{two.pick(b'%d' % i)}" for i in range(30))


def test_keys_stay_where_they_are_from_release_to_release() -> None:
    assert fingerprint() == "000011001100000011001100002000110020002100000000000000001100"
    assert [race([1.0, 1.0]).position(key) for key in (b"", b"1", b"0123456789abcdef01234567")] == [
        0.16442735907019512, 0.10169415227321865, 0.7184084727162569]


@pytest.mark.parametrize("seed", ["0", "4711"])
def test_keys_go_to_the_same_version_in_every_process(seed: str) -> None:
    here = Path(__file__).parent
    environ = {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(map(str, (here, here.parent.parent)))}
    ran = subprocess.run([sys.executable, "-c", "import test_split as t; print(t.fingerprint('other'))"], env=environ,
                         capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == fingerprint("other")


@pytest.mark.parametrize("weights", [[1.0, 1.0], [99.0, 1.0], [95.0, 0.0, 5.0], [1.0, 2.0, 3.0, 4.0]])
def test_draws_in_sequence_meet_every_share_within_a_few(weights: list[float]) -> None:
    draw, x, got = Draw(weights), 0.123, [0] * len(weights)
    for n in range(1, 5_001):
        x = advance(x)
        got[draw.pick(x)] += 1
        for count, share in zip(got, shares(weights), strict=True):
            assert abs(count - n * share) < 4


def test_a_rare_version_is_drawn_at_even_distances() -> None:
    draw, x, met = Draw([95.0, 5.0]), 0.5, []
    for n in range(4_000):
        x = advance(x)
        if draw.pick(x):
            met.append(n)
    gaps = {later - earlier for earlier, later in itertools.pairwise(met)}
    assert len(gaps) <= 3
    assert max(gaps) <= 40


@Bound
@given(x=st.floats(0, 1, exclude_max=True))
def test_a_draw_advances_within_the_unit_interval(x: float) -> None:
    assert 0.0 <= advance(x) < 1.0


@Bound
@given(weights=splits, x=st.floats(0, 1, exclude_max=True))
def test_a_draw_falls_into_the_interval_that_is_shown(weights: list[float], x: float) -> None:
    draw = Draw(weights)
    interval = draw.interval(draw.pick(x))
    assert interval is not None
    assert interval[0] <= x < interval[1]
    assert all((draw.interval(i) is None) == (w == 0) for i, w in enumerate(weights))
