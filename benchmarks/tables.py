"""The tables of a result: one of figures (a row per scenario, a column per peer), one of bars. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.bars import BARS, Bar, Judgement, Of, figures, flags, judge
from benchmarks.bench import Run
from benchmarks.peers import PEERS
from benchmarks.rounds import Spread, spread

MISSING = "-"
MARK = "!"                                      # beside a figure whose runs were flagged


@dataclass(frozen=True, slots=True)
class Row:
    """A figure that every peer has."""

    title: str
    scenario: str
    figure: str
    case: str = ""
    scale: float = 1.0


ROWS: tuple[Row, ...] = (
    Row("browser-like request, CPU µs", "browser", "cpu_us"),
    Row("… requests/s, 64 connections", "browser", "rps"),
    Row("16 KiB response, CPU µs", "body16k", "cpu_us"),
    Row("1 MiB response, CPU µs", "body1m", "cpu_us"),
    Row("1 MiB upload, CPU µs", "upload1m", "cpu_us"),
    Row("2,000 connections, CPU µs per request", "connections", "cpu_us", "2000"),
    Row("1,000 routes, CPU µs per request", "routes", "cpu_us", "1000"),
    Row("50 servers, CPU µs per request", "servers", "cpu_us", "50"),
    Row("added latency, p50, ms", "latency", "added_p50_us", scale=1e-3),
    Row("added latency, p99, ms", "latency", "added_p99_us", scale=1e-3),
    Row("added latency, p99.9, ms", "latency", "added_p999_us", scale=1e-3),
    Row("idle connection, KiB", "idle", "bytes_each", scale=1 / 1024),
    Row("1 GiB down, grows by MiB", "giant", "grew_mib", "down"),
    Row("1 GiB up, grows by MiB", "giant", "grew_mib", "up"),
    Row("kill -9: lost on other workers", "kill", "lost_on_others"),
    Row("weight change, call → answer, p50, ms", "change", "split_p50_ms"),
    Row("rollback, call → answer, p50, ms", "change", "rollback_p50_ms"),
    Row("rollback, call → answer, p99, ms", "change", "rollback_p99_ms"),
    Row("p99 during 5 upgrades, ms", "steadiness", "p99_ms", "upgrades"),
    Row("p99 without flood of the admin API, ms", "flood", "p99_ms", "quiet"),
    Row("p99 with it, ms", "flood", "p99_ms", "flooded"),
    Row("metrics, µs per request", "remembering", "metrics_us", "code"),
    Row("access log, µs per request", "remembering", "line_written_us", "code"),
    Row("access log under load, on minus off, CPU µs", "remembering", "lines_us", "lines"),
    Row("without a shadow, p99, ms", "shadow", "p99_ms", "off"),
    Row("all copied, p99, ms", "shadow", "p99_ms", "copied"),
    Row("all copied, 250 pairs/s compared, p99, ms", "shadow", "p99_ms", "picked"),
    Row("all compared, p99, ms", "shadow", "p99_ms", "compared"),
    Row("without a shadow, CPU µs of the workers", "shadow", "cpu_us", "off"),
    Row("all copied, CPU µs of the workers", "shadow", "cpu_us", "copied"),
    Row("all copied, 250 pairs/s compared, CPU µs of the workers", "shadow", "cpu_us", "picked"),
    Row("all compared, CPU µs of the workers", "shadow", "cpu_us", "compared"),
    Row("… of the comparer per comparison of 2 KiB", "shadow", "comparer_us", "compared"),
    Row("1,000 uploads of 10 MiB, workers grow by MiB", "shadow-memory", "grew_mib", "plain"),
    Row("… all copied to one that accepts nobody, cap 64 MiB", "shadow-memory", "grew_mib", "full"),
    Row("… all copied to one that reads nothing, cap 64 MiB", "shadow-memory", "grew_mib", "deaf"),
    Row("planted differences found, of 50", "shadow-found", "found"),
    Row("server killed with -9: p99 during its absence, ms", "kill-server", "p99_ms"),
    Row("… started again: back after s", "kill-server", "back_s"),
    Row("candidate killed: known after ms", "candidate-death", "down_ms", "killed"),
    Row("candidate stopped: known after ms", "candidate-death", "down_ms", "stopped"),
    Row("candidate answers 500 to all: known after ms", "candidate-death", "down_ms", "failing"),
    Row("… client errors until then", "candidate-death", "errors_before", "failing"),
    Row("server silent: requests sent to it in vain", "blackhole", "sent_in_vain", "silent"),
    Row("server silent: client errors", "blackhole", "errors", "silent"),
    Row("everything configured, CPU µs", "resilient-cpu", "cpu_us", "with"),
    Row("everything off, CPU µs", "resilient-cpu", "cpu_us", "without"),
    Row("three times the load, goodput/s", "overload", "goodput", "bound"),
    Row("… p99 of what is served, ms", "overload", "p99_ms", "bound"),
    Row("… unbounded: goodput/s", "overload", "goodput", "unbound"),
    Row("… unbounded: p99 of what is served, ms", "overload", "p99_ms", "unbound"),
    Row("chaos: requests", "chaos", "sent"),
    Row("chaos: faults", "chaos", "faults"),
    Row("chaos: lost as had to be", "chaos", "lost_duly"),
    Row("chaos: p99, ms", "chaos", "p99_ms"),
)


@dataclass(slots=True)
class Table:
    """Cells as text, the first row the header; `notes` explains the marks."""

    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def number(value: float) -> str:
    """Three significant digits, thousands separated, no exponent."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def between(found: Spread | None, scale: float = 1.0, unit: str = "") -> str:
    """`median (low to high)`; only the median where all rounds agree."""
    if found is None:
        return MISSING
    median, low, high = (number(value * scale) for value in (found.median, found.low, found.high))
    return f"{median}{unit}" if low == high else f"{median}{unit} ({low} to {high})"


def figures_table(runs: Sequence[Run]) -> Table:
    """A row per figure that was measured, a column per peer that was."""
    peers = [peer for peer in PEERS if any(run.peer == peer.name for run in runs)]
    table = Table(["", *(peer.title for peer in peers)])
    for row in ROWS:
        cells = [_cell(table, row, Of(row.scenario, row.figure, peer.name, row.case), peer.title, runs)
                 for peer in peers]
        if any(cell != MISSING for cell in cells):
            table.rows.append([row.title, *cells])
    return table


def _cell(table: Table, row: Row, of: Of, title: str, runs: Sequence[Run]) -> str:
    found = spread(list(figures(runs, of).values()))
    wrong = flags(runs, of)
    for flag in wrong:
        note = f"{MARK} {title}, {row.scenario}{f' {row.case}' if row.case else ''}: {flag}"
        if note not in table.notes:
            table.notes.append(note)
    if any("cannot keep" in flag for flag in wrong):
        return f"{MARK} overloaded"
    text = MISSING if found is None else number(found.median * row.scale)
    return f"{text} {MARK}" if wrong else text


def bars_table(runs: Sequence[Run], only_measured: bool = False) -> Table:
    """A row per bar, or only for those that the runs say something about."""
    table = Table(["", "at least", "aim", "measured (lowest to highest round)", "reached"])
    for judgement in (judge(bar, runs) for bar in BARS):
        if only_measured and judgement.value is None:
            continue
        table.rows.append(_bar_row(judgement))
        table.notes.extend(f"{MARK} {judgement.bar.title}: {flag}" for flag in judgement.flags)
    return table


def _bar_row(judgement: Judgement) -> list[str]:
    bar: Bar = judgement.bar
    verdict = judgement.verdict + (f" {MARK}" if judgement.flags else "")
    sign = "≥" if bar.more_is_better else "≤"
    return [bar.title, f"{sign} {bar.at_least:g}{bar.unit}", f"{sign} {bar.aim:g}{bar.unit}",
            between(judgement.value, 1.0, bar.unit), verdict]
