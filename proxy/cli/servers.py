"""`turnout servers`: every server with its state and suspicion, what is in flight there, and why it is not well."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import click

from proxy.cli.client import printable
from proxy.cli.names import complete_version
from proxy.cli.table import table
from proxy.cli.talk import Talk, asks
from proxy.cli.text import duration, latency

Json = dict[str, Any]
_HEADS = ("version", "server", "state", "φ", "in flight", "probe", "why")
_LEFT = 3


@click.command()
@click.argument("version", required=False, shell_complete=complete_version)
@asks()
def servers(talk: Talk, version: str | None) -> None:
    """Show the servers of all versions, or of one: state, suspicion (φ), requests in flight, last probe, and why.

    A server is up, suspect (late with its answers to probes), out (by probes), ejected (by what traffic showed), on
    trial (one request decides), warming (it comes back), or drained: then it can be stopped once it says idle.

    \b
    Examples:
      turnout servers
      turnout servers new
    """
    if version is None:
        answer = talk.api.get("/api/v1/versions")
        versions = answer["versions"]
    else:
        answer = talk.api.get(f"/api/v1/versions/{quote(version, safe='')}")
        versions = [answer]
    talk.show(answer, "" if talk.as_json else printable(_page(versions, time.time()), keep="\n"))

_BEYOND_DOUBT = 99.5
"""Nobody learns more from a larger suspicion."""


def _page(versions: list[Json], now: float) -> str:
    lines = [line for version in versions for line in version_news(version)]
    return "\n".join([server_table(versions, now), *([""] if lines else []), *lines])


def server_table(versions: Iterable[Json], now: float, *, troubled: bool = False) -> str:
    """The servers of these versions as a table. `troubled`: only those that are not simply up; empty without any."""
    rows = [(version["name"], *_cells(server, now)) for version in versions for server in version["servers"]
            if not troubled or server["state"] != "up"]
    if not rows:
        return ""
    return table(_HEADS, rows, left=_LEFT, last_left=True)


def version_news(version: Json) -> Iterator[str]:
    """What should be known of a version as a whole: that it is down, and who waits for it."""
    name, why = version["name"], version["why"]
    if version["state"] == "down":
        yield f"{name} is down: {why or 'no server takes requests'}"
    elif version["state"] == "drained":
        busy = f"{version['in_flight']:,} requests still run there" if version["in_flight"] else "not idle yet"
        yield f"{name} is drained, {'and idle' if version['idle'] else busy}"
    elif why:
        yield f"{name}: {why}"
    if version["queue"]:
        limit = version["limit"]
        at = f" ({limit:g} may be in flight)" if limit is not None else ""
        yield f"{name}: {version['queue']:,} requests wait for a place{at}"


def _cells(server: Json, now: float) -> tuple[str, ...]:
    phi = "-" if server["phi"] is None else f"{server['phi']:.1f}" if server["phi"] < _BEYOND_DOUBT else "> 99"
    state = f"{server['state']}, idle" if server["idle"] else server["state"]
    return server["address"], state, phi, f"{server['in_flight']:,}", _probe(server["probe"], now), _why(server)


def _probe(probe: Json | None, now: float) -> str:
    """The last probe: how it ended, how long it took, and when that was if it is a while ago."""
    if probe is None:
        return "-"
    ago = max(0.0, now - probe["at"])
    word = "ok" if probe["ok"] else "failed"
    return f"{word} {latency(probe['took_ms'] / 1000)}" + (f", {duration(ago)} ago" if ago >= 10 else "")


def _why(server: Json) -> str:
    seconds = server["ejected_until_s"]
    left = f" (tried again in {seconds:.1f} s)" if seconds else ""
    return f"{server['why']}{left}"
