"""A configuration as it would be written in the file: what `GET /api/v1/config` shows.

Invariant: as YAML it loads again to the same settings, except for what is left out: the secret, what tokens are made
of, and the values of header fields that are known to hold credentials, which are `HIDDEN`. A kind of value is written
by its own kind (`fields.Kind.show`), so that reading and writing cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from proxy.core.compare.redact import is_kept
from proxy.core.compare.rules import rules_from
from proxy.core.route import Copying, HeaderMatch, Match, Override, Route, Shadow, Sticky, Version
from proxy.settings.fields import Kind
from proxy.settings.health_model import BreakerSection, EjectSection, ProbeSection
from proxy.settings.limits_model import LimitsSection, TimeoutsSection
from proxy.settings.load_model import AdaptiveSection, QueueSection
from proxy.settings.model import RouteSection, VersionSection
from proxy.settings.retry_model import RetrySection
from proxy.settings.section import keys_of
from proxy.settings.shadow_model import CompareSection, ShadowSection
from proxy.settings.units import format_duration, format_size
from proxy.settings.values import AdminSettings, Settings

Json = dict[str, Any]


def running_document(settings: Settings) -> Json:
    """The configuration as JSON-able data, defaults included and paths absolute; `$` in texts is written `$$`.

    Left out: `secret`, of each token all but name and role, and credentials that probes and copies are given. Splits
    and shadows are those of `settings.routes`: give it routes that are steered (`dataclasses.replace`) to see what
    holds instead of what the file says.
    """
    document = {
        "listen": [listen.address for listen in settings.listen],
        "workers": settings.workers,
        "admin": _admin(settings.admin),
        "state_dir": "memory" if settings.state_dir is None else settings.state_dir,
        "watch": _or_none(settings.watch_s, format_duration),
        "trusted_proxies": list(settings.policy.trusted_proxies),
        "access_log": settings.policy.access_log,
        "limits": _section(LimitsSection, settings.policy.limits),
        "timeouts": _section(TimeoutsSection, settings.policy.timeouts),
        "metrics": {"buckets": list(map(format_duration, settings.buckets))},
        "journal": {"events": settings.events_kept},
        "versions": {version.name: _version(version) for version in settings.versions},
        "routes": list(map(_route, settings.routes)),
    }
    escaped: Json = _escape(document)
    return escaped


def _admin(admin: AdminSettings) -> Json:
    return {"listen": admin.listen.address,
            "tokens": [{"name": token.name, "role": token.role} for token in admin.tokens]}


HIDDEN = "(hidden)"
"""Stands for the value of a field such as Authorization, which a probe or a copy is given."""


def _fields(pairs: Iterable[tuple[str, str]]) -> Json:
    return {name: value if is_kept(name.encode()) else HIDDEN for name, value in pairs}


def _section(section: type[BaseModel], values: object) -> Json:
    """The keys of a section in the file's order, each written by its kind; what is not given is left out."""
    return _given({key: _written(section.model_fields[name], getattr(values, name))
                   for key, name in keys_of(section).items()})


def _written(info: FieldInfo, value: Any) -> Any:
    """A value by its own kind; those of a list by the kind of their items, and pairs as a mapping."""
    if kind := _kind(info.metadata):
        return kind.show(value)
    if get_origin(info.annotation) is dict:
        return _fields(value) or None
    items = _kind(get_args(get_args(info.annotation)[0])[1:])
    return [items.show(item) if items else item for item in value]


def _kind(metadata: Iterable[Any]) -> Kind | None:
    return next((entry for entry in metadata if isinstance(entry, Kind)), None)


def _or_off(section: type[BaseModel], values: object | None) -> Json | str:
    return "off" if values is None else _section(section, values)


def _version(version: Version) -> Json:
    health, load = version.health, version.load
    shown = {"panic": health.panic, "slow_start": health.slow_start_s, "in_flight": load.in_flight,
             "server_in_flight": load.per_server}
    kinds = keys_of(VersionSection)
    return {
        "servers": [server.address for server in version.servers],
        "probe": _or_off(ProbeSection, health.probe),
        "eject": _or_off(EjectSection, health.ejection),
        "breaker": _or_off(BreakerSection, health.breaker),
        **{key: _written(VersionSection.model_fields[kinds[key]], value) for key, value in shown.items()},
        "queue": _section(QueueSection, load),
        "adaptive": _or_off(AdaptiveSection, load.adaptive),
    }


def _route(route: Route) -> Json:
    document = {
        "name": route.name,
        "match": _match(route.match),
        "split": {name: _number(weight) for name, weight in route.split},
        "baseline": route.baseline,
        "salt": route.salt,
        "sticky": route.sticky and _sticky(route.sticky),
        "override": route.override and _override(route.override),
        "shadow": route.shadow and _shadow(route.shadow, route.copying),
        "retry": _or_off(RetrySection, route.retry if route.retry.on else None),
        "rescue": route.rescue,
        "when_down": route.when_down,
        "spill": route.spill,
        "priority": _written(RouteSection.model_fields["priority"], route.priority),
    }
    return _given(document)


def _match(match: Match) -> Json:
    headers = {header.name: _condition(header) for header in match.headers}
    return _given({"host": match.host, "path": match.path, "methods": list(match.methods) or None,
                   "headers": headers or None})


def _condition(header: HeaderMatch) -> Any:
    return {"present": True} if header.equals is None else header.equals


def _sticky(sticky: Sticky) -> Json:
    match sticky.by:
        case "app_cookie":
            return {"app_cookie": sticky.name}
        case "header":
            return {"by": "header", "name": sticky.name}
        case "address":
            return {"by": "address"}
        case "cookie":
            return {"by": "cookie", "name": sticky.name, "mode": sticky.mode,
                    "max_age": _or_none(sticky.max_age_s, format_duration)}


def _override(override: Override) -> Json:
    return _given({"header": override.header, "cookie": override.cookie, "query": override.query,
                   "from": list(override.networks)})


def _shadow(shadow: Shadow, copying: Copying) -> Json:
    header = copying.header and {copying.header.name: _condition(copying.header)}
    document = {
        "to": shadow.to, "percent": _number(shadow.percent), "methods": list(shadow.methods), "by": copying.by,
        "match": _given({"path": copying.path, "header": header}), "host": copying.host,
        "drop_headers": list(copying.drop_headers), "set_headers": _fields(copying.set_headers),
        "max_body": format_size(copying.max_body), "timeout": format_duration(copying.timeout_s),
        "in_flight": copying.in_flight, "memory": format_size(copying.memory), "control": copying.control,
        "alert_below": _written(ShadowSection.model_fields["alert_below"], copying.alert_below),
        "compare": "off" if copying.compare is None else _compare(copying.compare),
    }
    return _given(document)


def _compare(text: str) -> Json:
    rules = rules_from(text)
    shown: Json = {}
    for key in CompareSection.model_fields:
        value = getattr(rules, key)
        shown[key] = (list(value) if isinstance(value, tuple) else _decimal(value) if isinstance(value, float)
                      else format_size(value) if key == "max_body" else value)
    return shown


def _decimal(number: float) -> int | float:
    """As JSON has it; `core.compare` reads exponents."""
    return int(number) if number == int(number) else number


def _given(document: Json) -> Json:
    return {key: value for key, value in document.items() if value is not None}


def _or_none(value: float | None, show: Callable[[float], str]) -> str:
    return "none" if value is None else show(value)


def _number(number: float) -> int | float | str:
    """A number that the file's grammar reads back: without an exponent, with nine places at most."""
    if number == int(number):
        return int(number)
    text = f"{number:.9f}".rstrip("0").rstrip(".")
    return float(text) if "e" not in repr(float(text)) else text


def _escape(value: Any) -> Any:
    """The same with every `$` in a value doubled, since a file would take a single one for a variable."""
    if isinstance(value, dict):
        return {key: _escape(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return list(map(_escape, value))
    return value.replace("$", "$$") if isinstance(value, str) else value
