"""`turnout replay`: recorded requests sent again, their answers compared with the recorded ones.

Exit codes: 0 every answer that could be compared is the same; 1 some differ, some did not come, or nothing could be
compared; 4 nobody answers at the URL.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from typing import IO, TYPE_CHECKING, Any

import click

from proxy.cli import exits
from proxy.cli.talk import warn
from proxy.cli.text import printable
from proxy.errors import ConfigError

if TYPE_CHECKING:
    from proxy.cli.replay.recorded import Recorded
    from proxy.cli.replay.sending import Place
    from proxy.core.compare.values import Rules

_MOST_BEFORE = 1_000
"""Lines that may come before the first request, whose route says by which rules all are compared."""
_HOST = re.compile(r"[!-~]{1,255}")


class _Finite(click.FloatRange):
    """A number between bounds, and a number indeed."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click."""
        found = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value} is not a number.", param, ctx)
        return found


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--to", "to", required=True, metavar="URL", help="Where the requests go: http://host:port or unix:/path.")
@click.option("-c", "--config", metavar="FILE", help="Compare by the rules of a route in this configuration file.")
@click.option("--route", metavar="NAME", help="Which route of it; the recorded one unless told.")
@click.option("--ignore", multiple=True, metavar="RULE",
              help="What may differ besides: $.json.path, header:NAME, status or body; may be repeated.")
@click.option("--rate", type=_Finite(0.001, 1_000_000), metavar="N",
              help="At most so many requests a second; as fast as they are answered unless told.")
@click.option("--concurrency", type=click.IntRange(1, 1024), default=16, show_default=True, metavar="N",
              help="At most so many at once.")
@click.option("--timeout", type=_Finite(0.001, 86_400), default=10.0, show_default=True,
              metavar="SECONDS", help="How long one answer may take.")
@click.option("--host", metavar="HOST", help="The Host of every request; the recorded one unless told.")
@click.option("--send-redacted", is_flag=True,
              help="Also send requests whose target or body holds `redacted` in place of a secret.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def replay(
    file: str, to: str, config: str | None, route: str | None, ignore: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Send recorded requests again and compare the answers with those that clients got then.

    FILE is what `turnout shadow ROUTE record FILE` has written; `-` is standard input. The requests are as they were,
    byte for byte and methods included, but for secrets, which were never recorded: a header field that held one is left
    out, and a request whose target or body held one is not sent. Nor is one whose body is not in the recording, since
    it was too long, say: `--json` counts each sort. An answer that is hidden as a whole is not compared. Exit code 0:
    no differences; 1: differences, or answers that did not come; 4: nobody answers.

    \b
    Examples:
      turnout replay shop.jsonl --to http://127.0.0.1:9002
      turnout replay shop.jsonl --to http://staging:8080 -c turnout.yaml --ignore $.served_at --rate 50
      xzcat shop.jsonl.xz | turnout replay - --to unix:/run/shop.sock
    """
    from proxy.cli.replay.recorded import recorded
    from proxy.cli.replay.run import Terms, run

    if route and not config:
        raise click.UsageError("--route names a route of --config FILE")
    if options["host"] is not None and not _HOST.fullmatch(options["host"]):
        raise click.UsageError("--host: a host is printable ASCII without blanks")
    place = _place(to)
    with ExitStack() as stack:
        # Opened once: what comes through a pipe cannot be read a second time.
        entries = recorded(file, stack.enter_context(_opened(file)))
        if config and not route:
            route, entries = _first_route(file, entries)
        terms = Terms(to=to, place=place, rules=_rules(config, route or "", ignore), **options)
        code = run(file, entries, terms, as_json=as_json)
    raise click.exceptions.Exit(code)


def _opened(file: str) -> IO[Any]:
    """The recording, to be closed when it was read. Ends when it cannot be opened."""
    try:
        return click.open_file(file, "rb")
    except OSError as error:
        warn(f"turnout: {printable(file)} cannot be read: {error.strerror or error}")
        raise click.exceptions.Exit(exits.FAILED) from None


def _place(to: str) -> Place:
    from proxy.cli.replay.sending import place_of

    try:
        return place_of(to)
    except ValueError as error:
        raise click.UsageError(f"--to: `{printable(to)}` is not http://host:port, https://host:port or unix:/path: "
                               f"{error}") from None


def _rules(config: str | None, route: str, ignore: tuple[str, ...]) -> Rules:
    """The rules to compare by. Raises UsageError, and ends with the problems of a wrong file."""
    from dataclasses import replace as but

    from proxy.core.compare.rules import problems_of, rules_of
    from proxy.core.compare.values import Rules

    rules = Rules() if config is None else _configured(config, route)
    given = {"ignore": list(ignore)}
    if problems := problems_of(given):
        raise click.UsageError("\n".join(f"--ignore: {problem.message}" for problem in problems))
    more = tuple(rule for rule in rules_of(given).ignore if rule not in rules.ignore)
    return but(rules, ignore=rules.ignore + more, control=False)


def _configured(config: str, name: str) -> Rules:
    from proxy.core.compare.rules import rules_from
    from proxy.settings import load_file

    try:
        settings = load_file(config)
    except ConfigError as error:
        for problem in error.problems:
            warn(str(problem))
        raise click.exceptions.Exit(exits.CONFIG) from None
    routes = {route.name: route for route in settings.routes}
    if name not in routes:
        raise click.UsageError(f"{config} has no route `{name}`: there are {', '.join(routes)}; --route names one")
    compare = routes[name].copying.compare
    return rules_from(compare or "{}")


def _first_route(file: str, entries: Iterator[Recorded | str]) -> tuple[str, Iterator[Recorded | str]]:
    """The route that was recorded, and all entries. Raises UsageError, and ends when the file cannot be read."""
    seen: list[Recorded | str] = []
    try:
        for entry in entries:
            seen.append(entry)
            if not isinstance(entry, str):
                return entry.route, chain(seen, entries)
            if len(seen) >= _MOST_BEFORE:
                break
    except OSError as error:
        warn(f"turnout: {printable(file)} cannot be read: {error.strerror or error}")
        raise click.exceptions.Exit(exits.FAILED) from None
    raise click.UsageError(f"{file} holds no recorded request")
