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


def complete_version(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the versions of the running Turnout."""
    del param
    return _items([version["name"] for version in _versions(ctx)], incomplete)


def complete_server(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the servers of the version that was named: to `restore` those that are drained, to `drain` the others."""
    del param
    drained = ctx.info_name == "restore"
    return _items([server["address"] for version in _versions(ctx) if version["name"] == ctx.params.get("version")
                   for server in version["servers"] if server["drained"] is drained], incomplete)


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
    return _listed(ctx, "routes")


def _versions(ctx: click.Context) -> list[dict[str, Any]]:
    return _listed(ctx, "versions")


def _listed(ctx: click.Context, what: str) -> list[dict[str, Any]]:
    admin = ctx.params.get("admin") or os.environ.get("TURNOUT_ADMIN") or DEFAULT_ADMIN
    try:
        view = Api(admin, os.environ.get(TOKEN_VARIABLE), _PATIENCE_S).get(f"/api/v1/{what}")
        return list(view[what])
    except (Unreachable, Refused, KeyError, TypeError):
        return []


def _items(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]
