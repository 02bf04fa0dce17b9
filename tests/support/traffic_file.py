"""A short configuration whose second version and only route have the keys that a test is about."""

from __future__ import annotations

from proxy.settings import Settings, load_bytes


def written(version: str = "", route: str = "", rest: str = "workers: 2") -> str:
    """The text: first `rest`, then a line of versions, then one of routes."""
    return (f"{rest}\nversions: {{old: {{servers: ['http://h:1']}}, new: {{servers: ['http://h:2'], {version}}}}}\n"
            f"routes: [{{name: r, split: {{old: 1, new: 1}}, {route}}}]")


def load(version: str = "", route: str = "", rest: str = "workers: 2") -> Settings:
    """Its settings. Raises ConfigError."""
    return load_bytes(written(version, route, rest).encode(), "f", {})
