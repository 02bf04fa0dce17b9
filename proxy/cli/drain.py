"""Taking servers out of service, so that they can be stopped, and bringing them back: drain, restore."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any
from urllib.parse import quote

import click

from proxy.cli.changes import dry_run_option, reason_option
from proxy.cli.client import Unreachable, printable
from proxy.cli.exits import FAILED
from proxy.cli.names import complete_server, complete_version
from proxy.cli.report import applied, warn_of_workers
from proxy.cli.shadow.quantities import SPAN
from proxy.cli.talk import Talk, asks, fail, warn

Json = dict[str, Any]
_LOOK_EVERY_S = 0.5
_WITHIN_S = 60.0

_version_argument = click.argument("version", shell_complete=complete_version)
_server_argument = click.argument("server", required=False, shell_complete=complete_server)


@click.command()
@_version_argument
@_server_argument
@click.option("--wait", is_flag=True, help="Return when nothing is in flight there any more; exit 1 if that takes "
                                           "longer than --within.")
@click.option("--within", "within_s", type=SPAN, metavar="TIME",
              help="How long to --wait, such as 10m; 60s unless told.")
@click.option("--force", is_flag=True, help="Also where requests have nowhere else to go.")
@reason_option
@dry_run_option
@asks()
def drain(
    talk: Talk, version: str, server: str | None, wait: bool, within_s: float | None, force: bool, reason: str,
    dry_run: bool,
) -> None:
    """Send nothing more to a SERVER of a version, or to the whole VERSION, so that it can be stopped.

    Requests and tunnels that run there finish; --wait says when the last of them has. It stays drained, also across
    restarts and reloads, until `turnout restore`.

    \b
    Examples:
      turnout drain old http://10.0.0.7:9001 --wait && ssh 10.0.0.7 systemctl stop shop
      turnout drain old --wait --within 10m -m "all traffic is at new"
    """
    if within_s is not None and not wait:
        raise click.UsageError("--within goes with --wait")
    if wait and dry_run:
        raise click.UsageError("--wait and --dry-run exclude each other")
    answer = _ask(talk, "drain", version, server, {"force": True} if force else {}, reason, dry_run)
    what = _What(version, answer["server"])
    if not wait:
        _report(talk, answer, dry_run, what.when_drained)
        return
    if not talk.as_json:
        _report(talk, answer, dry_run, "")
    try:
        _wait(talk, answer, what, within_s or _WITHIN_S)
    except KeyboardInterrupt:
        warn(printable(f"turnout: {what} stays drained; {what.ways_on}"))
        raise fail(FAILED) from None


@click.command()
@_version_argument
@_server_argument
@reason_option
@dry_run_option
@asks()
def restore(talk: Talk, version: str, server: str | None, reason: str, dry_run: bool) -> None:
    """Send requests again to a SERVER of a version that was drained, or to all servers of the VERSION.

    \b
    Examples:
      turnout restore old http://10.0.0.7:9001
      turnout restore old
    """
    answer = _ask(talk, "restore", version, server, {}, reason, dry_run)
    _report(talk, answer, dry_run, f"`turnout drain {_What(version, answer['server'])}` takes that back.")


@dataclass(frozen=True, slots=True)
class _What:
    """What is drained: a version, or one of its servers. As text it is what a command line says."""

    version: str
    server: str | None

    def __str__(self) -> str:
        return self.version if self.server is None else f"{self.version} {self.server}"

    @property
    def when_drained(self) -> str:
        return f"`turnout drain {self} --wait` says when it can be stopped; `turnout restore {self}` brings it back."

    @property
    def ways_on(self) -> str:
        return f"`turnout drain {self} --wait` waits on; `turnout restore {self}` brings it back."

    def seen(self, view: Json) -> Json | None:
        """What the API shows of it in a view of the version: whether it is `drained`, `idle`, what is `in_flight`."""
        if self.server is None:
            return {**view, "drained": all(server["drained"] for server in view["servers"])}
        return next((server for server in view["servers"] if server["address"] == self.server), None)


def _ask(
    talk: Talk, verb: str, version: str, server: str | None, more: Json, reason: str, dry_run: bool
) -> Json:
    body = {**({} if server is None else {"server": server}), **more, **({"reason": reason} if reason else {})}
    query = "?dry_run=true" if dry_run else ""
    answer: Json = talk.api.ask("POST", f"{_path(version)}/{verb}{query}", body)
    return answer


def _path(version: str) -> str:
    return f"/api/v1/versions/{quote(version, safe='')}"


def _report(talk: Talk, answer: Json, dry_run: bool, then: str) -> None:
    """Print what a change came to; `then`: what to type next, where something has changed."""
    talk.show(answer, "\n".join(map(printable, _lines(answer, dry_run, then))))
    warn_of_workers(answer)


def _lines(answer: Json, dry_run: bool, then: str) -> Iterator[str]:
    if dry_run:
        yield "Nothing was changed; it would be:"
    yield from _servers(answer["version"])
    if not dry_run:
        yield applied(answer)
    yield from (f"note: {note}" for note in answer["notes"])
    if then and answer["applied"] is not None:
        yield then


def _servers(version: Json) -> Iterator[str]:
    yield f"{version['name']}: {version['state']}"
    for server in version["servers"]:
        flying = "idle" if server["idle"] else f"{server['in_flight']:,} in flight"
        yield f"  {server['address']}  {server['state']}{f', {flying}' if server['drained'] else ''}"


def _wait(talk: Talk, answer: Json, what: _What, within_s: float) -> None:
    """Look until it is idle, telling how many are left; the last look is the answer for a program."""
    end, pause, told = monotonic() + within_s, threading.Event(), None
    seen = what.seen(answer["version"])
    while seen is not None and seen["drained"] and not seen["idle"] and monotonic() < end:
        if not talk.as_json and seen["in_flight"] != told:
            told = seen["in_flight"]
            talk.show_line(None, f"{told:,} in flight")
        pause.wait(min(_LOOK_EVERY_S, max(0.0, end - monotonic())))
        try:
            answer = {**answer, "version": talk.api.get(_path(what.version))}
        except Unreachable:     # a successor takes over: it knows what is drained
            if monotonic() >= end:
                raise
        seen = what.seen(answer["version"])
    if talk.as_json:
        talk.show(answer, "")
    _tell_end(talk, what, seen, within_s)


def _tell_end(talk: Talk, what: _What, seen: Json | None, within_s: float) -> None:
    if seen is not None and seen["idle"]:
        if not talk.as_json:
            talk.show(None, printable(f"Idle: stop it now. `turnout restore {what}` brings it back."))
        return
    if seen is None or not seen["drained"]:
        warn(printable(f"turnout: {what} is no longer drained; `turnout events` says who changed that"))
    else:
        warn(printable(f"turnout: still {seen['in_flight']:,} in flight after {within_s:g} s"))
        warn(printable(what.ways_on))
    raise fail(FAILED)
