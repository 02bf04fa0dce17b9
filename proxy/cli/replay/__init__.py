"""`turnout replay`: recorded requests sent again, their answers compared with the recorded ones.

Exit codes: 0 every answer that could be compared is the same; 1 some differ, some did not come, or nothing could be
compared; 4 nobody answers at the URL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from proxy.cli import exits
from proxy.cli.talk import warn
from proxy.errors import ConfigError

if TYPE_CHECKING:
    from proxy.core.compare.values import Rules


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--to", "to", required=True, metavar="URL", help="Where the requests go: http://host:port or unix:/path.")
@click.option("-c", "--config", metavar="FILE", help="Compare by the rules of a route in this configuration file.")
@click.option("--route", metavar="NAME", help="Which route of it; the recorded one unless told.")
@click.option("--ignore", multiple=True, metavar="RULE",
              help="What may differ besides: $.json.path, header:NAME, status or body; may be repeated.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N",
              help="At most so many requests a second; as fast as they are answered unless told.")
@click.option("--concurrency", type=click.IntRange(1, 1024), default=16, show_default=True, metavar="N",
              help="At most so many at once.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True,
              metavar="SECONDS", help="How long one answer may take.")
@click.option("--host", metavar="HOST", help="The Host of every request; the recorded one unless told.")
@click.option("--send-redacted", is_flag=True,
              help="Also send requests whose target or body holds `redacted` in place of a secret.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def replay(
    file: str, to: str, config: str | None, route: str | None, ignore: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Send recorded requests again and compare the answers with those that clients got then.

    FILE is what `turnout shadow ROUTE record FILE` has written. The requests are as they were, methods included, but
    for secrets, which were never recorded: a header field that held one is left out, and a request whose target or body
    held one is not sent. Exit code 0: no differences; 1: differences, or answers that did not come; 4: nobody answers.

    \b
    Examples:
      turnout replay shop.jsonl --to http://127.0.0.1:9002
      turnout replay shop.jsonl --to http://staging:8080 -c turnout.yaml --ignore $.served_at --rate 50
    """
    from proxy.cli.replay.run import Terms, run  # aiohttp, for this verb only

    if route and not config:
        raise click.UsageError("--route names a route of --config FILE")
    terms = Terms(to=to, rules=_rules(file, config, route, ignore), **options)
    raise click.exceptions.Exit(run(file, terms, as_json=as_json))


def _rules(file: str, config: str | None, route: str | None, ignore: tuple[str, ...]) -> Rules:
    """The rules to compare by. Raises UsageError, and ends with the problems of a wrong file."""
    from dataclasses import replace as but

    from proxy.core.compare.rules import problems_of, rules_of
    from proxy.core.compare.values import Rules

    rules = Rules() if config is None else _configured(config, route or _recorded_route(file))
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


def _recorded_route(file: str) -> str:
    from proxy.cli.replay.recorded import recorded

    first = next((entry for entry in recorded(file) if not isinstance(entry, str)), None)
    if first is None:
        raise click.UsageError(f"{file} holds no recorded request")
    return first.route
