"""The next useful command after the API said no.

The answer's own words say what is wrong; what stands here is what to type. Advice may need to ask once more (which
routes there are); whatever goes wrong with that is left unsaid, since the person has an error to read already.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches

from proxy.cli.client import TOKEN_VARIABLE, Api, Refused, Unreachable
from proxy.cli.course import course

_SHOWN = 20
_OF_KIND = {
    "nothing-to-undo": "`turnout events --route {route}` shows what was changed.",
    "nothing-pending": "`turnout status` shows what waits for `turnout confirm`.",
    "baseline-down": "`turnout rollback {route} --force` goes there all the same.",
    "last-server": "--force drains it all the same: requests that have nowhere to go get 503 then.",
    "nothing-to-reload": "It runs without a file; `turnout weight` changes what goes where.",
    "not-journaled": "Nothing was changed. Is the disk of `state_dir` full or read-only?",
    "handing-over": "Nothing was changed; ask again in a second.",
}


def advice(api: Api, error: Refused, route: str | None) -> list[str]:
    """Return the lines to add to this error of a verb that was about `route`; none if there is nothing to add."""
    if error.kind == "unknown-route":
        return _routes(api, route)
    if error.kind == "unknown-version":
        return _versions(api)
    if error.kind == "outdated":
        return _current(error)
    if error.kind in _OF_KIND:
        return [_OF_KIND[error.kind].format(route=route or "--all")]
    if error.status == 401:  # the problem's own words are for programs: they name a header field
        wrong = "the token in {} is not known there" if os.environ.get(TOKEN_VARIABLE) else "set {} to a token"
        return [f"{wrong.format(TOKEN_VARIABLE)}; `admin.tokens` in its configuration says who may ask."]
    if error.kind == "role-needed":
        return [f"It takes a token with `role: operator` in {TOKEN_VARIABLE}."]
    if error.status == 421:
        return ["Ask by a loopback address, such as --admin http://127.0.0.1:9900, or by its Unix socket."]
    if error.status == 429 and error.retry_after:
        return [f"Ask again in {error.retry_after} s."]
    return []


def route_names(api: Api) -> list[str]:
    """Return the names of the routes. Raises Unreachable and Refused."""
    view = api.get("/api/v1/routes")
    routes = view.get("routes", []) if isinstance(view, dict) else view
    return [str(route["name"]) for route in routes]


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean …?` with the nearest of these words, or nothing."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean `{near[0]}`?" if near else ""


def _current(error: Refused) -> list[str]:
    """What holds now, which the refusal brings along."""
    current = error.problem.get("current") or {}
    routes = current.get("routes") or ([current] if "name" in current else [])
    revision = f" If that is well, try again with --if-revision {current['revision']}." if current else ""
    return [*(line for route in routes for line in course(route)), f"`turnout events` says who changed it.{revision}"]


def _versions(api: Api) -> list[str]:
    try:
        names = [str(version["name"]) for version in api.get("/api/v1/versions")["versions"]]
    except (Unreachable, Refused):
        return []
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"Versions are: {', '.join(names[:_SHOWN])}{more}."]


def _routes(api: Api, route: str | None) -> list[str]:
    try:
        names = route_names(api)
    except (Unreachable, Refused):
        return []
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"Routes are: {', '.join(names[:_SHOWN])}{more}.{nearest(route or '', names)}"]
