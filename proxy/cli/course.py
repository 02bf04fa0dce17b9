"""Where a route goes, in a line or two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.cli.client import printable
from proxy.cli.text import countdown


def course(route: dict[str, Any]) -> Iterator[str]:
    """Say where a route's requests and copies go, and whether it goes back by itself; `route` as the API shows it."""
    shares = " · ".join(f"{version} {100 * share:.4g} %" for version, share in route["shares"].items())
    shadow = route.get("shadow")
    copies = f"; copies of {shadow['percent']:g} % to {shadow['to']}" if shadow else ""
    yield printable(f"{route['name']}: {shares}{copies}")
    if pending := route.get("pending"):
        left = countdown(pending["seconds_left"])
        yield printable(f"  goes back by itself in {left} unless you say: turnout confirm {route['name']}")
