"""Every open tunnel, and the time that is left to those whose version has lost its last weight.

A tunnel may live for days, so a version would never be without clients if its tunnels were only left to end. When an
apply takes a version's last weight, its tunnels get `timeouts.tunnel_grace` to end by themselves; then they are closed,
unless the version has been given weight again. A tunnel that an override opened on a version without any weight is
nobody's traffic to move, and is left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.dataplane.site import Site
    from proxy.dataplane.tunnel import Tunnel

Pair = tuple[str, str]

CLOSED_AT_ONCE = 500
"""Tunnels closed per sweep: ten thousand clients that come back in the same instant would be a flood."""


class Tunnels:
    """See the module. Times are those of the worker's clock, in seconds."""

    def __init__(self) -> None:
        self._open: dict[Pair, set[Tunnel]] = {}
        self._until: dict[Tunnel, float] = {}

    def add(self, tunnel: Tunnel, began_by: Site, site: Site, now: float) -> None:
        """A tunnel has opened; `began_by`: what its request was routed by, `site`: what is in force now."""
        pair = tunnel.steered_to
        self._open.setdefault(pair, set()).add(tunnel)
        if began_by is not site and began_by.carries(pair) and not site.carries(pair):
            self._until[tunnel] = now + site.timeouts.tunnel_grace  # the change came while its server was thinking

    def remove(self, tunnel: Tunnel) -> None:
        """A tunnel has ended."""
        self._until.pop(tunnel, None)
        pair = tunnel.steered_to
        tunnels = self._open[pair]
        tunnels.remove(tunnel)
        if not tunnels:
            del self._open[pair]

    def steer(self, before: Site, site: Site, now: float) -> None:
        """Another site is in force."""
        until = now + site.timeouts.tunnel_grace
        for pair, tunnels in self._open.items():
            if site.carries(pair):
                for tunnel in tunnels if self._until else ():
                    self._until.pop(tunnel, None)
            elif before.carries(pair):
                self._until.update(dict.fromkeys(tunnels, until))

    def sweep(self, now: float) -> None:
        """Close those whose time is over."""
        if self._until:
            due = [tunnel for tunnel, until in self._until.items() if until <= now]
            for tunnel in due[:CLOSED_AT_ONCE]:
                tunnel.withdraw()
