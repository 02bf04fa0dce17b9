"""What tests of decisions are made of: a request, scripted chance, and short ways to write routes and routers."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log
from typing import Any

from proxy.core.route import Match, Route
from proxy.core.router import CompiledRoute, Router
from proxy.core.snapshot import Snapshot


@dataclass
class Request:
    """A request as the core sees it; `headers` by name in lower case."""

    method: bytes = b"GET"
    target: bytes = b"/"
    client: str = "192.0.2.1"
    headers: dict[bytes, bytes] = field(default_factory=dict)

    def header(self, name: bytes, /) -> bytes | None:
        return self.headers.get(name)


def with_cookie(cookie: bytes, **more: Any) -> Request:
    return Request(headers={b"cookie": cookie}, **more)


@dataclass
class Script:
    """Chance that comes from lists. Running out of them fails the test: more was asked than expected."""

    draws: list[float] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)

    def draw(self, route: CompiledRoute, /) -> float:
        return self.draws.pop(0)

    def fresh_key(self) -> bytes:
        return self.keys.pop(0)


def a_route(name: str = "shop", split: tuple[tuple[str, float], ...] = (("old", 95.0), ("new", 5.0)), *,
            match: Match | None = None, **more: Any) -> Route:
    return Route(name=name, match=match or Match(), split=split, baseline=split[0][0], **more)


def a_router(*routes: Route, secret: bytes = b"a secret") -> Router:
    return Router(Snapshot(revision=1, versions=(), routes=routes, secret=secret))


def compiled(*args: Any, secret: bytes = b"a secret", **more: Any) -> CompiledRoute:
    return CompiledRoute(0, a_route(*args, **more), secret)


def plausible(successes: int, trials: int, p: float, *, odds: float = 1e-6) -> bool:
    """Whether a binomial count is one that comes up with a chance of more than `odds`.

    By the Chernoff bound P(X beyond k) <= exp(-n KL(k/n || p)), good for every n and p, the smallest too.
    """
    if p in (0.0, 1.0):
        return successes == trials * p
    q = successes / trials
    divergence = (q * log(q / p) if q > 0 else 0.0) + ((1 - q) * log((1 - q) / (1 - p)) if q < 1 else 0.0)
    return trials * divergence <= -log(odds)
