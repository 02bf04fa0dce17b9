"""Templates of request targets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.compare.endpoints import Endpoints
from tests.support.exploring import examples

PATHS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "", "7", "x" * 70]), max_size=4).map(
    lambda parts: "/" + "/".join(parts))


@pytest.mark.parametrize(("target", "template"), [
    (b"/", "/"), (b"/items", "/items"), (b"/items/", "/items/"), (b"/items/42?x=1", "/items/{}"),
    (b"/v1/items", "/v1/items"), (b"/u/8f14e45f-ceea-467f-9c5d-1c1d2b3a4f5e/x", "/u/{}/x"),
    (b"/c/5d41402abc4b2a76b9719d911017c592", "/c/{}"),
    (b"/d/2024-02-29", "/d/{}"), (b"/o/order-1042", "/o/{}"), (b"/m/a@b.example", "/m/{}"),
    (b"/m/a%40b.example", "/m/{}"),
    (b"/t/eyJhbGciOiJIUzI1NiJ9_x-Q", "/t/{}"), (b"http://h.example/items/7", "/items/{}"), (b"*", "/*"),
    (b"/a;v=1/b", "/a/b"),
    (b"/facade/deadbeef", "/facade/deadbeef"), (b"/x/\xff\x00", "/x/{}"), (b"/q/{}", "/q/{}"),
])
def test_what_looks_like_an_id_is_a_placeholder_at_once(target: bytes, template: str) -> None:
    assert Endpoints().template(target) == template


def test_configured_templates_come_first_and_the_most_exact_one_wins() -> None:
    endpoints = Endpoints(["/{}/{}", "/items/{}", "/items/new"])
    assert [endpoints.template(path) for path in ("/items/new", "/items/abc", "/users/abc", "/items")] == [
        "/items/new", "/items/{}", "/{}/{}", "/items"]


def test_a_position_with_many_words_becomes_a_placeholder_for_all_of_them() -> None:
    endpoints = Endpoints(distinct=5)
    early = [endpoints.template(f"/shop/{word}/reviews") for word in ("ash", "bay", "cob", "dun", "elm")]
    assert early[0] == "/shop/ash/reviews"
    assert endpoints.template("/shop/fig/reviews") == "/shop/{}/reviews"
    assert {endpoints.current(template) for template in early} == {"/shop/{}/reviews"}
    assert endpoints.template("/shop/gum/prices") == "/shop/{}/prices"


def test_a_404_teaches_nothing() -> None:
    endpoints = Endpoints()
    assert endpoints.template("/wp-admin", learn=False) == "other"
    endpoints.template("/items")
    assert endpoints.template("/items", learn=False) == "/items"


def test_a_full_tree_learns_nothing_more_and_forgets_nothing() -> None:
    endpoints = Endpoints(distinct=100, most_templates=3)
    assert [endpoints.template(path) for path in ("/a", "/b", "/c", "/d", "/a")] == ["/a", "/b", "/c", "other", "/a"]


@examples(200)
@given(st.lists(st.binary(max_size=40).map(lambda rest: b"/" + rest), max_size=60))
def test_hostile_targets_make_a_bounded_number_of_bounded_templates(targets: list[bytes]) -> None:
    endpoints = Endpoints(distinct=3, most_templates=10)
    for target in targets:
        endpoints.template(target)
    now = {endpoints.template(target) for target in targets}
    assert len(now) <= 11
    assert all(len(template) < 16 * 66 and template.isprintable() for template in now)


def test_random_paths_of_any_depth_stay_within_the_bound() -> None:
    endpoints = Endpoints(distinct=4, most_templates=50)
    words = ["ash", "bay", "cob", "dun", "elm", "fig", "gum"]
    seen = set()
    for number in range(20_000):
        parts = [words[(number // 7**place) % 7] for place in range(number % 25)]
        seen.add(endpoints.template("/" + "/".join(parts)))
    assert len(seen) <= 200
    assert endpoints._nodes <= 8 * 50 + 20


@examples(400)
@given(st.lists(PATHS, max_size=40), st.integers(1, 4), st.integers(1, 8))
def test_paths_that_had_one_template_have_one_for_ever(paths: list[str], distinct: int, most: int) -> None:
    endpoints = Endpoints(distinct=distinct, most_templates=most)
    together: dict[str, set[str]] = {}
    for path in paths:
        template = endpoints.template(path)
        together.setdefault(template, set()).add(path)
        for earlier, group in together.items():
            now = {endpoints.template(one, learn=False) for one in group}
            assert len(now) == 1
            assert now == {endpoints.current(earlier)}


@examples(100)
@given(st.lists(PATHS, max_size=30))
def test_templates_depend_on_the_targets_alone(paths: list[str]) -> None:
    one, other = Endpoints(distinct=2), Endpoints(distinct=2)
    assert [one.template(path) for path in paths] == [other.template(path.encode()) for path in paths]


@examples(100)
@given(st.lists(PATHS, max_size=30))
def test_a_template_is_its_own_template(paths: list[str]) -> None:
    endpoints = Endpoints(distinct=2)
    for path in paths:
        template = endpoints.template(path)
        assert endpoints.template(template) == template
