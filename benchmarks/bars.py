"""The bars that Turnout is to reach, and how far it got. Pure: runs in, judgements out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.bench import Run
from benchmarks.rounds import Spread, ratios, spread


@dataclass(frozen=True, slots=True)
class Of:
    """Where a figure is found: scenario, figure, and which peer and case."""

    scenario: str
    figure: str
    peer: str = "turnout"
    case: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure of Turnout's, or its ratio to another figure of the same round, and what it is to be at most; or, where
    `more_is_better`, at least."""

    title: str
    above: Of
    below: Of | None
    at_least: float
    aim: float
    unit: str = ""
    scale: float = 1.0                          # figure → unit
    every_round: bool = False                   # the worst round counts, not the median
    more_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """`value` is None where nothing was measured. `flags` are those of the runs it rests on."""

    bar: Bar
    value: Spread | None
    flags: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        sign = -1 if self.bar.more_is_better else 1
        worst = self.value.low if self.bar.more_is_better else self.value.high
        counts = sign * (worst if self.bar.every_round else self.value.median)
        if counts <= sign * self.bar.aim:
            return "aim"
        return "yes" if counts <= sign * self.bar.at_least else "no"


def _cpu(scenario: str, peer: str = "turnout", case: str = "") -> Of:
    return Of(scenario, "cpu_us", peer, case)


BAD_SHADOWS = {
    "dead": "dead", "full": "blackholed (accepts nobody)", "deaf": "blackholed (reads nothing)", "slow": "10 s slow",
    "dripping": "dripping 1 byte/s", "garbage": "sending garbage"}
SHADOW_BARS: tuple[Bar, ...] = (
    Bar("client p99 with a healthy shadow, all copied ÷ without", Of("shadow", "p99_ms_ratio", case="copied"), None,
        1.3, 1.1),
    Bar("… and 250 pairs/s compared (the default) ÷ without", Of("shadow", "p99_ms_ratio", case="picked"), None,
        1.3, 1.1),
    Bar("… and all of them compared ÷ without", Of("shadow", "p99_ms_ratio", case="compared"), None, 1.3, 1.1),
    *(Bar(f"client p99 with a shadow that is {text} ÷ without", Of("shadow", "p99_ms_ratio", case=case), None,
          1.1, 1.02) for case, text in BAD_SHADOWS.items()),
    *(Bar(f"client errors with a shadow that is {text}", Of("shadow", "errors", case=case), None, 0, 0,
          every_round=True) for case, text in BAD_SHADOWS.items()),
    Bar("worker CPU per request, all copied ÷ without", Of("shadow", "cpu_us_ratio", case="copied"), None, 2.0, 1.6),
    Bar("worker CPU per request, all copied, 2 KiB of JSON compared ÷ without",
        Of("shadow", "cpu_us_ratio", case="compared"), None, 2.5, 1.8),
    *(Bar(f"1,000 uploads of 10 MiB copied to a shadow that is {BAD_SHADOWS[case]}: growth ÷ the configured cap",
          Of("shadow-memory", "of_cap", case=case), None, 1, 1, every_round=True) for case in ("full", "deaf")),
    Bar("planted differences that are not reported, of 50", Of("shadow-found", "missed"), None, 0, 0, every_round=True),
    Bar("groups reported that were not planted", Of("shadow-found", "false_groups"), None, 0, 0, every_round=True),
)
FAULT_BARS: tuple[Bar, ...] = (
    Bar("client errors when 1 of 3 servers is killed with -9 under 5,000 GET/s", Of("kill-server", "errors"), None,
        5, 0, every_round=True),
    *(Bar(f"client errors when the whole candidate is {case}, rescue on, {when} that is known",
          Of("candidate-death", f"errors_{when}", case=case), None, 0, 0, every_round=True)
      for case in ("killed", "stopped") for when in ("before", "after")),
    *(Bar(f"requests at the baseline ÷ client requests, the candidate {case}",
          Of("candidate-death", "baseline_ratio", case=case), None, 1.2, 1.1, every_round=True)
      for case in ("killed", "stopped")),
    *(Bar(f"a server that {text}: last request to it after", Of("blackhole", "last_ms", case=case), None, 1500, 600,
          " ms", every_round=True)
      for case, text in (("silent", "answers nothing any more"), ("stopped", "is stopped"))),
    Bar("CPU per request with everything configured and everybody healthy ÷ without",
        Of("resilient-cpu", "cpu_us", case="with"), Of("resilient-cpu", "cpu_us", case="without"), 1.05, 1.02),
    Bar("goodput at three times the load ÷ at the peak", Of("overload", "goodput_ratio", case="bound"), None,
        0.85, 0.95, more_is_better=True),
    Bar("p99 of what is served then ÷ (five times that of an idle service + the queue's limit)",
        Of("overload", "p99_ratio", case="bound"), None, 1, 1),
    Bar("chaos: requests lost that need not have been", Of("chaos", "lost_unduly"), None, 0, 0, every_round=True),
    Bar("chaos: POSTs that servers saw twice", Of("chaos", "posts_twice"), None, 0, 0, every_round=True),
    Bar("chaos: requests still counted as in flight when all have ended", Of("chaos", "left"), None, 0, 0,
        every_round=True),
    Bar("chaos: answers that reached somebody else", Of("chaos", "foreign"), None, 0, 0, every_round=True),
)
BARS: tuple[Bar, ...] = (
    Bar("CPU per browser-like request ÷ nginx's", _cpu("browser"), _cpu("browser", "nginx"), 1.7, 1.0),
    Bar("CPU per browser-like request ÷ Envoy's", _cpu("browser"), _cpu("browser", "envoy"), 0.5, 0.3),
    Bar("CPU per 16 KiB response ÷ HAProxy's", _cpu("body16k"), _cpu("body16k", "haproxy"), 1.7, 1.0),
    Bar("CPU per 1 MiB response ÷ nginx's", _cpu("body1m"), _cpu("body1m", "nginx"), 1.2, 0.8),
    Bar("CPU per 1 MiB upload ÷ nginx's", _cpu("upload1m"), _cpu("upload1m", "nginx"), 1.2, 0.8),
    Bar("p99 added latency at half of its peak rate ÷ HAProxy's", Of("latency", "added_p99_us"),
        Of("latency", "added_p99_us", "haproxy"), 2, 1),
    Bar("CPU per request at 2,000 connections ÷ at 64", _cpu("connections", case="2000"),
        _cpu("connections", case="64"), 1.3, 1.1),
    Bar("CPU per request with 1,000 routes ÷ with 1", _cpu("routes", case="1000"), _cpu("routes", case="1"), 1.1, 1.0),
    Bar("CPU per request with 50 servers ÷ with 1", _cpu("servers", case="50"), _cpu("servers", case="1"), 1.1, 1.0),
    Bar("memory per idle keep-alive connection", Of("idle", "bytes_each"), None, 6, 3, " KiB", 1 / 1024),
    Bar("1 GiB body down, slow reader: worker grows by", Of("giant", "grew_mib", case="down"), None, 8, 2, " MiB",
        every_round=True),
    Bar("1 GiB body up, slow reader: worker grows by", Of("giant", "grew_mib", case="up"), None, 8, 2, " MiB",
        every_round=True),
    Bar("requests lost by kill -9, other workers' connections", Of("kill", "lost_on_others"), None, 0, 0,
        every_round=True),
    Bar("weight change or rollback under load, call → answer, p99", Of("change", "worst_p99_ms"), None, 20, 5, " ms",
        every_round=True),
    Bar("requests at the candidate that were sent after a rollback's answer", Of("change", "late_at_candidate"), None,
        0, 0, every_round=True),
    Bar("requests lost by 200 weight changes", Of("steadiness", "lost", case="changes"), None, 0, 0, every_round=True),
    Bar("requests lost by 50 reloads", Of("steadiness", "lost", case="reloads"), None, 0, 0, every_round=True),
    Bar("requests lost by 5 upgrades", Of("steadiness", "lost", case="upgrades"), None, 0, 0, every_round=True),
    Bar("requests lost by 5 kills of a worker, but for its own connections", Of("steadiness", "lost", case="kills"),
        None, 0, 0, every_round=True),
    Bar("supervisor killed with -9: a new one is ready after", Of("orphan", "ready_s"), None, 5, 1, " s",
        every_round=True),
    Bar("requests lost by that", Of("orphan", "lost"), None, 0, 0, every_round=True),
    Bar("p99 of data traffic while the admin API is flooded ÷ without", Of("flood", "p99_ms", case="flooded"),
        Of("flood", "p99_ms", case="quiet"), 1.2, 1.05),
    Bar("metrics and access log per request", Of("remembering", "both_us", case="code"), None, 1.5, 0.7, " µs"),
    *SHADOW_BARS,
    *FAULT_BARS,
)


def figures(runs: Sequence[Run], of: Of) -> dict[int, float]:
    """Round → figure."""
    return {run.round: run.figures[of.figure] for run in runs
            if (run.scenario, run.peer, run.case) == (of.scenario, of.peer, of.case) and of.figure in run.figures}


def flags(runs: Sequence[Run], of: Of) -> tuple[str, ...]:
    """What was wrong with these runs, each thing once."""
    return tuple(dict.fromkeys(flag for run in runs for flag in run.flags
                               if (run.scenario, run.peer, run.case) == (of.scenario, of.peer, of.case)))


def judge(bar: Bar, runs: Sequence[Run]) -> Judgement:
    """The median of the rounds' ratios (or figures) against the bar."""
    above = figures(runs, bar.above)
    if bar.below is None:
        return Judgement(bar, spread([value * bar.scale for value in above.values()]), flags(runs, bar.above))
    found = flags(runs, bar.above) + tuple(f"{bar.below.peer}: {flag}" for flag in flags(runs, bar.below))
    return Judgement(bar, spread(ratios(above, figures(runs, bar.below))), found)
