"""A result for people: plain text for the terminal, Markdown for the README. Pure but for `rewrite`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.bench import Run
from benchmarks.tables import Table, bars_table, figures_table

START, END = "<!-- bench:start -->", "<!-- bench:end -->"


class NoMarkersError(Exception):
    """The file has no place for the table."""


def plain(table: Table) -> str:
    """Columns aligned with spaces; numbers to the right."""
    lines = [table.header, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.header))]
    text = [" ".join(cell.ljust(width) if column == 0 else f" {cell.rjust(width)}"
                     for column, (cell, width) in enumerate(zip(line, widths, strict=True))).rstrip() for line in lines]
    text.insert(1, "-" * (sum(widths) + 2 * len(widths) - 2))
    return "\n".join([*text, *table.notes])


def markdown(table: Table) -> str:
    """The same as a Markdown table."""
    rule = ["---", *("---:" for _ in table.header[1:])]
    lines = [f"| {' | '.join(line)} |" for line in (table.header, rule, *table.rows)]
    return "\n".join(lines) + ("\n\n" + "\n".join(f"- {note}" for note in table.notes) if table.notes else "")


def terminal(result: Mapping[str, Any], runs: Sequence[Run]) -> str:
    """All of a result for the terminal."""
    return "\n\n".join([machine.one_line(result["machine"]), plain(figures_table(runs)),
                        plain(bars_table(runs, only_measured=True)),
                        *cautions(result)])


def readme(result: Mapping[str, Any], runs: Sequence[Run], file: str) -> str:
    """What stands between the markers of the README."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    effort = result["effort"]
    origin = (f"Run of {result['when'][:10]}, commit `{result['commit']}`{' with changes' if result['dirty'] else ''}, "
              f"{effort['rounds']} rounds of {effort['seconds']:g} s: {machine.one_line(result['machine'])}. "
              f"{versions}. Raw figures: [{file}](benchmarks/results/{file}).")
    parts = [markdown(figures_table(runs)), markdown(bars_table(runs)), *cautions(result), origin]
    return "\n\n".join(parts)


def cautions(result: Mapping[str, Any]) -> list[str]:
    """What limits the worth of a result, in sentences."""
    found = []
    if result["effort"]["quick"]:
        found.append("A quick run: it shows that everything works; its figures are not to be quoted.")
    if result["cores_shared"]:
        found.append("One core only: proxy, load and service shared it, which adds noise to every figure.")
    if result["machine"]["load_average_before"] > machine.BUSY:
        found.append(f"The machine was busy when the run began (load {result['machine']['load_average_before']}).")
    found += [f"{name} is missing: {why}" for name, why in result["skipped"].items()]
    found += [f"{name}: {' '.join(why.split())[:300]}" for name, reasons in result["notes"].items() for why in reasons]
    return found


def between_markers(text: str, replacement: str) -> str:
    """`text` with what stands between the markers replaced. Raises NoMarkersError where they are not there in order."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise NoMarkersError(f"no {START} … {END} in the file: add the two lines where the table is to stand")
    return f"{before}{START}\n{replacement}\n{END}{after}"


def rewrite(path: Path, replacement: str) -> None:
    """Put the table into a file."""
    path.write_text(between_markers(path.read_text(), replacement))
