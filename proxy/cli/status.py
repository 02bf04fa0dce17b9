"""`turnout status`: asks the admin API of a running Turnout and prints what an operator wants to know first."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import click

from proxy.cli.client import Unreachable, printable
from proxy.cli.screen import Screen
from proxy.cli.servers import server_table, version_news
from proxy.cli.table import table
from proxy.cli.talk import Talk, asks
from proxy.cli.text import countdown, duration, latency, moment

Json = dict[str, Any]
_EVERY_S = 1.0
_NO_FAILURE = frozenset({"answered", "gone", "withdrawn"})
"""How attempts end that were no fault of the server."""


@click.command()
@click.option("-w", "--watch", is_flag=True, help="Again every second, until Ctrl-C.")
@asks()
def status(talk: Talk, watch: bool) -> None:
    """Show routes with their shares and totals, what waits to be confirmed, the last change, and the workers.

    REQUESTS and 5XX are what clients got; ATTEMPTS and FAILED count every try at a version, also those that another
    server or version made good. A share with an arrow is what is really sent while versions are down. Servers are
    listed when they are not simply up; `turnout servers` shows them all.

    \b
    Examples:
      turnout status
      turnout status -w
    """
    if watch:
        _watch(talk)
        return
    view = talk.api.get("/api/v1/status")
    talk.show(view, "" if talk.as_json else render(view, time.time()))


def _watch(talk: Talk) -> None:
    """Show it again and again until Ctrl-C, also across restarts. Raises Unreachable if it is not there at first."""
    view = talk.api.get("/api/v1/status")
    pause = threading.Event()
    trouble = ""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the terminal is given back
    try:
        with Screen(sys.stdout) as screen:
            while True:
                if talk.as_json:
                    talk.show_line(view, "")
                else:
                    screen.draw(trouble + render(view, time.time()))
                pause.wait(_EVERY_S)
                try:
                    view, trouble = talk.api.get("/api/v1/status"), ""
                except Unreachable as error:
                    trouble = f"turnout: {error}; this is what was:\n\n"
    except KeyboardInterrupt:
        return


def render(view: Json, now: float) -> str:
    """Return the status as text: a headline, what an operator should know, routes and versions, workers.

    `now`: seconds since the epoch.
    """
    state = "ready" if view["ready"] else "NOT READY"
    headline = (
        f"Turnout {view['turnout']} · {state} · revision {view['revision']} · up {duration(view['uptime_s'])} · "
        f"{view['connections']:,} connections on {', '.join(view['listen'])}"
    )
    news = [*_news(view), *(line for route in view["routes"] for line in _route_news(route, now))]
    troubled = server_table(view["versions"].values(), now, troubled=True)
    parts = [headline, *(f"  {reason}" for reason in view["reasons"]), "", _routes(view["routes"]), ""]
    parts += [*news, *([""] if news else []), *([troubled, ""] if troubled else [])]
    return printable("\n".join([*parts, _workers(view["workers"])]), keep="\n")


def _news(view: Json) -> Iterator[str]:
    reload = view.get("reload") or {}
    if not reload.get("ok", True):
        yield f"{reload['file']} could not be loaded at {moment(reload['at'])}: `turnout reload` says why"
    for version in view["versions"].values():
        yield from version_news(version)


def _route_news(route: Json, now: float) -> Iterator[str]:
    """What waits to be confirmed, where copies go, who was answered by the baseline, and the last change."""
    name = route["name"]
    if pending := route.get("pending"):
        yield f"{name}: goes back by itself in {countdown(pending['seconds_left'])}, unless: turnout confirm {name}"
    if shadow := route.get("shadow"):
        yield f"{name}: copies of {shadow['percent']:g} % go to {shadow['to']}; how it answers: turnout shadow {name}"
    for version, totals in route["totals"].items():
        yield from (f"{name}: {line}" for line in _moved(version, route["baseline"], totals))
    if last := route.get("last_change"):
        reason = f": {last['reason']}" if last["reason"] else ""
        yield f"{name}: {last['verb']} by {last['author']} {duration(max(0.0, now - last['at']))} ago{reason}"


def _routes(routes: list[Json]) -> str:
    rows = [row for route in routes for row in _versions(route)]
    heads = ("route", "match", "version", "share", "requests", "5xx", "attempts", "failed", "in flight", "p50", "p99")
    return table(heads, rows, left=3)


def _versions(route: Json) -> list[tuple[str, ...]]:
    rows = []
    label, match = route["name"], f"{route['host'] or '*'}{route['path']}"
    for version, share in route["shares"].items():
        totals = route["totals"][version]
        failed = sum(count for code, count in totals["codes"].items() if code.startswith("5"))
        name = f"{version} (baseline)" if version == route["baseline"] else version
        attempts = totals["attempts"]
        lost = sum(count for outcome, count in attempts.items() if outcome not in _NO_FAILURE)
        counts = (totals["requests"], failed, sum(attempts.values()), lost, totals["in_flight"])
        rows.append((
            label, match, name, _share(share, route["effective"][version]), *(f"{count:,}" for count in counts),
            latency(totals["p50_s"]), latency(totals["p99_s"]),
        ))
        label = match = ""
    return rows


def _moved(version: str, baseline: str, totals: Json) -> Iterator[str]:
    """How many requests of a candidate its baseline has taken."""
    rescued, diverted = totals["rescues"].get("answered"), totals["diverted"]
    counts = [*([f"{rescued:,} that had failed there"] if rescued else []),
              *([f"{diverted:,} while it was down"] if diverted else [])]
    if counts:
        yield f"{baseline} took requests of {version}: {' and '.join(counts)}"
    if failed := totals["rescues"].get("failed"):
        yield f"{failed:,} requests failed at {version} and then at {baseline}"


def _share(share: float, effective: float) -> str:
    """The share that the split gives, and what is made of it while versions are down."""
    said, really = (f"{100 * part:.4g} %" for part in (share, effective))
    return said if said == really else f"{said} → {really}"


def _workers(workers: list[Json]) -> str:
    rows = [
        (
            str(worker["index"]), worker["state"], str(worker["pid"] or "-"), str(worker["restarts"]),
            str(worker["revision"] or "-"), f"{worker['connections']:,}", latency(worker["event_loop_lag_s"]),
        )
        for worker in workers
    ]
    return table(("worker", "state", "pid", "restarts", "revision", "connections", "loop lag"), rows, left=2)
