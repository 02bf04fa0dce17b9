"""What it came to, for a person and for a machine."""

from __future__ import annotations

import json
from typing import Any

from proxy.cli.demo.invocation import command
from proxy.cli.demo.picture import your_story
from proxy.cli.demo.plan import NEW, OLD
from proxy.cli.demo.stage import Outcome
from proxy.cli.demo.style import Style
from proxy.cli.demo.tally import StepTally

_BREAK = "\\\n      "  # a shell reads on after it, and a terminal of 80 columns shows it whole


def as_text(outcome: Outcome, style: Style) -> str:
    """Return the summary and what to try next."""
    tally = outcome.tally
    if not tally.steps:
        return "Ended before it began; nothing is left running."
    wanted = ", ".join(str(step.weight) for step in tally.steps)
    got = ", ".join(_percent(step) for step in tally.steps)
    back = f"new -> old: {tally.back}"
    failed = f"{tally.failures} failed"
    return "\n".join([
        "",
        f"{style.bold(f'{tally.requests} requests')} in {outcome.lasted_s:.1f} s, "
        f"{style.bad(failed) if tally.failures else style.bold(failed)}",
        *([f"  first      {style.bad(tally.first_failure)}"] if tally.first_failure else []),
        f"  split      new was to get {wanted} %; it got {got} % (of {len(tally.seen)} users)",
        f"  users      moved old -> new: {tally.forward}, {style.bad(back) if tally.back else back}",
        f"  you        {your_story(tally)}",
        f"  workers    {len(outcome.workers)}, {outcome.replaced} replaced; all have left, nothing is left running",
        "",
        "Next, with your own services:",
        f"  {style.bold(f'{command()} run --weight 5 {_BREAK}--old http://127.0.0.1:9001 --new http://127.0.0.1:9002')}",
        f"  {style.bold(f'{command()} check -c turnout.yaml')}    (examples in config/)",
    ])


def _percent(step: StepTally) -> str:
    share = step.share(NEW)
    return "-" if share is None else f"{share:.1f}"


def to_json(outcome: Outcome) -> str:
    """Return the summary as one JSON document."""
    tally = outcome.tally
    return json.dumps({
        "ok": outcome.ok,
        "requests": tally.requests,
        "failures": tally.failures,
        "first_failure": tally.first_failure,
        "lasted_s": round(outcome.lasted_s, 3),
        "moves": {"old_to_new": tally.forward, "new_to_old": tally.back},
        "you": {"requests": tally.you_asked, "versions": [step.you for step in tally.steps]},
        "steps": [_step(outcome, number) for number in range(len(tally.steps))],
        "latency_ms": {version: _latency(outcome, version) for version in (OLD, NEW)},
        "workers": {"pids": list(outcome.workers), "replaced": outcome.replaced},
        "proxy": outcome.proxy,
    }, indent=2)


def _step(outcome: Outcome, number: int) -> dict[str, Any]:
    step, change = outcome.tally.steps[number], outcome.changes[number]
    share = step.share(NEW)
    return {
        "weight": step.weight,
        "requests": step.requests,
        "new_percent": None if share is None else round(share, 2),
        "revision": number + 1,
        "applied": None if change is None else {"workers": change.workers, "of": change.of},
        "took_ms": None if change is None else round(1000 * change.took_s, 2),
    }


def _latency(outcome: Outcome, version: str) -> dict[str, float] | None:
    latency = outcome.latency.get(version)
    return None if latency is None else {"median": round(latency[0], 2), "p99": round(latency[1], 2)}
