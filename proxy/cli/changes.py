"""The verbs that move traffic: weight, rollback, undo, confirm. Each is one request of the admin API."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from proxy.cli.advice import route_names
from proxy.cli.names import complete_route, complete_weight
from proxy.cli.report import report
from proxy.cli.talk import Talk, Verb, asks
from proxy.cli.weights import parse_split

_BACK = "`turnout rollback {route}` takes it back."

route_argument = click.argument("route", shell_complete=complete_route)
reason_option = click.option("-m", "--reason", default="", metavar="TEXT", help="Why, for the journal.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would happen and change nothing.")
if_revision_option = click.option(
    "--if-revision", type=click.IntRange(min=0), metavar="N",
    help="Only if it is still at this revision; otherwise exit 5.")


def terms(function: Verb) -> Verb:
    """Add what goes with every change of a route: why, whether at all, and from what."""
    return reason_option(if_revision_option(dry_run_option(function)))


@click.command()
@route_argument
@click.argument("weights", nargs=-1, required=True, shell_complete=complete_weight, metavar="VERSION=WEIGHT...")
@click.option("--confirm-within", metavar="TIME",
              help="Go back by itself unless `turnout confirm` comes within this time, such as 10m.")
@terms
@asks()
def weight(
    talk: Talk, route: str, weights: tuple[str, ...], confirm_within: str | None, reason: str, dry_run: bool,
    if_revision: int | None,
) -> None:
    """Set how a route's requests are divided between its versions.

    Weights are relative when every version is named (old=90 new=10), shares when they end with % (new=10%: the
    baseline gets the rest). One bare number is the candidate's percentage, on a route with one candidate.

    \b
    Examples:
      turnout weight shop old=90 new=10 -m "first tenth"
      turnout weight shop new=25% --confirm-within 10m
      turnout weight shop 50
    """
    now = talk.api.get(route_path(route))
    try:
        split = parse_split(weights, list(now["split"]), now["baseline"])
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    body = {"split": split, "reason": reason, **({"confirm_within": confirm_within} if confirm_within else {})}
    answer = change(talk, "PUT", f"{route_path(route)}/split", body, dry_run, if_revision)
    report(talk, answer, dry_run=dry_run, back=_BACK)


@click.command()
@click.argument("route", shell_complete=complete_route, required=False)
@click.option("--all", "everything", is_flag=True, help="Every route.")
@click.option("--cut", is_flag=True, help="End the requests and tunnels that the candidates still serve, too.")
@click.option("--force", is_flag=True, help="Also to a baseline that is known to be down.")
@terms
@asks()
def rollback(
    talk: Talk, route: str | None, everything: bool, cut: bool, force: bool, reason: str, dry_run: bool,
    if_revision: int | None,
) -> None:
    """Send all of a route's requests to its baseline, now.

    When it says so, no request that arrives from then on goes to another version. Without ROUTE it takes the only one
    there is; with several, name one or say --all.

    \b
    Examples:
      turnout rollback shop -m "errors"
      turnout rollback --all --cut
    """
    if route and everything:
        raise click.UsageError("a ROUTE and --all exclude each other")
    path = "/api/v1/rollback" if everything else f"{route_path(route or _only_route(talk))}/rollback"
    body = {"reason": reason, **({"in_flight": "cut"} if cut else {}), **({"force": True} if force else {})}
    answer = change(talk, "POST", path, body, dry_run, if_revision)
    report(talk, answer, dry_run=dry_run, back="" if everything else "`turnout undo {route}` goes forward again.")


@click.command()
@route_argument
@terms
@asks()
def undo(talk: Talk, route: str, reason: str, dry_run: bool, if_revision: int | None) -> None:
    """Return a route to what it was before its last change; again, and it is as it is now.

    \b
    Example:
      turnout undo shop
    """
    answer = change(talk, "POST", f"{route_path(route)}/undo", {"reason": reason}, dry_run, if_revision)
    report(talk, answer, dry_run=dry_run, back="`turnout undo {route}` once more takes that back.")


@click.command()
@route_argument
@terms
@asks()
def confirm(talk: Talk, route: str, reason: str, dry_run: bool, if_revision: int | None) -> None:
    """Keep a change that was made with --confirm-within: it will not go back by itself.

    \b
    Example:
      turnout confirm shop
    """
    answer = change(talk, "POST", f"{route_path(route)}/confirm", {"reason": reason}, dry_run, if_revision)
    report(talk, answer, dry_run=dry_run, back=_BACK)


def change(
    talk: Talk, method: str, path: str, body: dict[str, Any], dry_run: bool, if_revision: int | None
) -> dict[str, Any]:
    """Ask for a change on the terms of the command line, and return the answer. Raises Unreachable and Refused."""
    headers = {} if if_revision is None else {"If-Match": f'"{if_revision}"'}
    body = {key: value for key, value in body.items() if (key, value) != ("reason", "")}
    answer: dict[str, Any] = talk.api.ask(method, f"{path}?dry_run=true" if dry_run else path, body, headers)
    return answer


def route_path(route: str) -> str:
    """Where a route is found in the API, whatever its name."""
    return f"/api/v1/routes/{quote(route, safe='')}"


def _only_route(talk: Talk) -> str:
    names = route_names(talk.api)
    if len(names) != 1:
        raise click.UsageError(f"name a route ({', '.join(names) or 'there is none'}), or say --all")
    return names[0]
