"""`turnout check`: says everything that is wrong with a configuration, or what it means.

Exit codes: 0 it is right; 3 the configuration is wrong; 1 it is right, but `--probe` found an address that cannot be
bound, a server that cannot be reached or a folder that cannot be written: the world is to be put right, not the file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from proxy.cli import exits
from proxy.errors import ConfigError, Problem

if TYPE_CHECKING:
    from proxy.core.route import Copying, Match, Route, Shadow
    from proxy.settings import AdminSettings, Settings
    from proxy.settings.probe import Finding


@click.command()
@click.option("-c", "--config", "file", default="turnout.yaml", show_default=True, metavar="FILE",
              help="The configuration file.")
@click.option("--probe", "with_probe", is_flag=True,
              help="Also bind the addresses, connect to every server, and see whether state and log can be written "
                   "(exit 1 if any of it fails).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(file: str, with_probe: bool, as_json: bool) -> None:
    """Check the configuration: every problem with its line and column, or a summary. Changes nothing.

    \b
    Examples:
      turnout check
      turnout check -c turnout.yaml --probe
    """
    from proxy.settings import load_file  # pydantic, only when it is needed

    try:
        settings = load_file(file)
    except ConfigError as error:
        _print_problems(file, error.problems, as_json)
        raise click.exceptions.Exit(exits.CONFIG) from None
    findings = _probe(settings) if with_probe else []
    if as_json:
        click.echo(json.dumps(_as_json(file, settings, findings if with_probe else None), indent=2))
    else:
        click.echo("\n".join(_as_text(file, settings, findings)))
    if not all(finding.ok for finding in findings):
        raise click.exceptions.Exit(exits.FAILED)


def _probe(settings: Settings) -> list[Finding]:
    from proxy.settings.probe import probe

    return probe(settings)


def _print_problems(file: str, problems: Sequence[Problem], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"file": file, "ok": False, "problems": _listed(problems)}, indent=2))
        return
    for problem in problems:
        click.echo(str(problem), err=True)
    click.echo(f"{file}: {_count(len(problems), 'problem')}", err=True)


def _as_text(file: str, settings: Settings, findings: list[Finding]) -> list[str]:
    listens = ", ".join(listen.address for listen in settings.listen)
    versions = (f"{version.name} ({_count(len(version.servers), 'server')})" for version in settings.versions)
    lines = [
        f"{file}: ok",
        f"  listen    {listens} ({_count(settings.workers, 'worker')})",
        f"  admin     {settings.admin.listen.address} ({_holders(settings.admin)})",
        f"  state     {_state(settings)}",
        f"  versions  {', '.join(versions)}",
    ]
    for route in settings.routes:
        shares = " · ".join(f"{name} {share:.4g}%" for name, share in shares_of(route))
        lines.append(f"  route     {route.name}: {_match(route.match)} → {shares}{_habits(route)}")
    lines += [f"  warning   {warning}" for warning in settings.warnings]
    lines += [f"  {finding.kind:<9} {finding.name}: {'' if finding.ok else 'FAILED: '}{finding.detail}"
              for finding in findings]
    return lines


def _holders(admin: AdminSettings) -> str:
    """Who may use the admin API."""
    return ", ".join(f"{token.name}: {token.role}" for token in admin.tokens) or "this machine only, no token asked for"


def _state(settings: Settings) -> str:
    """What is written, and whether the file is looked at again."""
    watched = "not watched" if settings.watch_s is None else f"looked at every {settings.watch_s:g} s"
    kept = "in memory: changes are forgotten at a restart" if settings.state_dir is None else settings.state_dir
    return f"{kept}; access log {settings.policy.access_log}; this file is {watched}"


def shares_of(route: Route) -> list[tuple[str, float]]:
    """Each version's share of a route in percent, in the order of its split."""
    total = sum(weight for _, weight in route.split)
    return [(name, 100 * weight / total) for name, weight in route.split]


def _match(match: Match) -> str:
    headers = (f"{header.name}: {'any' if header.equals is None else header.equals}" for header in match.headers)
    conditions = [f"{match.host or '*'}{match.path}", *(["|".join(match.methods)] if match.methods else []), *headers]
    return ", ".join(conditions)


def _habits(route: Route) -> str:
    habits = [f"baseline {route.baseline}"]
    if route.sticky is not None:
        name = f" `{route.sticky.name}`" if route.sticky.name else ""
        habits.append(f"sticky by {route.sticky.by}{name}{', session' if route.sticky.mode == 'session' else ''}")
    if route.override is not None and route.override.networks:
        habits.append(f"override from {', '.join(route.override.networks)}")
    if route.shadow is not None:
        habits.append(_copies(route.shadow, route.copying))
    return f" ({'; '.join(habits)})"


def _copies(shadow: Shadow, copying: Copying) -> str:
    compared = "not compared" if copying.compare is None else (
        "compared, with a control" if copying.control else "compared")
    return f"shadow {shadow.percent:g}% of {'|'.join(shadow.methods)} to {shadow.to}, {compared}"


def _as_json(file: str, settings: Settings, findings: list[Finding] | None) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "file": file,
        "ok": True,
        "listen": [listen.address for listen in settings.listen],
        "admin": settings.admin.listen.address,
        "tokens": [{"name": token.name, "role": token.role} for token in settings.admin.tokens],
        "workers": settings.workers,
        "state_dir": settings.state_dir,
        "access_log": settings.policy.access_log,
        "watch_s": settings.watch_s,
        "versions": {version.name: [server.address for server in version.servers] for version in settings.versions},
        "routes": [{"name": route.name, "host": route.match.host, "path": route.match.path, "baseline": route.baseline,
                    "shares": {name: round(share, 6) for name, share in shares_of(route)},
                    "shadow": route.shadow and {
                        "to": route.shadow.to, "percent": route.shadow.percent, "methods": list(route.shadow.methods),
                        "compared": route.copying.compare is not None, "control": route.copying.control}}
                   for route in settings.routes],
        "warnings": _listed(settings.warnings),
    }
    if findings is not None:
        answer["ok"] = all(finding.ok for finding in findings)
        answer["probe"] = [{"kind": finding.kind, "name": finding.name, "ok": finding.ok, "detail": finding.detail}
                           for finding in findings]
    return answer


def _listed(problems: Sequence[Problem]) -> list[dict[str, str]]:
    return [{"where": problem.where, "path": problem.path, "message": problem.message} for problem in problems]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
