"""Changing what is copied: one request of the admin API."""

from __future__ import annotations

from typing import Any

import click

from proxy.cli.advice import nearest
from proxy.cli.changes import change, route_path
from proxy.cli.report import report
from proxy.cli.talk import Talk

KEYS = ("percent", "to", "methods")


def steer(
    talk: Talk, route: str, settings: tuple[str, ...], *, reason: str, dry_run: bool, if_revision: int | None
) -> None:
    """Set what is named, or end the copies (`off`), and say what holds. Raises UsageError, Unreachable, Refused."""
    body = {**_patch(settings), "reason": reason}
    answer = change(talk, "PATCH", f"{route_path(route)}/shadow", body, dry_run, if_revision)
    back = "" if settings == ("off",) else (
        "`turnout shadow {route}` shows how its answers compare; `turnout shadow {route} off` ends the copies.")
    report(talk, answer, dry_run=dry_run, back=back)


def _patch(settings: tuple[str, ...]) -> dict[str, Any]:
    """What the API changes, from `key=value` words. Raises UsageError."""
    if settings == ("off",):
        return {"to": None}
    patch: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in KEYS:
            raise click.UsageError(f"`{setting}` is not percent=N, to=VERSION, methods=GET,HEAD or off."
                                   f"{nearest(key, KEYS)}")
        if key in patch:
            raise click.UsageError(f"{key} is named twice")
        patch[key] = value.split(",") if key == "methods" else value
    if "percent" in patch:
        patch["percent"] = patch["percent"].removesuffix("%") + "%"
    return patch
