"""What `explain` says of a request's copy: the first reason against it, or how likely it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from proxy.core.copied import copying_told
from proxy.core.route import Copying, HeaderMatch, Match, Route, Shadow, Sticky
from proxy.core.router import CompiledRoute

SHOP = Route("shop", Match(), (("old", 1.0), ("new", 0.0)), "old", shadow=Shadow("new", 12.5), salt="shop",
             copying=Copying(path="/api", header=HeaderMatch("x-m", "1")))


@dataclass
class Asked:
    target: bytes = b"/api/x?y"
    method: bytes = b"GET"
    headers: dict[bytes, bytes] = field(default_factory=lambda: {b"x-m": b"1"})
    client: str = "192.0.2.7"

    def header(self, name: bytes, /) -> bytes | None:
        return self.headers.get(name)


def told(asked: Asked, route: Route = SHOP, version: str | None = "old") -> str | None:
    return copying_told(CompiledRoute(0, route), asked, version)


def test_a_request_that_is_copied_is_told_with_its_odds() -> None:
    assert told(Asked()) == "a copy of it goes to new in 12.5 % of the cases"


@pytest.mark.parametrize(("asked", "because"), [
    (Asked(method=b"POST"), "only GET, HEAD are copied"),
    (Asked(headers={b"x-m": b"1", b"x-turnout-shadow": b"1"}), "it is a copy itself"),
    (Asked(target=b"/apis"), "only what is below /api is copied"),
    (Asked(headers={}), "only what has header x-m = '1' is copied"),
])
def test_the_condition_that_fails_is_told(asked: Asked, because: str) -> None:
    assert told(asked) == f"no copy of it goes to new: {because}"


def test_nothing_is_copied_to_the_version_that_answers() -> None:
    assert told(Asked(), version="new") == "no copy of it goes to new: it answers itself"
    assert told(Asked(), version=None) == "a copy of it goes to new in 12.5 % of the cases"


def test_a_route_without_a_shadow_has_nothing_to_tell() -> None:
    assert told(Asked(), replace(SHOP, shadow=None)) is None


def test_whole_clients_are_copied_if_they_are_known() -> None:
    route = replace(SHOP, copying=Copying(by="key"), sticky=Sticky("header", "x-key"))
    assert told(Asked(headers={b"x-key": b"ann"}), route) == (
        "a copy of it goes to new if the client is among the 12.5 % that are copied")
    assert told(Asked(), route) == (
        "no copy of it goes to new: the client is not recognised, and whole clients are copied")
