"""From the checked model to the values that the rest of Turnout works with."""

from __future__ import annotations

import os
from typing import Any

from pydantic import BaseModel

from proxy.core.compare.rules import to_text
from proxy.core.compare.values import Rules
from proxy.core.health.values import Breaker, Ejection, Health, Probe
from proxy.core.overload.values import Adaptive, Load
from proxy.core.retry import Retry
from proxy.core.route import Copying, HeaderMatch, Match, Override, Route, Shadow, Sticky, Version
from proxy.core.snapshot import Limits, Policy, Timeouts
from proxy.errors import Problem
from proxy.settings.cpus import usable_cpus
from proxy.settings.model import FileSection, MatchSection, RouteSection, StickySection, VersionSection
from proxy.settings.shadow_model import CompareSection, ShadowSection
from proxy.settings.values import AdminSettings, Settings, Token

NO_RETRY = Retry(on=(), attempts=1)
"""What `retry: off` means."""


def build(
    model: FileSection, file: str | None, tokens: tuple[Token, ...], warnings: tuple[Problem, ...]
) -> Settings:
    """The settings of a model without problems. Relative paths start at the file's folder."""
    folder = os.path.dirname(os.path.abspath(file)) if file else ""
    return Settings(
        listen=tuple(model.listen),
        workers=model.workers or usable_cpus(),
        admin=AdminSettings(model.admin.listen, tokens),
        state_dir=None if model.state_dir is None else _in_folder(folder, model.state_dir),
        secret=model.secret,
        policy=_policy(model, folder),
        versions=tuple(_version(name, section) for name, section in model.versions.items()),
        routes=tuple(map(_route, model.routes)),
        file=file,
        watch_s=model.watch if file else None,
        buckets=tuple(model.metrics.buckets),
        events_kept=model.journal.events,
        warnings=warnings,
    )


def _in_folder(folder: str, path: str) -> str:
    return os.path.normpath(os.path.join(folder, path))


def _policy(model: FileSection, folder: str) -> Policy:
    log = model.access_log
    return Policy(
        limits=Limits(**dict(model.limits)),
        timeouts=Timeouts(**dict(model.timeouts)),
        trusted_proxies=tuple(model.trusted_proxies),
        access_log=log if log in ("off", "stdout") else _in_folder(folder, log),
    )


def _version(name: str, section: VersionSection) -> Version:
    """The attributes of these sections are called as those of the core's values."""
    probe, ejection, breaker = section.probe, section.ejection, section.breaker
    health = Health(
        Probe(**_frozen(probe)) if probe else None, Ejection(**dict(ejection)) if ejection else None,
        Breaker(**dict(breaker)) if breaker else None, section.panic, section.slow_start_s)
    adaptive = Adaptive(**dict(section.adaptive)) if section.adaptive else None
    load = Load(section.in_flight, section.per_server, **dict(section.queue), adaptive=adaptive)
    return Version(name, tuple(section.servers), health, load)


def _frozen(section: BaseModel) -> dict[str, Any]:
    """The values of a section, its lists as tuples and its mappings as tuples of pairs."""
    values = {name: list(value.items()) if isinstance(value, dict) else value for name, value in section}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _route(section: RouteSection) -> Route:
    override, shadow = section.override, section.shadow
    return Route(
        name=section.name,
        match=_match(section.match),
        split=tuple(section.split.items()),
        baseline=section.baseline or next(iter(section.split)),
        sticky=_sticky(section.sticky) if section.sticky else None,
        override=Override(override.header, override.cookie, override.query, tuple(override.networks))
        if override else None,
        shadow=Shadow(shadow.to, shadow.percent, tuple(shadow.methods)) if shadow else None,
        copying=_copying(shadow) if shadow else Copying(),
        salt=section.salt or section.name,
        retry=Retry(**_frozen(section.retry)) if section.retry else NO_RETRY,
        rescue=section.rescue,
        when_down=section.when_down,
        spill=section.spill,
        priority=section.priority,
    )


def _match(section: MatchSection) -> Match:
    headers = tuple(HeaderMatch(name, equals) for name, equals in section.headers.items())
    return Match(section.host, section.path, tuple(section.methods), headers)


def _copying(section: ShadowSection) -> Copying:
    header = next((HeaderMatch(name, equals) for name, equals in section.match.header.items()), None)
    return Copying(
        section.by, section.match.path, header, section.host, tuple(section.drop_headers),
        tuple(section.set_headers.items()), section.max_body, section.timeout, section.in_flight, section.memory,
        section.control, to_text(_rules(section.compare)) if section.compare else None, section.alert_below,
    )


def _rules(section: CompareSection) -> Rules:
    """Without `control`, which `Copying` says."""
    return Rules(**_frozen(section))


def _sticky(section: StickySection) -> Sticky:
    if section.app_cookie is not None:
        return Sticky("app_cookie", section.app_cookie)
    if section.by == "header":
        return Sticky("header", (section.name or "").lower())
    if section.by == "address":
        return Sticky("address", "")
    return Sticky("cookie", section.name or "turnout", "session" if section.mode == "session" else "ramp",
                  section.max_age)
