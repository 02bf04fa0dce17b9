"""`turnout status`: asks the admin API of a running Turnout and prints what an operator wants to know first."""

from __future__ import annotations

import time
from typing import Any

import click

from proxy.cli.table import table
from proxy.cli.talk import Talk, asks
from proxy.cli.text import duration, latency

Json = dict[str, Any]
_EVERY_S = 1.0


@click.command()
@click.option("-w", "--watch", is_flag=True, help="Again every second, until Ctrl-C.")
@asks()
def status(talk: Talk, watch: bool) -> None:
    """Show routes with their shares and totals, what waits to be confirmed, the last change, and the workers.

    \b
    Examples:
      turnout status
      turnout status -w
    """
    while True:
        view = talk.api.get("/api/v1/status")
        talk.show(view, render(view))
        if not watch:
            return
        time.sleep(_EVERY_S)


def render(view: Json) -> str:
    """Return the status as text: a headline, a table of routes and versions, a table of workers."""
    state = "ready" if view["ready"] else "NOT READY"
    headline = (
        f"Turnout {view['turnout']} · {state} · revision {view['revision']} · up {duration(view['uptime_s'])} · "
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
            latency(totals["p50_s"]), latency(totals["p99_s"]),
        ))
        label = match = ""
    return rows


def _workers(workers: list[Json]) -> str:
    rows = [
        (
            str(worker["index"]), worker["state"], str(worker["pid"] or "-"), str(worker["restarts"]),
            str(worker["revision"] or "-"), f"{worker['connections']:,}", latency(worker["event_loop_lag_s"]),
        )
        for worker in workers
    ]
    return table(("worker", "state", "pid", "restarts", "revision", "connections", "loop lag"), rows, left=2)
