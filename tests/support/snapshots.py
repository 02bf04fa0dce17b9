"""Any valid snapshot, as a hypothesis strategy, and a small one for tests that only need one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from proxy.core.route import Copying, HeaderMatch, Match, Override, Route, Server, Shadow, Sticky, Version
from proxy.core.snapshot import Limits, Policy, Snapshot, Timeouts

names = st.text(min_size=1, max_size=8)


def _tuples(of: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(of, max_size=3).map(tuple)


_weights = st.floats(min_value=0, max_value=1e9)
_servers = st.builds(Server, names, st.integers(0, 65535), st.none() | names)
_versions = st.builds(Version, names, _tuples(_servers))
_matches = st.builds(
    Match, st.none() | names, names, _tuples(names), _tuples(st.builds(HeaderMatch, names, st.none() | names))
)
_stickies = st.builds(
    Sticky,
    st.sampled_from(["cookie", "app_cookie", "header", "address"]),
    names,
    st.sampled_from(["ramp", "session"]),
    st.none() | st.integers(0, 10**9),
)
_overrides = st.builds(Override, st.none() | names, st.none() | names, st.none() | names, _tuples(names))
_routes = st.builds(
    Route,
    names,
    _matches,
    _tuples(st.tuples(names, _weights)),
    names,
    st.none() | _stickies,
    st.none() | _overrides,
    st.none() | st.builds(Shadow, names, _weights, _tuples(names)),
    st.builds(Copying, host=st.none() | names, compare=st.none() | names, control=st.booleans()),
    names,
    st.integers(0, 2**31),
)
_policies = st.builds(
    Policy,
    st.builds(Limits, body=st.none() | st.integers(0, 2**40), connections=st.integers(0, 2**31)),
    st.builds(Timeouts, drain=_weights),
    _tuples(names),
    names,
)
snapshots = st.builds(
    Snapshot, st.integers(0, 2**53), _tuples(_versions), _tuples(_routes), _policies, st.binary(), names,
    st.frozensets(st.tuples(names, names), max_size=3))


def small_snapshot(revision: int = 1) -> Snapshot:
    """One route between two versions at ports where nobody listens."""
    versions = tuple(Version(name, (Server("127.0.0.1", 9),)) for name in ("old", "new"))
    route = Route("shop", Match(), (("old", 75.0), ("new", 25.0)), "old")
    return replace(Snapshot(revision, versions, (route,)), secret=b"s" * 32)
