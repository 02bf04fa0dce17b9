"""Choosing the version that takes a request: override, then stickiness, then the split."""

from __future__ import annotations

from proxy.core.choice import Chance, Choice
from proxy.core.request import RequestView
from proxy.core.router import CompiledRoute

__all__ = ["Chance", "Choice", "choose"]


def choose(route: CompiledRoute, request: RequestView, chance: Chance) -> Choice:
    """The version of `route` that takes `request`, why, and the cookie to send along.

    An override that is allowed comes first and leaves the client's cookie alone: who looked at another version once is
    afterwards where they were.
    """
    override = route.override
    if override is not None:
        index = override.find(request)
        if index is not None:
            return route.overridden[index]
    return route.stick(request, chance)
