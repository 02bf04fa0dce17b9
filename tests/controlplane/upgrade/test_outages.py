"""What a successor can read of what it is told to be out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.controlplane.upgrade.outages import pack, unpack
from proxy.ipc.messages import Noticed

SERVER = Noticed("new", "http://10.0.0.1:80", True, 3, 1234.5678901, 2, "5 failures in a row")
VERSION = Noticed("new", "", True, 1, 17.25, 1, "60 % of 40 requests failed")


def altered(**facts: object) -> dict[str, Any]:
    return {**pack([SERVER])[0], **facts}


def test_what_is_packed_is_the_same_when_it_is_unpacked() -> None:
    assert unpack(json.loads(json.dumps(pack([SERVER, VERSION])))) == [SERVER, VERSION]


def test_what_a_later_release_adds_is_not_minded() -> None:
    assert unpack([altered(mood="good")]) == [SERVER]


@pytest.mark.parametrize("broken", [
    None, 7, "out", {}, [], altered(version=None), altered(epoch="3"), altered(until="soon"), altered(until=None),
    altered(type="rumoured"), altered(out=False), altered(epoch=0), altered(epoch=2**64), altered(times=-1),
    altered(times=2**64), altered(until=10**400), altered(until=float("inf")), altered(until=float("nan"))])
def test_an_entry_that_cannot_be_read_is_left_out_and_the_others_are_not(broken: object) -> None:
    assert unpack([*pack([SERVER]), broken, *pack([VERSION])]) == [SERVER, VERSION]


@pytest.mark.parametrize("broken", [None, 7, "out", {"new": "out"}])
def test_of_who_says_it_in_no_list_nothing_is_known(broken: object) -> None:
    assert unpack(broken) == []
