"""The parts of a configuration that can be read, whether or not all of it can.

Cross checks work on these, so that a typo in one place does not hide a contradiction in another: what is wrong by
itself is None here, and has been reported already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from proxy.core.listen import Listen
from proxy.core.route import Server
from proxy.settings.addresses import parse_listen, parse_server
from proxy.settings.document import Loc
from proxy.settings.grammar import parse_name
from proxy.settings.limits_model import LimitsSection, TimeoutsSection
from proxy.settings.model import (
    AdminSection,
    MatchSection,
    OverrideSection,
    RouteSection,
    StickySection,
    TokenSection,
    VersionSection,
)
from proxy.settings.section import keys_of
from proxy.settings.shadow_model import ShadowSection
from proxy.settings.units import parse_weight

T = TypeVar("T")
S = TypeVar("S", bound=BaseModel)
_TRAFFIC = ("retry", "rescue", "when_down", "spill", "priority")


def attempt(read: Callable[[Any], T], value: Any) -> T | None:
    """What `read` makes of a value; None for what it refuses (pydantic's ValidationError is a ValueError)."""
    try:
        return None if value is None else read(value)
    except ValueError:
        return None


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def readable_part(section: type[S], raw: dict[str, Any], needed: dict[str, Any]) -> S:
    """A section of those keys that can be read by themselves, the others at their defaults.

    `needed`: values, of no further interest, for the keys that have no default.
    """
    keys = {key: value for key, value in raw.items() if key in keys_of(section) and key not in needed
            and attempt(section.model_validate, {**needed, key: value}) is not None}
    return section.model_validate({**needed, **keys})


@dataclass(frozen=True, slots=True)
class VersionPieces:
    """What can be read of one version. `traffic`: all but its servers."""

    loc: Loc
    raw: dict[str, Any]
    traffic: VersionSection


@dataclass(frozen=True, slots=True)
class RoutePieces:
    """What can be read of one route. `traffic`: attempts, and what becomes of requests when a version is down."""

    loc: Loc
    raw: dict[str, Any]
    name: str | None
    match: MatchSection | None
    weights: dict[str, float | None]
    baseline: str | None
    sticky: StickySection | None
    override: OverrideSection | None
    shadow: ShadowSection | None
    traffic: RouteSection


@dataclass(frozen=True, slots=True)
class Pieces:
    """What can be read of a configuration. `versions` is None where even their names cannot be told."""

    data: dict[str, Any]
    listens: list[tuple[Loc, Listen]]
    admin: tuple[Loc, Listen]
    tokens: list[tuple[Loc, TokenSection]]
    versions: list[str] | None
    servers: list[tuple[Loc, str, Server]]
    deployments: dict[str, VersionPieces]
    routes: list[RoutePieces]
    limits: LimitsSection
    timeouts: TimeoutsSection


def take_apart(data: dict[str, Any]) -> Pieces:
    """Read whatever can be read of a file's data."""
    listen = data.get("listen")
    listen = "127.0.0.1:8080" if listen is None else listen
    listens: list[tuple[Loc, Any]] = [(("listen", index), item) for index, item in enumerate(listed(listen)[:64])]
    admin = mapping(data.get("admin"))
    tokens = enumerate(listed(admin.get("tokens")))
    versions = data.get("versions")
    return Pieces(
        data,
        _readable(listens or [(("listen",), listen)], parse_listen),
        (("admin", "listen"), attempt(parse_listen, admin.get("listen")) or AdminSection().listen),
        _readable([(("admin", "tokens", index), item) for index, item in tokens], TokenSection.model_validate),
        list(versions) if isinstance(versions, dict) else None,
        [(("versions", name, "servers", index), name, server) for name, version in mapping(versions).items()
         for index, item in enumerate(listed(mapping(version).get("servers")))
         if (server := attempt(parse_server, item)) is not None],
        {name: _version(("versions", name), mapping(raw)) for name, raw in mapping(versions).items()},
        [_route(("routes", index), item) for index, item in enumerate(listed(data.get("routes")))
         if isinstance(item, dict)],
        readable_part(LimitsSection, mapping(data.get("limits")), {}),
        readable_part(TimeoutsSection, mapping(data.get("timeouts")), {}),
    )


def _readable(items: list[tuple[Loc, Any]], read: Callable[[Any], T]) -> list[tuple[Loc, T]]:
    return [(loc, value) for loc, item in items if (value := attempt(read, item)) is not None]


def _version(loc: Loc, raw: dict[str, Any]) -> VersionPieces:
    return VersionPieces(loc, raw, readable_part(VersionSection, raw, {"servers": ["unix:/x"]}))


def _route(loc: Loc, raw: dict[str, Any]) -> RoutePieces:
    return RoutePieces(
        loc, raw,
        attempt(parse_name, raw.get("name")),
        attempt(MatchSection.model_validate, raw.get("match") or {}),
        {name: attempt(parse_weight, weight) for name, weight in mapping(raw.get("split")).items()},
        attempt(parse_name, raw.get("baseline")),
        attempt(StickySection.model_validate, raw.get("sticky")),
        attempt(OverrideSection.model_validate, raw.get("override")),
        attempt(ShadowSection.model_validate, raw.get("shadow")),
        readable_part(RouteSection, {key: raw.get(key) for key in _TRAFFIC}, {"name": "x", "split": {"x": 1}}),
    )
