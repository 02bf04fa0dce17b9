"""An explained request in words: what `core.explain` found, as sentences for people and data for programs.

Chance is not played: where it would decide, the odds are told instead of one outcome that means nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from proxy.admin import shapes
from proxy.admin.bodies import ExplainBody
from proxy.admin.problems import Refused
from proxy.controlplane.health.values import VersionHealth
from proxy.core.copied import copying_told
from proxy.core.explain import Detour, Explanation, explain
from proxy.core.router import CompiledRoute, Router
from proxy.core.sticky import KEY_LENGTH
from proxy.http1.target import host_name


class _Asked:
    """The request that was described, as the core sees one: fields of one name joined as a worker joins them."""

    def __init__(self, body: ExplainBody) -> None:
        self.method = body.method.encode()
        self.target = body.path.encode()
        self.client = body.client
        self._fields: dict[bytes, bytes] = {}
        for name, value in body.headers:
            key = name.lower().encode()
            raw = value.encode("latin-1")
            known = self._fields.get(key)
            self._fields[key] = raw if known is None else known + (b"; " if key == b"cookie" else b", ") + raw

    def header(self, name: bytes, /) -> bytes | None:
        """The value of a field."""
        return self._fields.get(name)


class _NoChance:
    """Nothing is drawn: the least number, and a key that nobody has."""

    def draw(self, route: CompiledRoute, /) -> float:
        del route
        return 0.0

    def fresh_key(self) -> bytes:
        return b"0" * KEY_LENGTH


def explained(
    router: Router, body: ExplainBody, revision: int, versions: Mapping[str, VersionHealth]
) -> shapes.Explained:
    """The explanation of this request by this router, while versions are so. Raises Refused (422) for a host that is
    none.
    """
    asked = _Asked(body)
    states = {name: version.state for name, version in versions.items()}
    found = explain(router, asked, _host(body, asked), _NoChance(), states)
    by_chance = found.draw is not None or (found.issues_cookie and found.reason != "override")
    drawn = by_chance and max((odds.share for odds in found.versions), default=1.0) < 1.0
    return {
        "route": found.route,
        "version": None if drawn else found.version,
        "sent_to": None if drawn else _sent_to(found),
        "reason": found.reason,
        "drawn": drawn,
        "why": [*_sentences(found, drawn), *_detours(found, drawn, versions), *_copy(router, found, asked, drawn)],
        "versions": [{"version": odds.version, "weight": odds.weight, "share": odds.share} for odds in found.versions],
        "steps": _steps(found, drawn),
        "revision": revision,
    }


def _host(body: ExplainBody, asked: _Asked) -> bytes:
    authority = body.host.encode() if body.host is not None else asked.header(b"host") or b""
    name = host_name(authority) if authority else b""
    if name is None:
        raise Refused(422, "the Host field is not a host", kind="invalid-body",
                      errors=[{"pointer": "/headers", "detail": "`Host` is not a host, such as `shop.example.com`"}])
    return name


def _steps(found: Explanation, drawn: bool) -> dict[str, Any]:
    """All that `explain` noted, without the numbers that only stand in for chance."""
    steps = found.as_dict()
    if drawn:
        steps.update(version=None, draw=None, position=None)
        for odds in steps["versions"]:
            odds.update(time=None, joins_at=None)
    return steps


def _sentences(found: Explanation, drawn: bool) -> Iterator[str]:
    for tried in found.tried:
        place = f"{tried.host or 'any host'}{tried.path}"
        if tried.refused is not None:
            yield f"route {tried.route} ({place}) does not take it: it {tried.refused}"
        else:
            yield f"route {tried.route} ({place}) takes it"
    if found.route is None:
        yield f"no route takes {found.method} {found.target} of host {found.host or '(none)'}: it is answered with 404"
        return
    for seen in found.overrides:
        if seen.ignored is not None:
            yield f"{seen.source} names {seen.named or 'a version'}: ignored, {seen.ignored}"
        else:
            yield f"{seen.source} names version {seen.named}, and may"
    if found.reason == "override":
        yield f"so version {found.version} takes it, whatever the weights"
        return
    yield from _by_key_or_draw(found, drawn)


def _sent_to(found: Explanation) -> str | None:
    detour = next((detour for detour in found.detours if detour.version == found.version), None)
    return found.version if detour is None else detour.sent_to


def _detours(found: Explanation, drawn: bool, versions: Mapping[str, VersionHealth]) -> Iterator[str]:
    """What becomes of the request where a version that may get it is not up."""
    for detour in found.detours:
        if drawn or detour.version == found.version:
            why = versions[detour.version].why
            yield f"version {detour.version} is {detour.state}{f' ({why})' if why else ''}: {_instead(detour)}"


def _instead(detour: Detour) -> str:
    if detour.sent_to == detour.version:
        return "it is tried all the same, since there is nowhere else to go"
    if detour.sent_to is not None:
        return f"what it would get goes to {detour.sent_to} (when_down: {detour.when_down})"
    if detour.when_down == "hold" and detour.state == "down":
        return "what it would get waits for it as long as its queue allows, and is answered with 503 then"
    return "what it would get is answered with 503"


def _copy(router: Router, found: Explanation, asked: _Asked, drawn: bool) -> Iterator[str]:
    """What becomes of its copy, where the route has a shadow."""
    route = next((route for route in router.routes if route.name == found.route), None)
    told = None if route is None else copying_told(route, asked, None if drawn else found.version)
    if told is not None:
        yield told


def _by_key_or_draw(found: Explanation, drawn: bool) -> Iterator[str]:
    if found.key_source:
        how = "recognised" if found.recognised else "not recognised"
        yield f"the client is {how} by {found.key_source}"
    odds = ", ".join(f"{odds.version} {100 * odds.share:.4g} %" for odds in found.versions)
    if drawn:
        issued = " and kept by a new cookie" if found.issues_cookie else ""
        yield f"so its version is drawn{issued}: {odds}"
    elif found.reason == "sticky" and found.position is not None and found.recognised:
        yield f"its place among the clients of this route is {100 * found.position:.4g} %, and the shares are {odds}"
        yield f"so version {found.version} takes it, as long as the weights stay"
    elif found.reason == "sticky":
        yield f"so version {found.version} takes it, until its session ends or a rollback"
    else:
        yield f"the shares are {odds}, so version {found.version} takes it"
