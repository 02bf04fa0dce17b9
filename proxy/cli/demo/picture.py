"""What the viewer sees, as a picture of at most 80 columns and 23 lines.

A view goes in, lines come out.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.cli.demo.invocation import command
from proxy.cli.demo.meter import Latency
from proxy.cli.demo.plan import NEW, OLD, WEIGHTS
from proxy.cli.demo.style import Style
from proxy.cli.demo.tally import YOU, Tally
from proxy.controlplane.supervisor import Change

WIDTH = 79
"""Of 80: in the last column some terminals wrap."""
_BAR = 24
_USERS_A_ROW = 50


@dataclass(frozen=True, slots=True)
class Row:
    """One version in this step: its weight and realised share in percent, and answers per second lately."""

    version: str
    address: str
    weight: float
    share: float | None
    rate: float
    latency: Latency | None


@dataclass(frozen=True, slots=True)
class View:
    """Everything there is to show at one moment."""

    status: str
    elapsed_s: float
    proxy: str
    admin: str
    rows: tuple[Row, ...]
    tally: Tally
    change: Change | None
    workers: tuple[int, ...]
    replaced: int
    your_cookie: str | None


def picture(view: View, style: Style) -> list[str]:
    """Return the lines of the picture."""
    return [
        *_heading(view, style), "",
        *_scene(view, style), "",
        *_split(view, style),
        style.dim(f" {'':<{14 + _BAR}}{'share':>6} {'answers':>10} {'median':>8} {'99 %':>8}"),
        *(_bar(row, style) for row in view.rows), "",
        *_users(view, style), "",
        *_you(view, style), "",
        *_invitation(view, style),
    ]


def _heading(view: View, style: Style) -> list[str]:
    left, right = "Turnout demo", f"{view.elapsed_s:.0f} s · {view.status}"
    return [f" {style.bold(left)}{' ' * (WIDTH - 2 - len(left) - len(right))}{style.dim(right)}"]


def _scene(view: View, style: Style) -> list[str]:
    crowd = f"{len(view.tally.seen)} users ──► "
    proxy = view.proxy.removeprefix("http://")
    old, new = (row.address.removeprefix("http://") for row in view.rows)
    pids = ", ".join(map(str, view.workers))
    ended = f", {view.replaced} replaced" if view.replaced else ""
    return [
        f" {crowd}{style.bold('turnout')} {proxy} ──┬─► {style.version(OLD)} {old}",
        f" {' ' * len(crowd)}{' ' * len('turnout ' + proxy)}   └─► {style.version(NEW)} {new}",
        f" {' ' * len(crowd)}{style.dim(f'workers: processes {pids}{ended}')}",
    ]


def _split(view: View, style: Style) -> list[str]:
    steps = []
    for number, weight in enumerate(WEIGHTS):
        text = f"{weight} %"
        steps.append(style.bold(f"[ {text} ]") if number == view.tally.step else style.dim(f"  {text}  "))
    return [f" {'new gets':<10}" + style.dim(" ─► ").join(steps), f" {'':<10}{style.dim(applied(view.change))}"]


def applied(change: Change | None) -> str:
    """Say how a change of the split reached the workers."""
    if change is None:
        return "revision 1: what the workers started with"
    return (
        f"revision {change.revision}: applied by {change.workers} of {change.of} workers"
        f" in {1000 * change.took_s:.1f} ms, no restart"
    )


def _bar(row: Row, style: Style) -> str:
    filled = round(_BAR * (row.share or 0.0) / 100)
    if row.share and not filled:
        filled = 1  # somebody is not nobody
    bar = style.paint(row.version, "█" * filled) + style.dim("░" * (_BAR - filled))
    share = "-" if row.share is None else f"{row.share:.1f} %"
    times = ("-", "-") if row.latency is None else [f"{milliseconds:.1f} ms" for milliseconds in row.latency]
    wanted = f"{row.weight:.0f} %"
    numbers = f"{share:>8} {row.rate:7.0f} /s {times[0]:>8} {times[1]:>8}"
    return f" {style.version(row.version)} {wanted:>5}    {bar}{numbers}"


def _users(view: View, style: Style) -> list[str]:
    seen = view.tally.seen
    lines = []
    for start in range(0, len(seen), _USERS_A_ROW):
        row = enumerate(seen[start : start + _USERS_A_ROW], start)
        marks = "".join(_mark(version, user == YOU, style) for user, version in row)
        lines.append(f" {'users' if start == 0 else '':<10}{marks}")
    legend = (_mark(OLD, False, style) + " on old", _mark(NEW, False, style) + " on new", style.bold("y Y") + " you")
    lines = [f"{marks}  {meaning}" for marks, meaning in zip(lines, legend, strict=True)]
    back = style.bad(str(view.tally.back)) if view.tally.back else "0"
    failed = style.bad(f"{view.tally.failures} failed") if view.tally.failures else "0 failed"
    moves = f"moved old → new: {style.bold(str(view.tally.forward))}   new → old: {back}"
    return [*lines, f" {'':<10}{moves}   requests: {view.tally.requests}, {failed}"]


def _mark(version: str | None, is_you: bool, style: Style) -> str:
    if version is None:
        return " "
    if is_you:
        return style.strong(version, "Y" if version == NEW else "y")
    return style.paint(version, "■" if version == NEW else "·")


def _you(view: View, style: Style) -> list[str]:
    stations = [
        f"at {step.weight} %: {style.version(step.you)}" for step in view.tally.steps if step.you is not None
    ]
    return [
        f" {style.bold('you'):<{10 + style.overhead}}" + " ─► ".join(stations),
        f" {'':<10}{style.dim(your_story(view.tally))}",
    ]


def your_story(tally: Tally) -> str:
    """Say in one sentence what happened to the followed user."""
    asked = f"{tally.you_asked} requests with one cookie"
    match tally.your_way:
        case []:
            return "no request yet"
        case [version]:
            return f"{asked}, all answered by {version}"
        case [_, version]:
            return f"{asked}: moved to {version} once, and stays there"
        case way:
            return f"{asked}: moved {' -> '.join(way)}"


def _invitation(view: View, style: Style) -> list[str]:
    you = f"curl -b {view.your_cookie} {view.proxy}/" if view.your_cookie else ""
    return [
        f" {'ask it':<10}{style.bold(f'curl {view.proxy}/')}",
        f" {'as you':<10}{style.bold(you)}",
        f" {'look in':<10}{style.bold(f'{command()} status --admin {view.admin}')}",
    ]
