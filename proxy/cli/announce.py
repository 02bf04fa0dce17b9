"""What a Turnout that serves says of itself: a picture for a person, an event for a machine, a line for systemd."""

from __future__ import annotations

import sys

import structlog

from proxy import __version__
from proxy.controlplane.supervisor import Supervisor
from proxy.core.route import Route

ROUTES_SHOWN = 20

log = structlog.get_logger("turnout")


def announce(supervisor: Supervisor, admin: str) -> None:
    """Say what is served where."""
    snapshot, listen = supervisor.snapshot, supervisor.listeners.addresses
    if not sys.stderr.isatty():
        shares = {route.name: dict(_shares(route)) for route in snapshot.routes[:ROUTES_SHOWN]}
        log.info("serving", listen=list(listen), admin=admin, workers=len(supervisor.slots),
                 routes=len(snapshot.routes), shares=shares)
        return
    more = len(snapshot.routes) - ROUTES_SHOWN
    lines = [
        f"Turnout {__version__} · {len(supervisor.slots)} worker{'s' * (len(supervisor.slots) > 1)}",
        *(f"  listen   {_url(address)}" for address in listen),
        f"  admin    {_url(admin)}   (`turnout status`)",
        *(f"  route    {route.name}: {_describe(route)}" for route in snapshot.routes[:ROUTES_SHOWN]),
        *([f"  … and {more} more routes (`turnout status`)"] if more > 0 else []),
        "Ctrl-C finishes what is in flight and leaves; twice leaves at once.",
    ]
    print("\n".join(lines), file=sys.stderr)


def in_a_line(supervisor: Supervisor) -> str:
    """Return it for `systemctl status`."""
    count = len(supervisor.snapshot.routes)
    return (f"serving {count} route{'s' * (count != 1)} on {', '.join(supervisor.listeners.addresses)}, "
            f"revision {supervisor.snapshot.revision}")


def _describe(route: Route) -> str:
    shares = " · ".join(f"{version} {share:.4g} %" for version, share in _shares(route))
    sticky = f", sticky by {route.sticky.by}" if route.sticky else ""
    return f"{route.match.host or '*'}{route.match.path} → {shares}{sticky}"


def _shares(route: Route) -> list[tuple[str, float]]:
    total = sum(weight for _, weight in route.split)
    return [(version, 100 * weight / total) for version, weight in route.split]


def _url(address: str) -> str:
    return address if address.startswith("unix:") else f"http://{address}"
