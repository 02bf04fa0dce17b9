"""An address that Turnout listens on: a value, validated by settings, bound by the supervisor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listen:
    """A TCP host and port (0: any free one), or the path of a Unix socket (`unix_path` set, host empty, port 0).

    `host` is an IPv4 or IPv6 address in canonical form without brackets, or a name that is resolved when binding.
    """

    host: str
    port: int
    unix_path: str | None = None

    @property
    def address(self) -> str:
        """The address as an operator writes it: `127.0.0.1:8080`, `[::1]:8080` or `unix:/path`."""
        if self.unix_path is not None:
            return f"unix:{self.unix_path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
