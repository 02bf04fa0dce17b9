"""Whether there is room for another connection, and what is short where there is none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.overload.room import (
    RESERVED,
    SMALL_CROWD,
    connections_left,
    connections_within,
    is_too_large,
    memory_within,
    most_connections,
)

GIB = 1 << 30


@given(st.integers(0, 1 << 20))
def test_every_connection_finds_a_descriptor_for_its_server_and_one_always_fits(descriptors: int) -> None:
    connections = connections_within(descriptors)
    assert connections is not None
    assert connections >= 1
    assert connections == 1 or 2 * connections < descriptors


@given(st.integers(0, 1 << 20), st.integers(1, 30_000))
def test_whatever_clients_leave_is_for_servers_and_never_less_than_one_for_each(descriptors: int, allowed: int) -> None:
    clients, servers = connections_within(descriptors), connections_left(descriptors, allowed)
    assert clients is not None
    assert servers is not None
    assert servers >= min(clients, allowed)
    assert descriptors < RESERVED + 2 or min(clients, allowed) + servers + RESERVED == descriptors


def test_unlimited_descriptors_limit_nothing() -> None:
    assert connections_within(-1) is None
    assert connections_left(-1, 5) is None


@given(st.integers(1, 10_000), st.none() | st.integers(1, 10_000), st.booleans())
def test_the_least_of_all_bounds_holds_and_is_named(allowed: int, affordable: int | None, too_large: bool) -> None:
    bounds = {"connections": allowed}
    if affordable is not None:
        bounds["descriptors"] = affordable
    if too_large:
        bounds["memory"] = SMALL_CROWD
    most, scarce = most_connections(allowed, affordable, too_large=too_large)
    assert most == min(bounds.values()) == bounds[scarce]


def test_what_descriptors_made_of_the_configuration_is_called_by_their_name() -> None:
    assert most_connections(96, 96, too_large=False) == (96, "descriptors")


@given(st.lists(st.integers(0, 200), min_size=1, max_size=50))
def test_a_process_stops_above_its_share_and_goes_on_below_a_little_less(sizes: list[int]) -> None:
    large = False
    for size in sizes:
        before, large = large, is_too_large(size, 100, was=large)
        assert large or size <= 100
        assert not large or size > 95
        assert large is before or size > 100 or size <= 95


def test_without_a_share_no_size_is_too_large() -> None:
    assert not is_too_large(1 << 60, None, was=True)


def test_a_container_that_is_smaller_than_its_machine_leaves_a_part_to_others() -> None:
    assert memory_within(GIB, 8 * GIB) == int(0.8 * GIB)
    assert memory_within(None, 8 * GIB) is None
    assert memory_within(16 * GIB, 8 * GIB) is None
