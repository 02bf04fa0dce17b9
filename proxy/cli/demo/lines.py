"""What the reader of a log sees: one line per second, and one per change of the split."""

from __future__ import annotations

from proxy.cli.demo.invocation import command
from proxy.cli.demo.picture import View, applied
from proxy.cli.demo.tally import YOU
from proxy.controlplane.supervisor import Change


def opening_lines(view: View) -> list[str]:
    """Return what is said once, before the lines."""
    old, new = view.rows
    return [
        f"Turnout demo: {len(view.tally.seen)} users -> turnout {view.proxy} -> old {old.address} | new {new.address}",
        f"workers: processes {', '.join(map(str, view.workers))}; ask it: curl {view.proxy}/",
        f"look in: {command()} status --admin {view.admin}",
    ]


def change_line(weight: int, change: Change | None) -> str:
    """Return what is said of a change of the split."""
    return f"-- new gets {weight} % ({applied(change)})"


def line(view: View) -> str:
    """Return one moment on one line."""
    parts = [f"{view.elapsed_s:5.1f} s"]
    for row in view.rows:
        share = "    -" if row.share is None else f"{row.share:5.1f}"
        latency = "      -" if row.latency is None else f"{row.latency[0]:4.1f} ms"
        parts.append(f"{row.version} {share} % {row.rate:4.0f}/s {latency}")
    tally = view.tally
    parts.append(f"moved {tally.forward}, back {tally.back}")
    parts.append(f"you: {tally.seen[YOU] or '-'}")
    parts.append(f"failed {tally.failures}")
    return "  | ".join(parts)
