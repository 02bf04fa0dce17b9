from __future__ import annotations

import json

import pytest

from proxy.controlplane.errors import StartError
from proxy.controlplane.events import Author, Event
from proxy.controlplane.upgrade.luggage import Luggage, pack, unpack
from proxy.core.route import Shadow
from proxy.core.state import Course, Pending, RouteState, State

COURSE = Course((("old", 95.0), ("new", 5.0)), Shadow("new", 10.0))
STATE = State(84, {"shop": RouteState(COURSE, COURSE, 83, 2, Course((("old", 1.0),)), Pending(1e9, COURSE))},
              frozenset({("old", "http://10.0.0.1:9001"), ("new", "")}))
EVENTS = (Event(1.5, Author("ci", "10.0.0.1"), "split", 84, "shop", {"split": {"old": 1}}, None, "why", 7),)


def test_what_is_packed_is_the_same_when_it_is_unpacked() -> None:
    luggage = Luggage(STATE, "/var/lib/turnout", b"\x00secret\xff", EVENTS, "ci", "0.2.0")
    assert unpack(json.loads(json.dumps(pack(luggage)))) == luggage


def test_what_a_later_release_adds_is_not_minded_and_what_it_leaves_out_is_empty() -> None:
    packed = pack(Luggage(STATE, None, b"s"))
    packed["mood"] = "good"
    for name in ("state_dir", "events", "author", "reason"):
        del packed[name]
    assert unpack(packed) == Luggage(STATE, None, b"s")


def test_a_predecessor_that_knew_no_drains_has_none() -> None:
    packed = pack(Luggage(STATE, None, b"s"))
    del packed["drained"]
    assert unpack(packed).state.drained == frozenset()


def test_an_event_that_cannot_be_read_is_left_out() -> None:
    packed = pack(Luggage(STATE, None, b"s", EVENTS))
    packed["events"] = [{"verb": 7}, *packed["events"], None]
    assert unpack(packed).events == EVENTS


@pytest.mark.parametrize("broken", [{"routes": {"shop": "{}"}}, {"revision": "many"}, {"routes": None}, {"secret": 1},
                                    {"drained": [["old"]]}, {"drained": 7}, {"drained": [["a", "b", "c"]]}])
def test_a_state_that_cannot_be_read_is_refused_with_what_to_do(broken: dict[str, object]) -> None:
    with pytest.raises(StartError, match="stop that one, then start this one"):
        unpack({**pack(Luggage(STATE, None, b"s")), **broken})
