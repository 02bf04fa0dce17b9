"""What the rest of Turnout gets from a configuration: frozen values, complete and valid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from proxy.core.listen import Listen
from proxy.core.route import Route, Version
from proxy.core.snapshot import Policy, Snapshot
from proxy.errors import Problem

DEFAULT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""A decade in three steps, from what a cache takes to what nobody waits for."""


@dataclass(frozen=True, slots=True)
class Token:
    """A holder of the admin API's trust. `digest` is the SHA-256 of the secret, so that no process keeps the secret."""

    name: str
    role: Literal["viewer", "operator"]
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """Where the admin API listens and who may use it; without tokens only loopback (settings made sure)."""

    listen: Listen
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole configuration. Invariant: it is valid, so nobody who takes it checks it again.

    `workers` is at least 1. `state_dir` is None for `memory`. `secret` is None unless configured: then the caller
    makes one and keeps it in `state_dir`. `file` is the path it was read from, None without a file. `warnings` are
    worth an operator's look but stop nothing. `watch_s`: seconds between two looks at the file's content, None for
    never. `buckets`: upper bounds in seconds of the latency histograms in /metrics. `events_kept`: how many events the
    journal keeps, the newest ones.
    """

    listen: tuple[Listen, ...]
    workers: int
    admin: AdminSettings
    state_dir: str | None
    secret: bytes | None = field(repr=False)
    policy: Policy
    versions: tuple[Version, ...]
    routes: tuple[Route, ...]
    file: str | None = None
    watch_s: float | None = None
    buckets: tuple[float, ...] = DEFAULT_BUCKETS
    events_kept: int = 100_000
    warnings: tuple[Problem, ...] = ()

    def snapshot(self, revision: int, secret: bytes) -> Snapshot:
        """The state that workers serve by; `secret` signs session cookies (`self.secret`, or one made for it)."""
        return Snapshot(revision, self.versions, self.routes, self.policy, secret)
