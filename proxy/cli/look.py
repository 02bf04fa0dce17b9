"""The verbs that ask and change nothing: explain, config."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import click

from proxy.cli.client import printable
from proxy.cli.talk import Talk, asks

Json = dict[str, Any]


@click.command()
@click.argument("path")
@click.option("--method", metavar="METHOD", help="The request's method; GET unless told.")
@click.option("--host", metavar="HOST", help="The host it asks for; a URL as PATH says it, too.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header; may be repeated.")
@click.option("--cookie", "cookies", multiple=True, metavar="NAME=VALUE", help="A cookie; may be repeated.")
@click.option("--client", metavar="ADDRESS", help="The address it comes from.")
@asks()
def explain(
    talk: Talk, path: str, method: str | None, host: str | None, headers: tuple[str, ...], cookies: tuple[str, ...],
    client: str | None,
) -> None:
    """Say which route and version a request would get, and why, by the same steps a worker takes. Sends nothing.

    PATH is a path with its query, or a whole URL.

    \b
    Examples:
      turnout explain /cart --host shop.example.com
      turnout explain http://shop.example.com/cart --cookie turnout=0123456789abcdef01234567
      turnout explain / -H 'X-Turnout-Version: new' --client 10.0.0.7
    """
    if "://" in path:
        url = urlsplit(path)
        host = host or url.netloc.rpartition("@")[2]
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    pairs = [_pair(header) for header in headers]
    if cookies:
        pairs.append(("Cookie", "; ".join(cookies)))
    given = {"method": method, "host": host, "headers": pairs, "client": client}
    answer = talk.api.ask("POST", "/api/v1/explain", {"path": path, **{k: v for k, v in given.items() if v}})
    talk.show(answer, printable("\n".join(_explained(answer)), keep="\n"))


def _pair(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon:
        raise click.UsageError(f"`{header}` is not a header such as 'X-Turnout-Version: new'")
    return name, value.strip(" \t")


def _explained(answer: Json) -> Iterator[str]:
    yield from (f"{number}. {step}" for number, step in enumerate(answer["why"], 1))
    if answer["route"] is None:
        return  # the last step says so
    if answer["version"] is not None:
        sent_to = answer.get("sent_to", answer["version"])
        really = "" if sent_to == answer["version"] else f", sent to {sent_to or 'nobody'}"
        yield f"→ route {answer['route']}, version {answer['version']}{really} (revision {answer['revision']})"
    else:
        odds = " · ".join(f"{odds['version']} {100 * odds['share']:.4g} %" for odds in answer["versions"])
        yield f"→ route {answer['route']}, version by chance: {odds} (revision {answer['revision']})"


@click.command()
@asks()
def config(talk: Talk) -> None:
    """Show the configuration in force as a file would hold it, and what was changed since at run time.

    \b
    Example:
      turnout config > in-force.yaml
    """
    answer = talk.api.get("/api/v1/config")
    talk.show(answer, "" if talk.as_json else printable("\n".join(_file(answer)), keep="\n"))


def _file(answer: Json) -> Iterator[str]:
    import yaml  # 20 ms, for this verb only

    source = answer["file"] or "the command line"
    yield f"# Turnout's configuration in force, revision {answer['revision']}, from {source}"
    yield yaml.safe_dump(answer["config"], sort_keys=False, allow_unicode=True).rstrip()
    for route, course in answer["courses"].items():
        weights = ", ".join(f"{version}: {weight:g}" for version, weight in course["split"].items())
        shadow = course.get("shadow")
        copies = f"; shadow {shadow['percent']:g} % to {shadow['to']}" if shadow else ""
        yield f"# route {route} was changed at run time: split {{{weights}}}{copies}"
    for version, servers in answer["drained"].items():
        yield f"# drained of version {version}: {', '.join(servers)} (turnout restore {version})"
