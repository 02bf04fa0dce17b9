"""Whether a request of a route is one that is copied, in words: for `explain`.

The same conditions as the workers' (`core.match`); which of the requests chance picks is told as odds.
"""

from __future__ import annotations

from proxy.core.match import conditions_of, is_below, path_segments, to_bytes
from proxy.core.request import RequestView
from proxy.core.route import Match
from proxy.core.router import CompiledRoute

MARK = b"x-turnout-shadow"
"""The field, in lower case, that tells a copy from a request."""


def copying_told(route: CompiledRoute, request: RequestView, version: str | None) -> str | None:
    """One sentence about the copy of this request; None for a route without a shadow.

    `version`: the one that answers it, None if that is drawn. Nothing is copied to the version that answers.
    """
    shadow = route.route.shadow
    if shadow is None:
        return None
    refused = "it answers itself" if version == shadow.to else _refused(route, request, shadow.methods)
    if refused is not None:
        return f"no copy of it goes to {shadow.to}: {refused}"
    if route.route.copying.by == "key":
        if route.strategy.recognise(request) is None:
            return f"no copy of it goes to {shadow.to}: the client is not recognised, and whole clients are copied"
        return f"a copy of it goes to {shadow.to} if the client is among the {shadow.percent:g} % that are copied"
    return f"a copy of it goes to {shadow.to} in {shadow.percent:g} % of the cases"


def _refused(route: CompiledRoute, request: RequestView, methods: tuple[str, ...]) -> str | None:
    """The first condition that fails."""
    copying = route.route.copying
    if request.method not in map(to_bytes, methods):
        return f"only {', '.join(methods)} are copied"
    if request.header(MARK) is not None:
        return "it is a copy itself"
    if copying.path is not None and not is_below(request.target, path_segments(copying.path)):
        return f"only what is below {copying.path} is copied"
    if copying.header is not None:
        for condition in conditions_of(Match(headers=(copying.header,))):
            if not condition.holds(request):
                return f"only what has {condition} is copied"
    return None
