"""`turnout status`: asks the admin API of a running Turnout and prints what an operator wants to know first."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from proxy.cli import exits
from proxy.cli.client import DEFAULT_ADMIN, Refused, Unreachable, get
from proxy.cli.table import table

Json = dict[str, Any]
_EVERY_S = 1.0
_CLEAR = "\x1b[H\x1b[2J"


@click.command()
@click.option("--admin", default=DEFAULT_ADMIN, envvar="TURNOUT_ADMIN", show_default=True, metavar="URL",
              help="Where the admin API listens; unix:/path works.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-w", "--watch", is_flag=True, help="Again every second, until Ctrl-C.")
def status(admin: str, as_json: bool, watch: bool) -> None:
    """Show routes with their shares and totals, and the workers. TURNOUT_TOKEN holds the token, if one is needed."""
    while True:
        text = _ask(admin, as_json)
        click.echo((_CLEAR if watch and not as_json else "") + text)
        if not watch:
            return
        try:
            time.sleep(_EVERY_S)
        except KeyboardInterrupt:
            return


def _ask(admin: str, as_json: bool) -> str:
    try:
        view = get(admin, "/api/v1/status")
    except Unreachable as error:
        click.echo(
            f"turnout: {error}\nIs it running? `turnout run` starts it; --admin names another address.", err=True
        )
        raise click.exceptions.Exit(exits.UNREACHABLE) from None
    except Refused as error:
        click.echo(f"turnout: {error}", err=True)
        raise click.exceptions.Exit(exits.FAILED) from None
    return json.dumps(view, indent=2) if as_json else render(view)


def render(view: Json) -> str:
    """Return the status as text: a headline, a table of routes and versions, a table of workers."""
    state = "ready" if view["ready"] else "NOT READY"
    headline = (
        f"Turnout {view['turnout']} · {state} · revision {view['revision']} · up {_duration(view['uptime_s'])} · "
        f"{view['connections']:,} connections on {', '.join(view['listen'])}"
    )
    parts = [headline, *(f"  {reason}" for reason in view["reasons"]), "", _routes(view["routes"]), ""]
    return "\n".join([*parts, _workers(view["workers"])])


def _routes(routes: list[Json]) -> str:
    rows = [row for route in routes for row in _versions(route)]
    heads = ("route", "match", "version", "share", "requests", "5xx", "retries", "in flight", "p50", "p99")
    return table(heads, rows, left=3)


def _versions(route: Json) -> list[tuple[str, ...]]:
    rows = []
    label, match = route["name"], f"{route['host'] or '*'}{route['path']}"
    for version, share in route["shares"].items():
        totals = route["totals"][version]
        failed = sum(count for code, count in totals["codes"].items() if code.startswith("5"))
        name = f"{version} (baseline)" if version == route["baseline"] else version
        counts = (totals["requests"], failed, totals["retries"], totals["in_flight"])
        rows.append((
            label, match, name, f"{100 * share:.4g} %", *(f"{count:,}" for count in counts),
            _latency(totals["p50_s"]), _latency(totals["p99_s"]),
        ))
        label = match = ""
    return rows


def _workers(workers: list[Json]) -> str:
    rows = [
        (
            str(worker["index"]), worker["state"], str(worker["pid"] or "-"), str(worker["restarts"]),
            str(worker["revision"] or "-"), f"{worker['connections']:,}", _latency(worker["event_loop_lag_s"]),
        )
        for worker in workers
    ]
    return table(("worker", "state", "pid", "restarts", "revision", "connections", "loop lag"), rows, left=2)


def _latency(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def _duration(seconds: float) -> str:
    whole = int(seconds)
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"
