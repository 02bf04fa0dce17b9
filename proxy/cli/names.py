"""The routes and versions that a running Turnout knows, for the shell to complete; silence where there is none.

Invariant: pressing Tab waits a third of a second at most for a connection and for an answer, and never prints an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from proxy.cli.address import DEFAULT_ADMIN
from proxy.cli.client import TOKEN_VARIABLE, Api, Refused, Unreachable

_PATIENCE_S = 0.3
_SHADOW_VERBS = ("report", "learn", "clear", "record", "off")


def complete_route(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the routes of the running Turnout."""
    del param
    return _items([route["name"] for route in _routes(ctx)], incomplete)


def complete_weight(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer `VERSION=` for the versions of the route that was named and that have no weight yet."""
    del param
    given = {word.partition("=")[0] for word in ctx.params.get("weights") or ()}
    versions = [version for route in _routes(ctx) if route["name"] == ctx.params.get("route")
                for version in route["split"] if version not in given]
    return _items([f"{version}=" for version in versions], incomplete)


def complete_shadow(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer what `turnout shadow ROUTE` can do, and the versions that copies can go to."""
    del param
    given = ctx.params.get("words") or ()
    if given[:1] == ("record",) and len(given) == 1:
        return [CompletionItem(incomplete, type="file")]
    if given and "=" not in given[0]:
        return []
    named = {word.partition("=")[0] for word in given}
    settings = [f"{key}=" for key in ("percent", "to", "methods") if key not in named]
    if incomplete.startswith("to="):
        settings = [f"to={version}" for route in _routes(ctx) if route["name"] == ctx.params.get("route")
                    for version in route["split"]]
    return _items([*settings, *(() if given else _SHADOW_VERBS)], incomplete)


def _routes(ctx: click.Context) -> list[dict[str, Any]]:
    admin = ctx.params.get("admin") or os.environ.get("TURNOUT_ADMIN") or DEFAULT_ADMIN
    try:
        view = Api(admin, os.environ.get(TOKEN_VARIABLE), _PATIENCE_S).get("/api/v1/routes")
        return list(view["routes"])
    except (Unreachable, Refused, KeyError, TypeError):
        return []


def _items(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]
